"""Keeps OVN's northbound database as it is wanted: dirty owners, what they want, the difference, one transaction.

Level-triggered: a batch compares what is wanted with what is seen, whatever it was that changed. Whatever becomes of a
transaction, the next comparison starts from what is there.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping

import structlog

from coordinator.clients.ovn.northbound import Northbound
from coordinator.controllers.net.dirty import DirtyOwners
from coordinator.controllers.net.ovn_metrics import OvnMetrics
from coordinator.core.net.diff import Difference, diff_in_steps
from coordinator.core.net.rows import Ref, Row, Table, ref
from coordinator.core.net.schema import SHAPES
from coordinator.core.net.store import Owner, RowStore
from proto.errors import DpuError
from proto.ovsdb.remotes import TlsFiles
from proto.reasons import Reason

log = structlog.get_logger(__name__)

BATCH_WINDOW_S = 0.005
"""What comes within it goes along; a port takes OVN longer."""

COMPILED_FOR_S = 0.01
"""Then others of this process have their turn: a port takes a tenth of a millisecond, a Service as much as there are
subnets."""

COMPARED_AT_ONCE = 2000
"""Rows of a transaction, as far as they do not belong together."""

FULL_COMPARISON_S = 300.0
AWAY_S = 5.0
"""A database that is away for less is being started anew, or we are."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 15.0

REFUSALS = frozenset({Reason.CONFLICT, Reason.FORBIDDEN})
"""What the database says of a row, and of all that we write."""

Compile = Callable[[str], Iterable[Row]]
"""Rows of the owner with a key; raises DpuError when it can want none, which its own condition tells."""


