"""The life of an OPI object, of whichever API: wanted state first, then the world follows."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import Enum
from typing import Generic, Protocol, TypeVar

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.convergence import LOOK_S, Job, converge
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.lanes import KeyedLocks, LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.opi.sight import Sight
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.opi import OpiObject
from dpu_daemon.model.opi_network import NetObject
from proto.errors import DpuError
from proto.reasons import Reason

R = TypeVar("R", OpiObject, NetObject)
S = TypeVar("S")
V = TypeVar("V")
T = TypeVar("T")
VIEW_LOOK_S = 3.0

_log = structlog.get_logger("dpu_daemon.opi")


class Asked(Protocol):
    """An object as asked for."""

    @property
    def name(self) -> str: ...


A = TypeVar("A", bound=Asked)
_A_contra = TypeVar("_A_contra", bound=Asked, contravariant=True)


class Intents(Protocol[R, _A_contra]):
    """Writes intents; each is chosen and journalled under the ledger's allocation lock, together with its check."""

    async def intend(self, asked: _A_contra) -> R:
        """Journal a new object with everything chosen."""
        ...

    def refuse_other(self, record: R, asked: _A_contra) -> None:
        """Raise ALREADY_EXISTS when the same name was given another spec."""
        ...

    async def follow(self, asked: _A_contra) -> R:
        """Journal an update; returns the record as it was."""
        ...

    def refuse_again(self, record: R) -> None:
        """Raise DpuError when an object cannot be as it was: meanwhile another has what it had, or it is gone."""
        ...

    async def renounce(self, name: str) -> R | None:
        """Journal that an object is wanted no more; None when it is not there."""
        ...


