"""An OPI client and a daemon over a block layer in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.opi_client import OpiClient
from tests.fakes.opi_daemon import OpiDaemon, OpiWorld, opi_daemon


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[OpiDaemon]:
    async with opi_daemon(tmp_path, OpiWorld()) as running:
        yield running


@pytest.fixture
def opi(daemon: OpiDaemon) -> OpiClient:
    return OpiClient(daemon.channel)
