"""Operations: work on one resource at a time, in a lane, which outlives the caller that gave up waiting."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from contextlib import AsyncExitStack
from typing import TypeVar

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.lanes import KeyedLocks, Lane, LaneLoad, LaneName
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")

LANE_WIDTHS = {LaneName.PUT_UP: 8, LaneName.TAKE_AWAY: 8, LaneName.REPAIR: 4, LaneName.POD: 512}
"""Enough to fill a DPU's few cores while a storage target answers; more only lengthens each other's waits.

Pods' ports share transactions and syncs: what comes together is done together.
"""


class Operations:
    """Runs operations; `stop` waits for those that have begun.

    Args:
        width: of each lane, where the other side takes more at once than the default.
    """

    def __init__(self, *, width: int = 0) -> None:
        clock = asyncio.get_running_loop().time
        self._lanes = {name: Lane(max(width, least), clock) for name, least in LANE_WIDTHS.items()}
        self._locks = KeyedLocks()
        self._tasks: set[asyncio.Task[object]] = set()
        self._stopping = False

    async def run(
        self,
        key: Hashable,
        lane: LaneName,
        work: Callable[[], Awaitable[T]],
        deadline: Deadline,
        *,
        what: str,
        also: Iterable[Hashable] = (),
    ) -> T:
        """Do the work when its resource and a turn in the lane are free.

        Args:
            key: the resource; no two operations of a key run at once.
            lane: where it queues.
            work: begun at most once; when it has begun it is carried to its end, whoever waits.
            deadline: of the caller.
            what: the resource in words, for the errors.
            also: further resources that the work changes.

        Raises:
            DpuError: IN_FLIGHT when the resource was not free in time, nothing was begun; DEADLINE when the work had
                begun and goes on; UNAVAILABLE when the daemon is stopping. Otherwise what the work raises.
        """
        if self._stopping:
            raise DpuError(Reason.UNAVAILABLE, "the daemon is stopping", remedy="repeat the call after its restart")
        begun = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._under_locks({key, *also}, lane, work, begun))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        try:
            done, _ = await asyncio.wait({task}, timeout=deadline.left_s())
        except asyncio.CancelledError:
            if not begun.is_set():
                task.cancel()
            raise
        if done:
            return task.result()
        raise self._too_late(what, task, begun=begun.is_set())

    def _too_late(self, what: str, task: asyncio.Task[T], *, begun: bool) -> DpuError:
        if begun:
            message = f"{what}: still being worked on"
            return DpuError(Reason.DEADLINE, message, remedy="repeat the same call; it joins the work", retry=True)
        task.cancel()
        message = f"{what}: another operation is in flight"
        return DpuError(Reason.IN_FLIGHT, message, remedy="repeat the same call")

    async def _under_locks(
        self, keys: set[Hashable], lane: LaneName, work: Callable[[], Awaitable[T]], begun: asyncio.Event
    ) -> T:
        turns = self._lanes[lane]
        async with AsyncExitStack() as held:
            # Always in the same order, so that no two wait for each other.
            for key in sorted(keys, key=repr):
                lock = await held.enter_async_context(self._locks.lent(key))
                await held.enter_async_context(turns.queued(lock))
            await held.enter_async_context(turns.turn())
            begun.set()
            return await work()

    def _finished(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen here, so that a caller that left early leaves no warning behind

    def busy(self, key: Hashable) -> bool:
        """Whether the resource is being worked on."""
        return self._locks.held(key)

    def load(self) -> dict[LaneName, LaneLoad]:
        """All lanes at this moment."""
        return {name: lane.load() for name, lane in self._lanes.items()}

    async def stop(self, drain_s: float) -> int:
        """Take no new work, wait for what is running; returns how many operations had to be cut off."""
        self._stopping = True
        pending = set(self._tasks)
        if pending:
            _, pending = await asyncio.wait(pending, timeout=drain_s)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=1.0)
        return len(pending)