class Lifecycle(ABC, Generic[R, A, S, V]):
    """Create, update, delete, read and repair of one API's objects.

    Args:
        ledger: what is wanted.
        operations: locks and lanes of callers.
        intents: of these objects.
        look: takes a look at what they stand on.
    """

    row: RecordKind
    """Under which the journal keeps these objects."""
    ground: str
    """What they stand on, in words."""

    def __init__(
        self, ledger: Ledger, operations: Operations, intents: Intents[R, A], look: Callable[[], Awaitable[S]]
    ) -> None:
        self.ledger = ledger
        self._written: Intents[R, A] = intents
        self._operations = operations
        self._sight = Sight(look)
        self._locks = KeyedLocks()
        """Beneath the callers' own: a rebuild of everything takes one object after the other."""

    @property
    @abstractmethod
    def records(self) -> Mapping[str, R]:
        """All objects, by resource name."""

    @abstractmethod
    def view(self, record: R, seen: S | None) -> V:
        """A record as a client sees it."""

    @abstractmethod
    def _job(self, name: str) -> Job[S]:
        """What makes one object right."""

    async def _before_delete(self, name: str) -> None:
        """Refuse what must not be deleted now."""

    async def _after_delete(self, record: R) -> None:
        """Clean up what the journal does not keep."""

    async def tidy(self) -> None:
        """Forget what a crash left between two writes."""

    async def create(self, asked: A, deadline: Deadline) -> V:
        """Make an object; one with the same name and spec is returned as it is.

        Raises:
            DpuError: ALREADY_EXISTS, NOT_FOUND, IN_USE, EXHAUSTED or INVALID before anything was done; the driver's
                error after a new object was undone.
        """
        return await self._run(asked.name, LaneName.PUT_UP, lambda: self._create(asked), deadline)

    async def _create(self, asked: A) -> V:
        async with self._locks.lent(asked.name) as lock, lock:
            record = self.records.get(asked.name)
            if record is not None and not record.wanted:
                await self._finish(record)
                record = None
            if record is None:
                await self._written.intend(asked)
            else:
                self._written.refuse_other(record, asked)
            try:
                seen = await self._converge(asked.name)
            except DpuError as error:
                await self._undo(asked.name, error)
                raise
            return self.view(await self._establish(asked.name), seen)

    async def update(self, name: str, asking: Callable[[R], A], deadline: Deadline) -> V:
        """Change an object that is there.

        Args:
            name: of the object.
            asking: from the object as it is to what is asked for. Called first to refuse what is wrong at once, and
                again when it is this update's turn: another may have changed other fields meanwhile.
            deadline: of the caller.

        Raises:
            DpuError: NOT_FOUND, INVALID, WRONG_STATE; the driver's error, and the old spec is wanted again unless it
                cannot be any more.
        """
        asking(self.existing(name))
        return await self._run(name, LaneName.PUT_UP, lambda: self._update(name, asking), deadline)

    async def _update(self, name: str, asking: Callable[[R], A]) -> V:
        async with self._locks.lent(name) as lock, lock:
            before = await self._written.follow(asking(self.existing(name)))
            try:
                seen = await self._converge(name)
            except DpuError as error:
                await self._take_back(before, error)
                raise
            return self.view(await self._establish(name), seen)

    async def delete(self, name: str, deadline: Deadline, *, allow_missing: bool) -> None:
        """Take an object away.

        Raises:
            DpuError: NOT_FOUND unless missing is allowed; IN_USE naming who needs it. The driver's error: the intent
                is journalled and the daemon goes on trying.
        """
        if name not in self.records:
            if allow_missing:
                return
            raise _missing(name)
        await self._run(name, LaneName.TAKE_AWAY, lambda: self._delete(name), deadline)

    async def _delete(self, name: str) -> None:
        async with self._locks.lent(name) as lock, lock:
            await self._before_delete(name)
            record = await self._written.renounce(name)
            if record is not None:
                await self._finish(record)

    def record(self, name: str) -> R | None:
        """The object of this name, if there is one."""
        return self.records.get(name)

    def existing(self, name: str) -> R:
        """The object of this name.

        Raises:
            DpuError: NOT_FOUND.
        """
        record = self.records.get(name)
        if record is None or not record.wanted:
            raise _missing(name)
        return record

    def known(self, name: str) -> R:
        """The object of this name, also while it is being deleted.

        Raises:
            DpuError: NOT_FOUND.
        """
        record = self.records.get(name)
        if record is None:
            raise _missing(name)
        return record

    def members(self, kind: Enum, parent: str) -> list[R]:
        """Objects of a collection in a parent, by name; also those that are being deleted."""
        found = (thing for thing in self.records.values() if thing.kind is kind and thing.parent == parent)
        return sorted(found, key=lambda thing: thing.name)

    async def seen(self) -> S | None:
        """What is there now, for a reader; None when it does not answer in time."""
        try:
            return await within(VIEW_LOOK_S, self._sight.look(), f"look at {self.ground}")
        except DpuError as error:
            _log.info(f"answers from the journal alone: {error}")
            return None

    async def look(self) -> S:
        """What is there now.

        Raises:
            DpuError: it does not answer.
        """
        return await within(LOOK_S, self._sight.look(), f"look at {self.ground}")

    async def repair(self, name: str) -> bool:
        """Make one object as it is wanted; whether anything had to be done.

        Raises:
            DpuError: the driver's error, or UNAVAILABLE while something that it stands on is missing.
        """
        async with self._locks.lent(name) as lock, lock:
            record = self.records.get(name)
            if record is None:
                return False
            if not record.wanted:
                await self._finish(record)
                return True
            acted = (await converge(self.ledger, self._job(name))).acted
            await self._establish(name)
            return acted

    async def _finish(self, record: R) -> None:
        await self._converge(record.name)
        change = Change(drop=((self.row, record.name),), events=(said(record, "Deleted", "is gone"),))
        await self.ledger.commit(change)
        await self._after_delete(record)

    async def _converge(self, name: str) -> S:
        return (await converge(self.ledger, self._job(name))).seen

    async def _establish(self, name: str) -> R:
        record = self.records[name]
        if not record.established:
            record = replace(record, established=True)
            await self.ledger.commit(Change(put=(record,), events=(said(record, "Created", "is there"),)))
        return record

    async def _undo(self, name: str, error: DpuError) -> None:
        """A new object is undone; one that was whole before stays for the daemon to repair."""
        if self.records[name].established:
            return
        try:
            record = await self._written.renounce(name)
            if record is not None:
                event = said(record, "CreateFailed", f"is undone: {error}", warning=True)
                await self.ledger.commit(Change(events=(event,)))
                await self._finish(record)
        except DpuError as second:
            _log.warning(f"undo goes on later: {second}", id=name)

    async def _take_back(self, before: R, error: DpuError) -> None:
        async with self.ledger.allocation:
            now = self.records[before.name]
            record, story = replace(now, spec=before.spec, generation=now.generation + 1), "stays as it was"
            try:
                self._written.refuse_again(record)
            except DpuError as conflict:
                record, story = now, f"is still being changed, since it cannot be as it was ({conflict})"
            event = said(record, "UpdateFailed", f"{story}: {error}", warning=True)
            try:
                await self.ledger.commit(Change(put=(record,), events=(event,)))
            except DpuError as second:
                _log.error(str(second), reason=second.reason.value)

    async def _run(self, name: str, lane: LaneName, work: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        return await self._operations.run(("opi", name), lane, work, deadline, what=name)


def said(thing: OpiObject | NetObject, reason: str, message: str, *, warning: bool = False) -> Said:
    """An event about an OPI object."""
    text = f"{thing.name} {message}"
    return Said(kind=EventKind.OPI, subject=thing.name, reason=reason, message=text, warning=warning)


def _missing(name: str) -> DpuError:
    return DpuError(Reason.NOT_FOUND, f"{name} does not exist", field="name", remedy="list the collection")
