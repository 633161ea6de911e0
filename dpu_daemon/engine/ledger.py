"""The ledger: the journal read whole into memory, and written through.

Changes that come while the disk syncs earlier ones are written together: one sync serves them all.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, TypeVar

import structlog

from dpu_daemon.engine.change import Change, Said, StepEnded, StepState
from dpu_daemon.engine.journal import Committed, Contents, Journal
from dpu_daemon.engine.rows import Record, RecordKind, id_of, kind_of
from dpu_daemon.model.assignment import Assignment, PodPort, Sandbox
from dpu_daemon.model.binding import HostBindings, SizeChange
from dpu_daemon.model.disk import Attachment
from dpu_daemon.model.event import Event, EventKind
from dpu_daemon.model.fence import Fence, FenceScope
from dpu_daemon.model.opi import OpiObject
from dpu_daemon.model.opi_network import NetObject
from dpu_daemon.model.port import Port
from dpu_daemon.model.seed import Seed
from dpu_daemon.model.volume import Image, Snapshot, Volume
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")
EVENT_PAGE = 500
NOTE_S = 0.005
"""The patience of what only notes that something was answered: the answer goes first."""


class Ledger:
    """What is wanted, as the journal has it.

    Readers see memory, which changes only after the disk has the change. `allocation` is held while something
    scarce (a slot, a virtual function) is chosen and journalled, and never over a driver call.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._tables: dict[RecordKind, dict[str, Any]] = {kind: {} for kind in RecordKind}
        self.bindings: HostBindings | None = None
        """What the host's CPUs are for; None while nobody has said."""
        self._fences: dict[tuple[FenceScope, str], Fence] = {}
        self._waiting: list[tuple[Change, asyncio.Future[Committed]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._log = structlog.get_logger("dpu_daemon.ledger")
        self.last_event = 0
        self.allocation = asyncio.Lock()
        self._failure: DpuError | None = None
        """Of the disk, at the last change; None when it was written."""

    @property
    def instance_id(self) -> str:
        """Made with the journal; another one means that the journal was lost."""
        return self._journal.instance_id

    async def load(self) -> Contents:
        """Read the journal whole; steps that a restart interrupted are marked failed and told as events."""
        contents = await self._off_loop(self._journal.read)
        for record in contents.records:
            self._keep(record)
        self._fences = {(fence.scope, fence.subject): fence for fence in contents.fences}
        self.last_event = contents.last_event
        await self._off_loop(self._journal.prune_fences)
        # At once: hundreds of pods may have been coming, and each sync of the disk is a wait before the first call.
        await asyncio.gather(*(self.commit(_interruption(*step)) for step in contents.interrupted))
        return contents

    @property
    def attachments(self) -> Mapping[str, Attachment]:
        """By attachment id; seeds are among them under ids of their own."""
        return MappingProxyType(self._tables[RecordKind.ATTACHMENT])

    @property
    def ports(self) -> Mapping[str, Port]:
        """By port id."""
        return MappingProxyType(self._tables[RecordKind.PORT])

    @property
    def seeds(self) -> Mapping[str, Seed]:
        """By machine id."""
        return MappingProxyType(self._tables[RecordKind.SEED])

    @property
    def images(self) -> Mapping[str, Image]:
        """By image id."""
        return MappingProxyType(self._tables[RecordKind.IMAGE])

    @property
    def volumes(self) -> Mapping[str, Volume]:
        """By volume id."""
        return MappingProxyType(self._tables[RecordKind.VOLUME])

    @property
    def opi(self) -> Mapping[str, OpiObject]:
        """Objects of the OPI API by resource name."""
        return MappingProxyType(self._tables[RecordKind.OPI])

    @property
    def opi_network(self) -> Mapping[str, NetObject]:
        """Objects of the OPI network API by resource name."""
        return MappingProxyType(self._tables[RecordKind.OPI_NETWORK])

    @property
    def snapshots(self) -> Mapping[str, Snapshot]:
        """By snapshot id; those that nobody sees any more, or ever saw, are among them."""
        return MappingProxyType(self._tables[RecordKind.SNAPSHOT])

    @property
    def sizes(self) -> Mapping[str, SizeChange]:
        """Resizes by request id."""
        return MappingProxyType(self._tables[RecordKind.SIZES])

    @property
    def assignments(self) -> Mapping[str, Assignment]:
        """Ports of pods by port id."""
        return MappingProxyType(self._tables[RecordKind.ASSIGNMENT])

    @property
    def pod_ports(self) -> Mapping[str, PodPort]:
        """Ports that containers hold, by port id."""
        return MappingProxyType(self._tables[RecordKind.POD_PORT])

    @property
    def sandboxes(self) -> Mapping[str, Sandbox]:
        """Containers' sides of CNI attachments, by ``CONTAINER/INTERFACE``."""
        return MappingProxyType(self._tables[RecordKind.SANDBOX])

    def _keep(self, record: Record) -> None:
        if isinstance(record, HostBindings):
            self.bindings = record
        self._tables[kind_of(record)][id_of(record)] = record

    def _forget(self, kind: RecordKind, key: str) -> None:
        if kind is RecordKind.BINDINGS:
            self.bindings = None
        self._tables[kind].pop(key, None)

    def fence(self, scope: FenceScope, subject: str) -> Fence:
        """The fence before a subject; at 0 and open when there is none."""
        return self._fences.get((scope, subject), Fence(scope=scope, subject=subject, generation=0))

    async def commit(self, change: Change, *, patience_s: float = 0.0) -> Committed:
        """Make a change durable, then visible.

        Args:
            change: takes its place after those that came before.
            patience_s: how long the writing of it may wait for company; a caller has its answer meanwhile.

        Raises:
            DpuError: STORAGE_FULL, CORRUPT, CONFLICT or UNAVAILABLE; nothing has changed.
        """
        return await asyncio.shield(self.queue(change, patience_s=patience_s))

    async def carry(self, change: Change) -> Committed:
        """As `commit`; who is cancelled meanwhile still waits for the disk, so that what comes next sees the change."""
        written = self.queue(change)
        try:
            return await asyncio.shield(written)
        except asyncio.CancelledError:
            await asyncio.wait({written})
            raise

    def queue(self, change: Change, *, patience_s: float = 0.0) -> "asyncio.Future[Committed]":
        """As `commit`, for who cannot wait: the change has its place when this returns.

        Returns:
            What `commit` returns and raises; not to be cancelled.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Committed] = loop.create_future()
        waiter.add_done_callback(_seen)
        self._waiting.append((change, waiter))
        if patience_s:
            loop.call_later(patience_s, self._begin)
        else:
            self._begin()
        return waiter

    def _begin(self) -> None:
        if self._waiting and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write())

    async def writable(self) -> None:
        """Nothing when changes can be journalled; the disk is asked only after it refused one.

        Raises:
            DpuError: UNAVAILABLE, saying why not.
        """
        if self._failure is None:
            return
        again = Said(kind=EventKind.DAEMON, subject="", reason="JournalWritable", message="journalled again")
        try:
            await self.commit(Change(events=(again,)))
        except DpuError as error:
            message = f"nothing can be journalled: {error.message}"
            raise DpuError(Reason.UNAVAILABLE, message, field=error.field, remedy=error.remedy) from error

    async def _write(self) -> None:
        """Write what waits, and what comes meanwhile, until nothing does."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            changes = [change for change, _ in batch]
            writing = asyncio.ensure_future(self._off_loop(lambda changes=changes: self._journal.commit_all(changes)))  # type: ignore[misc]
            await asyncio.wait({writing})
            failure = writing.exception()
            outcomes = [failure] * len(batch) if failure is not None else writing.result()
            refused = (each for each in outcomes if isinstance(each, DpuError) and each.reason is not Reason.CONFLICT)
            self._failure = next(refused, None)
            last_event = self.last_event
            for (change, waiter), outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Committed):
                    self._show(change, outcome)
                    waiter.set_result(outcome)
                else:
                    waiter.set_exception(outcome)
            if self.last_event > last_event:
                async with self._news:
                    self._news.notify_all()

    def _show(self, change: Change, committed: Committed) -> None:
        """A durable change becomes visible."""
        for kind, key in change.drop:
            self._forget(kind, key)
        for record in change.put:
            self._keep(record)
        for fence in change.fences:
            self._fences[(fence.scope, fence.subject)] = fence
        if committed.events:
            self._tell(committed.events)
            self.last_event = max(self.last_event, committed.events[-1].sequence)

    def _tell(self, events: tuple[Event, ...]) -> None:
        for event in events:
            say = self._log.warning if event.warning else self._log.info
            say(event.message, kind=event.kind.value, id=event.subject, reason=event.reason, sequence=event.sequence)

    async def events(self, since: int) -> AsyncIterator[Event]:
        """Events after `since`, then each new one as it happens; without end.

        Raises:
            DpuError: GONE when events after `since` are not kept any more, or never were.
        """
        if since > self.last_event:
            raise self._gone(since)
        at = since
        while True:
            page = await self._off_loop(lambda at=at: self._journal.events_since(at, EVENT_PAGE))  # type: ignore[misc]
            if page and at and page[0].sequence > at + 1:
                raise self._gone(at)
            for event in page:
                yield event
                at = event.sequence
            async with self._news:
                await self._news.wait_for(lambda at=at: self.last_event > at)  # type: ignore[misc]

    def _gone(self, since: int) -> DpuError:
        message = f"events after {since} are not kept here; the newest is {self.last_event}"
        return DpuError(Reason.GONE, message, field="since", remedy="list everything anew, then watch from 0")

    async def _off_loop(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)

    async def close(self) -> None:
        """Let go of the journal after what is to be written."""
        self._begin()
        if self._writing is not None:
            await asyncio.wait({self._writing})
        await self._off_loop(self._journal.close)
        self._writer.shutdown(wait=False)


def _interruption(number: int, subject: str, says: str) -> Change:
    ended = StepEnded(number=number, state=StepState.FAILED, sentence="interrupted by a restart")
    message = f"{says}: interrupted by a restart of the daemon"
    said = Said(kind=EventKind.DAEMON, subject=subject, reason="StepInterrupted", message=message, warning=True)
    return Change(ended=ended, events=(said,))


def _seen(waiter: "asyncio.Future[Committed]") -> None:
    """A caller that left early leaves no warning behind."""
    if not waiter.cancelled():
        waiter.exception()
