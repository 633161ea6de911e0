"""Operations: one at a time for each resource, lanes apart, and nobody waits past a deadline."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.lanes import KeyedLocks, LaneName
from dpu_daemon.engine.operations import LANE_WIDTHS, Operations
from proto.errors import DpuError
from proto.reasons import Reason


@pytest.fixture
async def operations() -> AsyncIterator[Operations]:
    operations = Operations()
    yield operations
    await operations.stop(0.0)


async def _run(operations: Operations, key: str, gate: asyncio.Event, *, seconds: float = 30) -> str:
    async def work() -> str:
        await gate.wait()
        return key

    return await operations.run(key, LaneName.PUT_UP, work, Deadline.after(seconds), what=key)


async def test_two_operations_of_a_resource_never_run_at_once(operations: Operations) -> None:
    running = 0

    async def work() -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        running -= 1

    calls = (operations.run("a", LaneName.PUT_UP, work, Deadline.after(30), what="a") for _ in range(5))
    await asyncio.gather(*calls)


async def test_a_full_lane_queues_and_another_lane_goes_on(operations: Operations) -> None:
    gate = asyncio.Event()
    width = LANE_WIDTHS[LaneName.PUT_UP]
    waiting = [asyncio.ensure_future(_run(operations, f"k{n}", gate)) for n in range(width + 3)]
    await asyncio.sleep(0.01)
    load = operations.load()[LaneName.PUT_UP]
    assert (load.in_flight, load.queued) == (width, 3)
    assert load.oldest_wait_s > 0

    async def at_once() -> str:
        return "done"

    assert await operations.run("other", LaneName.TAKE_AWAY, at_once, Deadline.after(30), what="o") == "done"
    gate.set()
    assert await asyncio.gather(*waiting) == [f"k{n}" for n in range(width + 3)]
    assert operations.load()[LaneName.PUT_UP].queued == 0


async def test_who_cannot_begin_in_time_is_told_that_another_is_in_flight(operations: Operations) -> None:
    gate = asyncio.Event()
    first = asyncio.ensure_future(_run(operations, "a", gate))
    await asyncio.sleep(0)
    with pytest.raises(DpuError) as refused:
        await _run(operations, "a", gate, seconds=0.02)
    assert refused.value.reason is Reason.IN_FLIGHT
    assert operations.busy("a")
    gate.set()
    assert await first == "a"
    await asyncio.sleep(0)
    assert not operations.busy("a")


async def test_work_that_has_begun_outlives_the_caller_that_gave_up(operations: Operations) -> None:
    gate, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    with pytest.raises(DpuError) as refused:
        await operations.run("a", LaneName.PUT_UP, work, Deadline.after(0.02), what="a")
    assert (refused.value.reason, refused.value.retry) == (Reason.DEADLINE, True)
    gate.set()
    async with asyncio.timeout(30):
        await done.wait()


async def test_a_caller_that_is_cancelled_leaves_running_work_alone_and_takes_queued_work_along(
    operations: Operations,
) -> None:
    gate = asyncio.Event()
    running = asyncio.ensure_future(_run(operations, "a", gate))
    await asyncio.sleep(0)
    queued = asyncio.ensure_future(_run(operations, "a", gate))
    await asyncio.sleep(0.01)
    queued.cancel()
    running.cancel()
    await asyncio.wait({queued, running})
    await asyncio.sleep(0)
    assert operations.busy("a")
    gate.set()
    assert await operations.stop(5.0) == 0
    assert not operations.busy("a")


async def test_a_stopping_daemon_takes_nothing_new_and_finishes_what_runs(operations: Operations) -> None:
    gate = asyncio.Event()
    running = asyncio.ensure_future(_run(operations, "a", gate))
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(operations.stop(5.0))
    await asyncio.sleep(0)
    with pytest.raises(DpuError) as refused:
        await _run(operations, "b", gate)
    assert refused.value.reason is Reason.UNAVAILABLE
    gate.set()
    assert await stopping == 0
    assert await running == "a"


async def test_what_does_not_end_while_draining_is_cut_off(operations: Operations) -> None:
    running = asyncio.ensure_future(_run(operations, "a", asyncio.Event()))
    await asyncio.sleep(0)
    assert await operations.stop(0.01) == 1
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_locks_nobody_uses_are_forgotten() -> None:
    locks = KeyedLocks()
    async with locks.lent("a") as one, locks.lent("a") as two:
        assert one is two
        assert not locks.held("a")
    assert locks._locks == {}


async def test_an_answer_that_comes_too_late_is_a_deadline() -> None:
    with pytest.raises(DpuError) as refused:
        await within(0.01, asyncio.sleep(60), "look at the disks")
    assert refused.value.reason is Reason.DEADLINE
    assert refused.value.message == "look at the disks: no answer within 0.01 s"


async def test_a_timeout_of_the_work_itself_is_not_ours() -> None:
    async def work() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError):
        await within(5, work(), "x")
