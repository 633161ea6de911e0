"""An OPI network client and a daemon over a switch in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.opi_daemon import OpiDaemon
from tests.fakes.opi_net_client import NetClient
from tests.fakes.opi_net_daemon import NetWorld, net_daemon


@pytest.fixture
def around() -> NetWorld:
    return NetWorld()


@pytest.fixture
async def daemon(tmp_path: Path, around: NetWorld) -> AsyncIterator[OpiDaemon]:
    async with net_daemon(tmp_path, around) as running:
        yield running


@pytest.fixture
def opi(daemon: OpiDaemon) -> NetClient:
    return NetClient(daemon.channel)
