"""The executable under test, a daemon that plays a script, and a whole node."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.cni.daemon import FakeDaemon, built
from tests.contract.cni.node import CniNodeRig, cni_node


@pytest.fixture(scope="session")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(built(tmp_path_factory.mktemp("cni") / "dpu-cni"))


@pytest.fixture
def daemon(tmp_path: Path) -> FakeDaemon:
    return FakeDaemon(tmp_path / "cni.sock")


@pytest.fixture
async def node(executable: Path) -> AsyncIterator[CniNodeRig]:
    async with cni_node(executable) as node:
        yield node