class OvnController:
    """The one writer of our rows.

    Args:
        remotes: of the northbound database.
        compilers: by kind of owner.
        heard: called with a port's id when `rows_gone` may answer something else.
        able: told whether OVN has templates; which owners' rows are others for it.
    """

    def __init__(
        self,
        remotes: str,
        tls: TlsFiles | None,
        compilers: Mapping[str, Compile],
        metrics: OvnMetrics,
        heard: Callable[[str], None],
        able: Callable[[bool], Iterable[Owner]] = lambda _has_templates: (),
    ) -> None:
        self.store = RowStore()
        self.queue = DirtyOwners()
        self.refused: dict[Ref, str] = {}
        self._northbound = Northbound(remotes, self, tls=tls, count=lambda _peer: metrics.lost.inc())
        self._compilers = compilers
        self._metrics = metrics
        self._heard = heard
        self._able = able
        self._pending: set[Ref] = set()
        self._full = True
        self._broken: set[Owner] = set()
        self._leaving: set[str] = set()
        self._pause_s = FIRST_PAUSE_S
        self._known = False
        self._away_since: float | None = None
        self._compare_at = 0.0
        self._retry: asyncio.TimerHandle | None = None
        metrics.rows.set_function(lambda: len(self.store))
        metrics.refused.set_function(lambda: len(self.refused))
        metrics.connected.set_function(lambda: float(self._northbound.connected))
        metrics.waiting.set_function(lambda: len(self.queue))
        metrics.oldest.set_function(self.queue.oldest_s)

    def dirty(self, owners: Iterable[Owner]) -> None:
        """Have owners compiled again; what is told in one call goes into one transaction."""
        self.queue.add(owners)

    async def run(self) -> None:
        """Serve until cancelled. Every owner must have been told of: what nobody wants is deleted."""
        self._away_since = asyncio.get_running_loop().time()
        await self._northbound.start()
        waiting = asyncio.get_running_loop().call_later(AWAY_S, self._tell_away)
        try:
            await self._serve()
        finally:
            waiting.cancel()
            if self._retry is not None:
                self._retry.cancel()
            await self._northbound.stop()

    def rows_gone(self, port_id: str) -> bool:
        """Whether nothing of a port is there any more: its address may go to another."""
        row = ref(Table.SWITCH_PORT, port_id)
        known = self._northbound.connected and self._known
        return known and port_id not in self._leaving and row not in self.store and not self._northbound.seen.has(row)

    def refusal(self, key: str) -> str:
        """Why a row with a key cannot be written; empty when none is refused."""
        return next((why for row, why in self.refused.items() if row.key == key), "")

    def unreached(self) -> DpuError | None:
        """Why the database has not been there for a while; None when it is, or was just now."""
        since = self._away_since
        lasting = since is not None and asyncio.get_running_loop().time() - since >= AWAY_S
        return self._northbound.problem if lasting else None

    @property
    def connected(self) -> bool:
        """Whether the database is known."""
        return self._northbound.connected

    def copied(self) -> None:
        """There is a new copy; see clients.ovn.northbound.Listener for this and the following."""
        self._full, self._known, self._away_since = True, False, None
        for owner in self._able(self._northbound.has_templates):  # before anything is written to this database
            self._wanted_by(owner)
        self.queue.wake.set()

    def changed(self, rows: set[Ref]) -> None:
        self._pending |= rows
        self.queue.wake.set()

    def moved(self, port_id: str) -> None:
        if port_id:
            self._heard(port_id)

    def lost(self, why: str) -> None:
        self._see_whether_away()
        self.queue.wake.set()
        log.info("northbound database", what=why)

    def _see_whether_away(self) -> None:
        if self._northbound.problem is None:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = asyncio.get_running_loop().time()

    def _tell_away(self) -> None:
        problem = self._northbound.problem
        if problem is not None:
            log.warning("northbound database is away; nothing of OVN's changes until it is back", why=str(problem))

    async def _serve(self) -> None:
        while True:
            await self._wait()
            started = self.queue.take()
            try:
                await self._batch(started)
            except Exception:  # the outermost loop of this task: a bug in one batch must not end the others
                log.exception("batch failed")
                self._full = True
                self.queue.add(started)
                await asyncio.sleep(LONGEST_PAUSE_S)

    async def _wait(self) -> None:
        """Until there is something to do; a while more for what comes together."""
        loop = asyncio.get_running_loop()
        left_s = max(self._compare_at - loop.time(), 0.0) if self._northbound.connected else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self.queue.wake.wait()
        self._full = self._full or loop.time() >= self._compare_at
        await asyncio.sleep(BATCH_WINDOW_S)
        self.queue.wake.clear()

    async def _batch(self, started: Mapping[Owner, float]) -> None:
        leaving = await self._compile(started)
        if not self._northbound.connected:
            self._full = True
            return
        full, restoring = self._full, not started and not self._full
        if not await self._commit(self._take_work(), restoring=restoring):
            return
        self._known = self._known or full
        if not self.refused and not self._broken:
            self._pause_s = FIRST_PAUSE_S
        now = asyncio.get_running_loop().time()
        for since in started.values():
            self._metrics.lag.observe(now - since)
        self._leaving -= leaving
        for port_id in leaving:
            self._heard(port_id)

    async def _compile(self, owners: Iterable[Owner]) -> set[str]:
        """Logical ports that are wanted no longer; what else spoke of them is in this batch, too."""
        leaving: set[str] = set()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for owner in owners:
            before = self.store.rows_of(owner)
            self._pending |= self._wanted_by(owner)
            gone = before - self.store.rows_of(owner)
            leaving |= {row.key for row in gone if row.table == Table.SWITCH_PORT.value}
            if loop.time() - began >= COMPILED_FOR_S:
                await asyncio.sleep(0)
                began = loop.time()
        self._leaving |= leaving
        return set(self._leaving)

    def _wanted_by(self, owner: Owner) -> frozenset[Ref]:
        """Takes in what an owner wants now; the rows that are different for it."""
        kind, key = owner
        try:
            dirty = self.store.replace(owner, self._compilers[kind](key))
        except DpuError as error:
            log.info("no rows", kind=kind, key=key, why=str(error))
            dirty = self.store.replace(owner, [])
        except Exception:  # one that cannot be compiled must not stop the others, nor lose what it had
            if owner not in self._broken:
                log.exception("rows cannot be made", kind=kind, key=key)
            self._broken.add(owner)
            self._later()
            return frozenset()
        if owner in self._broken:
            self._broken.discard(owner)
            self._full = True  # what was kept for its sake is looked at again
        return dirty

    def _take_work(self) -> list[Ref]:
        pending, self._pending = self._pending, set()
        if self._full:
            self._full = False
            self._compare_at = asyncio.get_running_loop().time() + FULL_COMPARISON_S
            self._metrics.resyncs.inc()
            pending.update(self.store, self._northbound.seen.ours())
        else:
            pending = {row for row in pending if not self._is_left_over(row)}
        return sorted(pending, key=lambda row: (row.table, row.key))

    def _is_left_over(self, row: Ref) -> bool:
        """Whether a row was emptied to go, which a comparison of everything sees to: its chassis shall hear of both."""
        return bool(SHAPES[row.table].emptied) and row not in self.store and self._northbound.seen.is_empty(row)

    async def _commit(self, rows: list[Ref], *, restoring: bool) -> bool:
        """Whether the database was told of all rows; those that it refused are tried again later."""
        for start in range(0, len(rows), COMPARED_AT_ONCE):
            if not await self._put_right(rows[start : start + COMPARED_AT_ONCE], restoring=restoring):
                return False
            await asyncio.sleep(0)
        return True

    async def _put_right(self, rows: list[Ref], *, restoring: bool, alone: bool = False) -> bool:
        copies = self._northbound.seen.copies
        found = await self._difference(rows, alone=alone)
        if copies != self._northbound.seen.copies:
            self._full = True
            return False
        if found.operations:
            try:
                await self._northbound.transact(found.operations)
            except DpuError as error:
                refused = rows if alone else sorted(found.looked_at)
                return await self._failed(refused, error, restoring=restoring)
            self._metrics.transactions.labels("committed").inc()
            self._metrics.batch.observe(len(found.operations))
        self._note(found)
        if found.operations and restoring:
            self._metrics.restored.inc(len(found.operations))
            log.warning("rows put right that somebody else had changed", operations=len(found.operations))
        return True

    async def _difference(self, rows: list[Ref], *, alone: bool) -> Difference:
        """The difference for some rows; others of this process have their turn meanwhile."""
        known, seen = self.refused.keys() - set(rows), self._northbound.seen
        keep = bool(self._broken)
        steps = diff_in_steps(rows, self.store, seen, keep_unwanted=keep, without=known, alone=alone)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: Difference = end.value
                return found
            await asyncio.sleep(0)

    async def _failed(self, rows: list[Ref], error: DpuError, *, restoring: bool) -> bool:
        """Finds the row that a refused transaction is refused for; the others go on without it."""
        self._metrics.transactions.labels("refused" if error.reason in REFUSALS else "lost").inc()
        if error.reason not in REFUSALS:
            log.warning("transaction lost; everything will be compared", why=str(error))
            self._full = True
            self._later()
            if error.reason is Reason.DEADLINE:
                self._away_since = asyncio.get_running_loop().time()
                await self._northbound.restart()
                self._see_whether_away()
            return False
        if error.reason is Reason.FORBIDDEN:
            log.warning("rows refused, as all would be", rows=len(rows), why=str(error))
            self._refuse(dict.fromkeys(rows, str(error)))
            return True
        if len(rows) == 1:
            log.warning("row refused", table=rows[0].table, key=rows[0].key, why=str(error))
            self._refuse({rows[0]: str(error)})
            return True
        middle = len(rows) // 2
        first = await self._put_right(rows[:middle], restoring=restoring, alone=True)
        return await self._put_right(rows[middle:], restoring=restoring, alone=True) and first

    def _note(self, found: Difference) -> None:
        for row in found.looked_at & self.refused.keys() - found.refused.keys():
            del self.refused[row]
        for row, sentence in found.refused.items():
            log.warning("row refused", table=row.table, key=row.key, why=sentence)
        self._refuse(found.refused)

    def _refuse(self, rows: Mapping[Ref, str]) -> None:
        self.refused |= rows
        if rows:
            self._later()

    def _later(self) -> None:
        """Have refused rows, and owners that could not be compiled, tried again, with growing pauses."""
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(self._pause_s, self._again)
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def _again(self) -> None:
        self._retry = None
        self._pending |= self.refused.keys()
        self.queue.add(self._broken)
        self.queue.wake.set()
