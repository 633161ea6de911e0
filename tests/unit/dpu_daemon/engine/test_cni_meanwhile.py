"""What comes in the middle: a DEL while a row is written or a port asked for again, a disk full at the last note."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.journal import Committed, Journal
from dpu_daemon.model.assignment import Holder, Sandbox
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cni import CniHost, CniWorld, ask, cni_host
from tests.unit.dpu_daemon.engine.test_cni_node import node_world, patient, soon

ETH0 = Holder("c1", "eth0")
FULL = DpuError(Reason.STORAGE_FULL, "the disk is full", field="journal", remedy="free space")


@pytest.fixture(params=[False, True], ids=["veth", "function"])
def world(request: pytest.FixtureRequest) -> CniWorld:
    return node_world(functions=request.param)


@pytest.fixture
async def host(world: CniWorld, tmp_path: Path) -> AsyncIterator[CniHost]:
    host = await cni_host(tmp_path / "journal.db", world)
    yield host
    await host.stop()


class SlowDisk:
    """Holds back each write from the first that has a row of a sandbox, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.let_go = asyncio.Event(), threading.Event()
        loop, commit_all = asyncio.get_running_loop(), Journal.commit_all

        def slowly(journal: Journal, changes: Sequence[Change]) -> list[Committed | DpuError]:
            if any(isinstance(record, Sandbox) for change in changes for record in change.put):
                loop.call_soon_threadsafe(self.asked.set)
                self.let_go.wait(10)
            return commit_all(journal, changes)

        monkeypatch.setattr(Journal, "commit_all", slowly)


async def test_an_add_given_up_while_its_row_is_written_leaves_no_row_behind(
    host: CniHost, world: CniWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.node.dump()
    disk = SlowDisk(monkeypatch)
    adding = asyncio.create_task(host.node.add(ask(), soon(), patient()))
    await disk.asked.wait()
    deleting = asyncio.create_task(host.node.delete(ETH0, soon()))
    for _ in range(20):
        await asyncio.sleep(0)
    disk.let_go.set()
    with pytest.raises(DpuError):
        await adding
    await deleting
    await host.ledger.writable()
    await host.ledger.commit(Change())
    assert dict(host.ledger.sandboxes) == {}
    assert world.node.dump() == before


async def test_a_container_that_was_answered_is_kept_though_the_disk_was_full_at_the_last_note(
    host: CniHost, world: CniWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its container has done to the interface since is its own business."""
    commit_all = Journal.commit_all

    def refuse_notes(journal: Journal, changes: Sequence[Change]) -> list[Committed | DpuError]:
        notes = [isinstance(each, Sandbox) and each.ready for change in changes for each in change.put]
        return [FULL for _ in changes] if any(notes) else commit_all(journal, changes)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit_all", refuse_notes)
        await host.node.add(ask(), soon(), patient())
        await host.settled()
    key = next(iter(world.node.inside))
    world.node.inside[key] = replace(world.node.inside[key], addresses=frozenset())
    with pytest.raises(DpuError) as again:
        await host.node.add(ask(), soon(), patient())
    assert again.value.reason is Reason.ALREADY_EXISTS
    assert await host.audit() == ["eth0 of default/web: was answered, and no journal says so"]
    assert host.ledger.sandboxes["c1/eth0"].ready
    assert ETH0 in world.node.held
    assert await host.audit() == []
    await host.node.delete(ETH0, soon())
    assert not host.node.sandboxes.answered


@pytest.mark.parametrize("world", [True], indirect=True, ids=["function"])
async def test_a_del_does_not_wait_for_a_port_that_is_asked_for_again(host: CniHost, world: CniWorld) -> None:
    before = world.node.dump()
    await host.node.add(ask(), soon(), patient())
    await host.settled()
    world.node.held.clear()
    world.calls.clear()
    world.faults.gates["switch.forward"] = asyncio.Event()
    (repair,) = await host.auditor.audit()
    regaining = asyncio.ensure_future(repair.work())
    await world.called("switch.forward")
    await host.node.delete(ETH0, soon())
    with pytest.raises(DpuError):
        await regaining
    assert world.node.dump() == before
    assert dict(host.ledger.sandboxes) == {}


async def test_a_del_does_not_wait_for_an_add_that_stands_behind_another_of_its_container(
    host: CniHost, world: CniWorld
) -> None:
    before = world.node.dump()
    world.faults.gates["switch.forward"] = asyncio.Event()
    first = asyncio.create_task(host.node.add(ask(), soon(), patient()))
    await world.called("switch.forward")
    second = asyncio.create_task(host.node.add(ask(), soon(), patient()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await host.node.delete(ETH0, soon())
    for adding in (first, second):
        with pytest.raises(DpuError) as ended:
            await adding
        assert ended.value.reason is Reason.DEADLINE
    assert world.node.dump() == before


async def test_an_add_that_a_fault_of_the_daemon_itself_ends_leaves_nothing_either(
    host: CniHost, world: CniWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.node.dump()

    async def refuse(_: object, driver: str, call: str) -> None:
        if call == "switch.forward":
            raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(CniWorld, "_obstruct", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            await host.node.add(ask(), soon(), patient())
    assert world.node.dump() == before
    assert dict(host.ledger.sandboxes) == {}
