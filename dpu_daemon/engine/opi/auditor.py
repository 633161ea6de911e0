"""The audit of OPI objects: what is not as wanted, made right rank by rank, as after a restart of the block layer."""

import asyncio
from collections.abc import Collection, Iterator

import structlog

from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.opi.objects import OpiObjects
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.opi import RANKS, OpiObject
from dpu_daemon.model.opi_seen import OpiSeen
from dpu_daemon.plan.opi import Wanted, plan_opi
from proto.errors import DpuError

AT_ONCE = 64
"""Objects of a rank that are worked on together; SPDK answers serial calls every 4 ms, pipelined ones all at once."""

_log = structlog.get_logger("dpu_daemon.opi")


class OpiAuditor:
    """Compares all OPI objects with one look.

    One repair makes everything right in dependency order. What failed in it gets repairs, and pauses, of its own, so
    that a path to a dead target holds up nothing else.

    Args:
        ledger: what is wanted.
        objects: carries repairs to their end.
    """

    def __init__(self, ledger: Ledger, objects: OpiObjects) -> None:
        self._ledger = ledger
        self._objects = objects
        self._failing: set[str] = set()

    async def audit(self) -> tuple[Repair, ...]:
        """Objects that are not as wanted."""
        if not self._ledger.opi:
            self._failing.clear()
            return ()
        await self._objects.intents.tidy()
        unsettled = dict(self._unsettled(await self._objects.look()))
        self._failing &= unsettled.keys()
        repairs = [
            Repair(("opi", name), EventKind.OPI, name, unsettled[name], self._single(name))
            for name in sorted(self._failing)
        ]
        fresh = sorted(unsettled.keys() - self._failing)
        if fresh:
            why = unsettled[fresh[0]] + (f"; and {len(fresh) - 1} more objects" if len(fresh) > 1 else "")
            repairs.append(Repair(("opi",), EventKind.OPI, fresh[0], why, self._rebuild(fresh)))
        return tuple(repairs)

    def _unsettled(self, seen: OpiSeen) -> Iterator[tuple[str, str]]:
        wanted = Wanted.of(self._ledger.opi)
        for record in tuple(self._ledger.opi.values()):
            try:
                plan = plan_opi(record, wanted, seen)
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
            records = [record for name in names if (record := self._ledger.opi.get(name)) is not None]
            acted = False
            for rank in (*_ranked(records, wanted=False), *_ranked(records, wanted=True)):
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


def _ranked(records: Collection[OpiObject], *, wanted: bool) -> Iterator[list[OpiObject]]:
    """What is wanted from the ground up, what is not from the top down."""
    for rank in RANKS if wanted else reversed(RANKS):
        yield [record for record in records if record.wanted is wanted and record.kind in rank]
