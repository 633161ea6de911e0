"""Assignments: ports that containers may have, pushed ahead; journalled, fenced, and waited for by event."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.refused_pods import RefusedPods
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.assignment import Assignment
from dpu_daemon.model.fence import Fence, FenceScope, raised

Key = tuple[str, int]
"""Port id and generation."""


class Assignments:
    """What the coordinator has said about ports of pods.

    Args:
        ledger: keeps them.
        held: whether a container has a port, or is just being given it.
        changed: called when an assignment changed that a container holds.

    Attributes:
        refused: pods that get none for now.
    """

    def __init__(self, ledger: Ledger, held: Callable[[str], bool], changed: Callable[[], None]) -> None:
        self.refused = RefusedPods()
        self._ledger = ledger
        self._held = held
        self._changed = changed
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._turn = asyncio.Lock()
        self._leaving: set[str] = set()

    def get(self, port_id: str) -> Assignment | None:
        """An assignment that may still be given, or is held."""
        return None if port_id in self._leaving else self._ledger.assignments.get(port_id)

    def every(self) -> tuple[Assignment, ...]:
        """All that may be given, or are held."""
        return tuple(each for key, each in self._ledger.assignments.items() if key not in self._leaving)

    def count(self) -> int:
        """How many there are; also for another thread, which may not go over them while they change."""
        return len(self._ledger.assignments)

    async def put(self, asked: Sequence[Assignment]) -> tuple[str, ...]:
        """Keep or replace assignments in one transaction; ids of those that came too late."""
        async with self._turn:
            fresh: list[Assignment] = []
            fences: list[Fence] = []
            late: list[str] = []
            for each in asked:
                fence = self._ledger.fence(FenceScope.ASSIGNMENT, each.port_id)
                if fence.refuses(each.generation):
                    late.append(each.port_id)
                elif self._ledger.assignments.get(each.port_id) != each:
                    fresh.append(each)
                    fences.append(raised(fence, generation=each.generation, closed=False))
            if fresh:
                try:
                    # A caller that goes must not let the next one in before the fence stands.
                    await self._ledger.carry(Change(put=tuple(fresh), fences=tuple(fences)))
                finally:
                    self._tell(fresh)
        return tuple(late)

    def _tell(self, fresh: Sequence[Assignment]) -> None:
        """Also when the caller went meanwhile: it will send the same again, which is no news then."""
        for each in fresh:
            self.wake(each.pod)
        if any(self._held(each.port_id) for each in fresh):
            self._changed()

    async def delete(self, keys: Sequence[Key]) -> None:
        """Take ports back in one transaction; those that containers hold are kept until they let go."""
        async with self._turn:
            change = Change(fences=tuple(self._closed(key) for key in keys if not self._is_late(key)))
            gone = {fence.subject for fence in change.fences if fence.subject in self._ledger.assignments}
            kept = {port_id for port_id in gone if self._held(port_id)}
            self._leaving |= gone - kept
            try:
                put = tuple(replace(self._ledger.assignments[port_id], wanted=False) for port_id in sorted(kept))
                drop = tuple((RecordKind.ASSIGNMENT, port_id) for port_id in sorted(gone - kept))
                if change.fences:
                    await self._ledger.carry(replace(change, put=put, drop=drop))
            finally:
                self._leaving -= gone

    def _is_late(self, key: Key) -> bool:
        return self._ledger.fence(FenceScope.ASSIGNMENT, key[0]).ignores(key[1])

    def _closed(self, key: Key) -> Fence:
        return raised(self._ledger.fence(FenceScope.ASSIGNMENT, key[0]), generation=key[1], closed=True)

    async def let_go(self, port_id: str, change: Change) -> None:
        """Commit the end of a port's holder; an assignment that was taken back ends with it."""
        has = self._ledger.assignments.get(port_id)
        if has is not None and not has.wanted:
            await self._end(port_id, change)
        else:
            await self._ledger.commit(change)
            await self.tidy(port_id)
        if has is not None:
            self.wake(has.pod)

    async def tidy(self, port_id: str) -> bool:
        """Forget an assignment that was taken back and that nobody holds; False when it stays."""
        has = self._ledger.assignments.get(port_id)
        if has is None or has.wanted or self._held(port_id):
            return False
        await self._end(port_id, Change())
        return True

    async def _end(self, port_id: str, change: Change) -> None:
        async with self._turn:
            has = self._ledger.assignments.get(port_id)
            if has is not None and not has.wanted:
                change = replace(change, drop=(*change.drop, (RecordKind.ASSIGNMENT, port_id)))
            await self._ledger.carry(change)

    async def news(self, pod: str, deadline: Deadline) -> bool:
        """Wait until something of a pod changed; False at the deadline."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(pod, set())
        waiting.add(future)
        try:
            done, _ = await asyncio.wait({future}, timeout=deadline.left_s())
        finally:
            waiting.discard(future)
            if not waiting and self._waiting.get(pod) is waiting:
                del self._waiting[pod]
        return bool(done)

    def wake(self, pod: str) -> None:
        """Have those who wait for this pod look again."""
        for future in self._waiting.get(pod, ()):
            if not future.done():
                future.set_result(None)
