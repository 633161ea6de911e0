"""Ports of pods while something else happens between two awaits of an ADD: DEL, another assignment, a full disk."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Committed, Journal
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.pod_ports import NodeSide, pod_key
from dpu_daemon.model.assignment import Assignment
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.pods import HOST, acquire, ask, assignment, holder, make_veth, soon
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.pods.engines import nothing_left

FULL = DpuError(Reason.STORAGE_FULL, "the disk is full", field="journal", remedy="free space")


def refuse(_: Journal, changes: Sequence[Change]) -> list[Committed | DpuError]:
    """A disk that is full."""
    return [FULL for _ in changes]


async def test_a_release_that_comes_with_the_moment_a_port_forwards_is_not_overtaken_by_the_note_of_that(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    grants = side.acquire(ask(1), soon())
    make_veth(world, await anext(grants))
    record = dpu.core.ledger.pod_ports["default.pod-1"]
    life = dpu.pods.life
    await life.plug(record)

    async def under_lock(work: Callable[[], Awaitable[object]]) -> None:
        await dpu.core.operations.run(pod_key(record.port_id), LaneName.POD, work, soon(), what="port")

    world.faults.down.add("switch")
    async with asyncio.TaskGroup() as both:
        both.create_task(under_lock(lambda: life.establish(record)))
        both.create_task(under_lock(lambda: life.release(record)))
    await life.settled()
    assert not dpu.core.ledger.pod_ports["default.pod-1"].wanted
    world.faults.down.clear()
    await grants.aclose()
    dpu.core.audit.alarm("the switch is back")
    await dpu.core.audit.once()
    assert nothing_left(dpu, world)


@pytest.mark.parametrize(
    "fresh", [assignment(1, generation=2, pod_uid="uid-new"), assignment(1, generation=2, node=HOST)]
)
async def test_an_assignment_replaced_while_an_add_waits_for_its_turn_is_not_given_to_who_found_the_former(
    dpu: DpuEngine, side: NodeSide, world: World, fresh: Assignment
) -> None:
    await dpu.pods.put([assignment(1)])
    await acquire(side, world, ask(1, "older"))
    gate = world.faults.gates["switch.unplug_pod"] = asyncio.Event()
    releasing = asyncio.create_task(side.release(holder(1, "older"), soon()))
    await world.called("switch.unplug_pod")
    asking = asyncio.create_task(acquire(side, world, ask(1, "newer")))
    await asyncio.sleep(0)
    assert dpu.pods.busy("default.pod-1")
    await dpu.pods.put([fresh])
    gate.set()
    await releasing
    with pytest.raises(DpuError) as refused:
        await asking
    assert refused.value.reason is Reason.NOT_ASSIGNED
    assert nothing_left(dpu, world)


async def test_adds_that_cannot_be_journalled_leave_nothing_in_memory(
    dpu: DpuEngine, side: NodeSide, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dpu.pods.put([assignment(1)])
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit_all", refuse)
        for number in range(3):
            with pytest.raises(DpuError) as failed:
                await acquire(side, world, ask(1, f"try-{number}"))
            assert failed.value is FULL
    life = dpu.pods.life
    assert not any((life._begun, life.claims, life.steps, life._answered, life._notes))


async def test_a_step_whose_end_cannot_be_journalled_is_ended_later(
    dpu: DpuEngine, side: NodeSide, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dpu.pods.put([assignment(1)])
    grants = side.acquire(ask(1), soon())
    make_veth(world, await anext(grants))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit_all", refuse)
        with pytest.raises(DpuError):
            await side.release(holder(1), soon())
        await grants.aclose()
    await side.release(holder(1), soon())
    await dpu.core.ledger.writable()
    assert nothing_left(dpu, world)
    assert dpu.core.ledger._journal.read().interrupted == ()


class SlowDisk:
    """Holds back all writes until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.let_go = asyncio.Event(), threading.Event()
        loop, commit_all = asyncio.get_running_loop(), Journal.commit_all

        def slowly(journal: Journal, changes: Sequence[Change]) -> list[Committed | DpuError]:
            loop.call_soon_threadsafe(self.asked.set)
            self.let_go.wait(10)
            return commit_all(journal, changes)

        monkeypatch.setattr(Journal, "commit_all", slowly)


async def test_a_put_whose_caller_goes_while_it_is_written_is_still_before_a_later_one(
    dpu: DpuEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    newer = asyncio.create_task(dpu.pods.put([assignment(1, generation=2)]))
    await disk.asked.wait()
    newer.cancel()
    older = asyncio.create_task(dpu.pods.put([assignment(1, generation=1)]))
    for _ in range(5):
        await asyncio.sleep(0)
    disk.let_go.set()
    assert await older == ("default.pod-1",)
    assert dpu.core.ledger.assignments["default.pod-1"].generation == 2


async def test_an_add_hears_of_its_assignment_though_the_caller_of_the_put_has_gone(
    dpu: DpuEngine, side: NodeSide, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = asyncio.create_task(acquire(side, world, ask(1)))
    await asyncio.sleep(0)
    disk = SlowDisk(monkeypatch)
    putting = asyncio.create_task(dpu.pods.put([assignment(1)]))
    await disk.asked.wait()
    putting.cancel()
    disk.let_go.set()
    assert (await asking).ofport == 1
    assert await dpu.pods.put([assignment(1)]) == ()


async def test_a_refusal_is_the_answer_though_it_cannot_be_told_of(
    dpu: DpuEngine, side: NodeSide, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dpu.pods.put([assignment(1)])
    monkeypatch.setattr(Journal, "commit_all", refuse)
    with pytest.raises(DpuError) as refused:
        await acquire(side, world, ask(1, mac="02:00:00:00:00:99"))
    assert refused.value.reason is Reason.NOT_ASSIGNED
    monkeypatch.undo()
