"""What the driver does when SPDK changed behind its back, or died while somebody connected."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.journal import Journal
from tests.fakes.spdk.wire import Wire
from tests.fakes.spdk_dpu import SpdkStage, asked


@pytest.fixture
async def directory() -> AsyncIterator[Path]:
    """Short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


async def test_a_controller_that_spdk_lost_by_itself_is_connected_again(directory: Path) -> None:
    stage = SpdkStage(directory)
    await stage.start()
    dpu = await stage.engine(Journal(directory / "j.db"))
    await dpu.disks.attach(asked("a", await stage.serve("a")), Deadline.after(20))
    (name,) = stage.spdk.initiator.controllers
    await stage.spdk.answer("bdev_nvme_detach_controller", {"name": name})
    for _ in range(3):
        dpu.core.audit.alarm("again")
        await dpu.core.audit.once()
    assert dpu.core.audit.message() == ""
    stage.check(dpu)
    await stage.close(dpu)
    await stage.stop()


async def _nothing(_method: str, _params: Any) -> None:
    return None


@pytest.mark.parametrize("turns", range(5))
async def test_whoever_connects_while_the_process_dies_hears_of_it(directory: Path, turns: int) -> None:
    wire = Wire(directory / "w.sock", _nothing, tick_s=0, newer=True)
    await wire.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        client.connect(str(directory / "w.sock"))
        for _ in range(turns):
            await asyncio.sleep(0)
        await wire.stop(killed=True)
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
