"""ADDs that end early: a DEL overtakes them, or the side of the switch is silent."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.journal import Committed, Journal
from dpu_daemon.engine.sandbox_add import UNDO_S, UNHEARD_S
from dpu_daemon.model.assignment import Holder
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cni import CniHost, CniWorld, ask, assignment, cni_host

ETH0 = Holder("c1", "eth0")


@pytest.fixture(params=[False, True], ids=["veth", "function"])
def world(request: pytest.FixtureRequest) -> CniWorld:
    world = CniWorld(functions=request.param)
    world.add_netns("c1")
    world.node.assigned["default/web"] = assignment()
    return world


@pytest.fixture
async def host(world: CniWorld, tmp_path: Path) -> AsyncIterator[CniHost]:
    host = await cni_host(tmp_path / "journal.db", world)
    yield host
    await host.stop()


async def test_a_del_does_not_wait_for_the_deadline_of_an_add(host: CniHost, world: CniWorld) -> None:
    before = world.node.dump()
    world.faults.gates["switch.forward"] = asyncio.Event()
    adding = asyncio.create_task(host.node.add(ask(), Deadline.after(3600), asyncio.Event()))
    await world.called("switch.forward")
    await host.node.delete(ETH0, Deadline.after(3600))
    with pytest.raises(DpuError) as caught:
        await adding
    assert caught.value.reason is Reason.DEADLINE
    assert world.node.dump() == before
    assert not host.ledger.sandboxes


async def test_a_gc_leaves_an_add_alone_that_is_under_way(host: CniHost, world: CniWorld) -> None:
    gate = world.faults.gates["switch.forward"] = asyncio.Event()
    adding = asyncio.create_task(host.node.add(ask(), Deadline.after(3600), asyncio.Event()))
    await world.called("switch.forward")
    await host.node.collect(ask().network, frozenset(), Deadline.after(10))
    gate.set()
    await adding
    assert ETH0 in world.node.held
    await host.node.collect(ask().network, frozenset(), Deadline.after(10))
    assert ETH0 not in world.node.held


@pytest.mark.parametrize(("reason", "patience_s"), [(Reason.UNAVAILABLE, UNHEARD_S), (Reason.EXHAUSTED, UNDO_S)])
async def test_an_undo_waits_only_for_a_switch_that_answers(
    host: CniHost, world: CniWorld, monkeypatch: pytest.MonkeyPatch, reason: Reason, patience_s: float
) -> None:
    left: list[float] = []
    end = host.node.sandboxes.end

    async def ended(record: object, deadline: Deadline) -> str:
        left.append(deadline.left_s())
        return await end(record, deadline)  # type: ignore[arg-type]

    monkeypatch.setattr(host.node.sandboxes, "end", ended)
    world.faults.errors["switch.forward"] = [DpuError(reason, "refused")]
    with pytest.raises(DpuError):
        await host.node.add(ask(), Deadline.after(60), asyncio.Event())
    assert left
    assert patience_s / 2 < left[0] <= patience_s


async def test_a_node_whose_journal_cannot_be_written_takes_no_pods(
    host: CniHost, world: CniWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object, changes: Sequence[Change]) -> list[Committed | DpuError]:
        full = DpuError(Reason.STORAGE_FULL, "the disk is full", field="journal", remedy="free space")
        return [full for _ in changes]

    await host.node.ready(Deadline.after(10))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit_all", refuse)
        with pytest.raises(DpuError) as failed:
            await host.node.add(ask(), Deadline.after(10), asyncio.Event())
        assert failed.value.reason is Reason.STORAGE_FULL
        with pytest.raises(DpuError) as status:
            await host.node.ready(Deadline.after(10))
        assert (status.value.reason, status.value.remedy) == (Reason.UNAVAILABLE, "free space")
        assert "the disk is full" in status.value.message
    await host.node.ready(Deadline.after(10))
    assert not world.node.held
