"""kill -9 of the daemon after every journalled step and every SPDK call of attach and detach: enumerated, not sampled.

A life is cut at point N: before or after a transaction of the journal, or before or after a call that changes SPDK. The
next daemon finds the same journal, the same SPDK and the same slots, and converges; the coordinator repeats its call.
"""

import asyncio
import itertools
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Committed, Journal
from dpu_daemon.model.disk import AttachmentState, DiskProtocol, Qos, TargetAddress
from proto.errors import DpuError
from tests.fakes.spdk_dpu import MIB, SpdkStage, asked

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

READS = ("bdev_get", "bdev_nvme_get", "nvmf_get", "nvmf_subsystem_get", "vhost_get", "rpc_", "spdk_", "framework_")
Call = Callable[[DpuEngine], Awaitable[object]]


class Fate:
    """Counts points; at `at` nothing of the daemon goes on."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._points = 0
        self.died = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def point(self, _what: str = "") -> None:
        """Live on, or not: a dead daemon's transactions do not happen, and it hears no answers."""
        if self.died.is_set():
            raise DeadError
        self._points += 1
        if self._points == self._at:
            self.loop.call_soon_threadsafe(self.died.set)
            raise DeadError

    def call_point(self, method: str) -> None:
        """A point at a call of SPDK's; the daemon dies, SPDK goes on with what it was asked."""
        if not method.startswith(READS) and not self.died.is_set():
            self._points += 1
            if self._points == self._at:
                self.died.set()


class DeadError(BaseException):
    """Not for handlers."""


class DyingJournal(Journal):
    """A journal of a daemon that dies."""

    def __init__(self, path: Path, fate: Fate) -> None:
        super().__init__(path)
        self._fate = fate

    def commit(self, change: Change) -> Committed:
        self._fate.point()
        committed = super().commit(change)
        self._fate.point()
        return committed


def life(protocol: DiskProtocol, source: TargetAddress) -> list[Call]:
    """What a coordinator asks for one disk."""
    soon = Deadline.after(60)
    disk = asked("a", source, protocol=protocol)
    return [
        lambda dpu: dpu.disks.attach(disk, soon),
        lambda dpu: dpu.disks.set_qos("att-a", Qos(iops=5000), soon),
        lambda dpu: dpu.disks.detach("att-a", 1, soon, force=False),
    ]


async def _lived(call: Call, dpu: DpuEngine, fate: Fate) -> bool:
    """Whether the daemon survived the call."""
    task = asyncio.ensure_future(call(dpu))
    death = asyncio.ensure_future(fate.died.wait())
    await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
    death.cancel()
    if fate.died.is_set():
        task.cancel()
        await asyncio.wait({task})
        return False
    await task
    return True


async def _live_until(point: int, protocol: DiskProtocol, directory: Path) -> bool:
    """Returns False when the life was over before the point."""
    stage = SpdkStage(directory)
    await stage.start()
    source = await stage.serve("a")
    fate = Fate(point)
    stage.spdk.before = stage.spdk.after = fate.call_point
    dpu = await stage.engine(DyingJournal(directory / "j.db", fate))
    killed = False
    identity = set()
    for call in life(protocol, source):
        if not await _lived(call, dpu, fate):
            killed = True
            stage.spdk.before = stage.spdk.after = lambda _: None
            await stage.close(dpu)
            fate = Fate(0)
            dpu = await _recovered(stage, directory)
            await call(dpu)
        identity |= {(r.slot, r.spec.serial, r.spec.nguid) for r in dpu.core.ledger.attachments.values()}
        stage.check(dpu)
    assert len(identity) == 1, identity
    assert not dpu.core.ledger.attachments
    await stage.close(dpu)
    await stage.stop()
    return killed


async def _recovered(stage: SpdkStage, directory: Path) -> DpuEngine:
    """The next daemon, converged by itself."""
    async with asyncio.timeout(60):
        while True:
            try:
                dpu = await stage.engine(Journal(directory / "j.db"))
                break
            except DpuError:
                # The dead one's last transaction may still hold the file for a moment.
                await asyncio.sleep(0.01)
        for _ in range(2):
            await dpu.core.audit.once()
    assert dpu.core.ready(), dpu.core.audit.message()
    for view in await dpu.disks.reader.views():
        assert view.state is AttachmentState.ATTACHED, view.message
    stage.check(dpu)
    return dpu


@pytest.mark.parametrize("protocol", list(DiskProtocol))
async def test_wherever_the_daemon_is_killed_the_next_one_puts_everything_right(protocol: DiskProtocol) -> None:
    for point in itertools.count(1):
        with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as directory:
            if not await _live_until(point, protocol, Path(directory)):
                break
    assert point > 40, "the life is too short to prove anything"


async def test_a_restarted_daemon_touches_nothing_that_is_right() -> None:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        directory = Path(name)
        stage = SpdkStage(directory)
        await stage.start()
        dpu = await stage.engine(Journal(directory / "j.db"))
        for disk in ("a", "b", "c"):
            await dpu.disks.attach(asked(disk, await stage.serve(disk)), Deadline.after(20))
        await stage.close(dpu)
        stage.spdk.calls.clear()
        dpu = await _recovered(stage, directory)
        changes = [call for call in stage.spdk.calls if not call.startswith(READS)]
        # Both answer that what they would make or set is there already.
        assert set(changes) <= {"nvmf_create_transport", "bdev_nvme_set_options"}
        await stage.close(dpu)
        await stage.stop()


async def test_disks_come_back_under_the_same_identity_after_spdk_was_killed() -> None:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        directory = Path(name)
        stage = SpdkStage(directory)
        await stage.start()
        dpu = await stage.engine(Journal(directory / "j.db"))
        for protocol in DiskProtocol:
            disk = asked(protocol.name.lower()[:4], await stage.serve(protocol.name), protocol=protocol)
            await dpu.disks.attach(disk, Deadline.after(20))
        before = dict(dpu.core.ledger.attachments)
        await stage.spdk.restart()
        async with asyncio.timeout(60):
            while not stage.spdk.nvmf.subsystems or not stage.spdk.vhost.controllers:
                dpu.core.audit.alarm("again")
                await dpu.core.audit.once()
                await asyncio.sleep(0.02)
        stage.check(dpu)
        assert dict(dpu.core.ledger.attachments) == before
        assert stage.target.nvmf.subsystems["nqn.2025-01.io.dpupool:vol:NVME"].spaces[1].bdev == "NVME"
        assert before["att-nvme"].spec.size_bytes == 4 * MIB
        await stage.close(dpu)
        await stage.stop()
