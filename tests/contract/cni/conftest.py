"""The executable under test, and a daemon beside it."""

import asyncio
from pathlib import Path

import pytest

from tests.contract.cni.daemon import FakeDaemon, built


@pytest.fixture(scope="session")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(built(tmp_path_factory.mktemp("cni") / "dpu-cni"))


@pytest.fixture
def daemon(tmp_path: Path) -> FakeDaemon:
    return FakeDaemon(tmp_path / "cni.sock")
