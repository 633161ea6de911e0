"""The audit of OPI objects: what is not as wanted, made right rank by rank, as after a restart beneath them."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from enum import Enum
from typing import Generic

import structlog

from dpu_daemon.engine.opi.lifecycle import A, Lifecycle, R, S, V
from dpu_daemon.engine.opi.objects import OpiObjects
from dpu_daemon.engine.repair import Auditor, Repair, RepairWork
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.opi import RANKS, OpiObject
from dpu_daemon.model.opi_seen import OpiSeen
from dpu_daemon.plan.opi import Wanted, plan_opi
from dpu_daemon.plan.plan import Plan
from proto.errors import DpuError

AT_ONCE = 64
"""Objects of a rank that are worked on together; SPDK answers serial calls every 4 ms, pipelined ones all at once."""

_log = structlog.get_logger("dpu_daemon.opi")

Decide = Callable[[R], Plan]
"""What makes an object right; raises DpuError while something that it stands on is missing."""


class RankedAuditor(Generic[R, A, S, V]):
    """Compares all objects of one API with one look.

    One repair makes everything right in dependency order. What failed in it gets repairs, and pauses, of its own, so
    that a path to a dead target holds up nothing else.

    Args:
        objects: carries repairs to their end.
        ranks: collections, each standing on those before it.
        deciding: how objects are judged by one look.
        key: of the one repair.
    """

    def __init__(
        self,
        objects: Lifecycle[R, A, S, V],
        ranks: Sequence[Collection[Enum]],
        deciding: Callable[[S], Decide[R]],
        key: str,
    ) -> None:
        self._objects: Lifecycle[R, A, S, V] = objects
        self._ranks = ranks
        self._deciding: Callable[[S], Decide[R]] = deciding
        self._key = key
        self._failing: set[str] = set()

    async def audit(self) -> tuple[Repair, ...]:
        """Objects that are not as wanted."""
        if not self._objects.records:
            self._failing.clear()
            return ()
        await self._objects.tidy()
        unsettled = dict(self._unsettled(await self._objects.look()))
        self._failing &= unsettled.keys()
        repairs = [
            Repair(("opi", name), EventKind.OPI, name, unsettled[name], self._single(name))
            for name in sorted(self._failing)
        ]
        fresh = sorted(unsettled.keys() - self._failing)
        if fresh:
            why = unsettled[fresh[0]] + (f"; and {len(fresh) - 1} more objects" if len(fresh) > 1 else "")
            repairs.append(Repair((self._key,), EventKind.OPI, fresh[0], why, self._rebuild(fresh)))
        return tuple(repairs)

    def _unsettled(self, seen: S) -> Iterator[tuple[str, str]]:
        decide = self._deciding(seen)
        for record in tuple(self._objects.records.values()):
            try:
                plan = decide(record)
            except DpuError as error:
                yield record.name, str(error)
                continue
            if not plan.settled or not record.wanted or not record.established:
                yield record.name, plan.why

    def _single(self, name: str) -> RepairWork:
        async def work() -> bool:
            acted = await self._objects.repair(name)
            self._failing.discard(name)
            return acted

        return work

    def _rebuild(self, names: Collection[str]) -> RepairWork:
        async def work() -> bool:
            records: list[R] = [record for name in names if (record := self._objects.record(name)) is not None]
            acted = False
            for rank in (*self._ranked(records, wanted=False), *self._ranked(records, wanted=True)):
                turns = asyncio.Semaphore(AT_ONCE)
                acted |= any(await asyncio.gather(*(self._one(record.name, turns) for record in rank)))
            return acted

        return work

    async def _one(self, name: str, turns: asyncio.Semaphore) -> bool:
        async with turns:
            try:
                return await self._objects.repair(name)
            except DpuError as error:
                _log.warning(f"{name}: {error}", id=name, reason=error.reason.value)
                self._failing.add(name)
                return False

    def _ranked(self, records: Collection[R], *, wanted: bool) -> Iterator[list[R]]:
        """What is wanted from the ground up, what is not from the top down."""
        for rank in self._ranks if wanted else reversed(self._ranks):
            yield [record for record in records if record.wanted is wanted and record.kind in rank]


def storage_auditor(objects: OpiObjects) -> Auditor:
    """The audit of OPI storage objects."""

    def deciding(seen: OpiSeen) -> Callable[[OpiObject], Plan]:
        wanted = Wanted.of(objects.records)
        return lambda record: plan_opi(record, wanted, seen)

    return RankedAuditor(objects, RANKS, deciding, "opi")
