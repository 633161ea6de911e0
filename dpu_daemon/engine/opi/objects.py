"""Objects of the OPI API: create, update, delete, read; wanted state first, then the block layer follows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.convergence import LOOK_S, converge
from dpu_daemon.engine.deadline import Deadline, within
from dpu_daemon.engine.lanes import KeyedLocks, LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.opi.intents import AskedObject, OpiIntents, said
from dpu_daemon.engine.opi.job import OpiJob
from dpu_daemon.engine.opi.protocols import OpiDriver
from dpu_daemon.engine.opi.secrets import OpiSecrets
from dpu_daemon.engine.opi.sight import Sight
from dpu_daemon.engine.protocols import CredentialStore
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.opi import OpiKind, OpiObject, VirtioBlk
from dpu_daemon.model.opi_seen import OpiSeen
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")
VIEW_LOOK_S = 3.0

_log = structlog.get_logger("dpu_daemon.opi")


@dataclass(frozen=True, slots=True)
class OpiLayer:
    """What OPI objects stand on."""

    driver: OpiDriver
    store: CredentialStore


@dataclass(frozen=True, slots=True)
class OpiView:
    """An object as a client sees it, with the one it lives in; `seen` is None when the block layer does not answer."""

    record: OpiObject
    owner: OpiObject | None
    seen: OpiSeen | None


class OpiObjects:
    """All OPI objects of this DPU.

    Args:
        ledger: what is wanted.
        operations: locks and lanes of callers.
        layer: driver of the block layer, and where secrets go.
    """

    def __init__(self, ledger: Ledger, operations: Operations, layer: OpiLayer) -> None:
        self.ledger = ledger
        self.driver = layer.driver
        self.intents = OpiIntents(ledger, OpiSecrets(layer.store))
        self._operations = operations
        self._sight = Sight(layer.driver.look)
        self._locks = KeyedLocks()
        """Beneath the callers' own: a rebuild of everything takes one object after the other."""

    async def create(self, asked: AskedObject, deadline: Deadline) -> OpiView:
        """Make an object; one with the same name and spec is returned as it is.

        Raises:
            DpuError: ALREADY_EXISTS, NOT_FOUND, IN_USE, EXHAUSTED or INVALID before anything was done; the driver's
                error after a new object was undone.
        """
        return await self._run(asked.name, LaneName.PUT_UP, lambda: self._create(asked), deadline)

    async def _create(self, asked: AskedObject) -> OpiView:
        async with self._locks.lent(asked.name) as lock, lock:
            record = self.ledger.opi.get(asked.name)
            if record is not None and not record.wanted:
                await self._finish(record)
                record = None
            if record is None:
                await self.intents.intend(asked)
            else:
                self.intents.refuse_other(record, asked)
            try:
                seen = await self._converge(asked.name)
            except DpuError as error:
                await self._undo(asked.name, error)
                raise
            return self.view(await self._establish(asked.name), seen)

    async def update(self, asked: AskedObject, deadline: Deadline) -> OpiView:
        """Change an object that is there.

        Raises:
            DpuError: NOT_FOUND, INVALID, WRONG_STATE; the driver's error, and the old spec is wanted again.
        """
        return await self._run(asked.name, LaneName.PUT_UP, lambda: self._update(asked), deadline)

    async def _update(self, asked: AskedObject) -> OpiView:
        async with self._locks.lent(asked.name) as lock, lock:
            self.existing(asked.name)
            before = await self.intents.follow(asked)
            try:
                seen = await self._converge(asked.name)
            except DpuError as error:
                await self._take_back(before, error)
                raise
            return self.view(await self._establish(asked.name), seen)

    async def delete(self, name: str, deadline: Deadline, *, allow_missing: bool) -> None:
        """Take an object away.

        Raises:
            DpuError: NOT_FOUND unless missing is allowed; IN_USE naming who needs it. The driver's error: the intent
                is journalled and the daemon goes on trying.
        """
        if name not in self.ledger.opi:
            if allow_missing:
                return
            raise _missing(name)
        await self._run(name, LaneName.TAKE_AWAY, lambda: self._delete(name), deadline)

    async def _delete(self, name: str) -> None:
        async with self._locks.lent(name) as lock, lock:
            await self._refuse_opened(name)
            record = await self.intents.renounce(name)
            if record is not None:
                await self._finish(record)

    async def _refuse_opened(self, name: str) -> None:
        record = self.ledger.opi.get(name)
        if record is None or not isinstance(record.spec, VirtioBlk):
            return
        seen = (await within(LOOK_S, self._sight.look(), "look at the block layer")).virtio_blks.get(record.handle)
        if seen is not None and seen.connected:
            message = f"{name} is open in the host"
            raise DpuError(Reason.IN_USE, message, field="name", remedy="unplug it in the host first")

    async def reset(self, name: str, deadline: Deadline) -> None:
        """Reset a remote controller.

        Raises:
            DpuError: NOT_FOUND, or the driver's error.
        """
        record = self.existing(name)
        await self._run(name, LaneName.PUT_UP, lambda: self.driver.reset_remote(record.handle), deadline)

    def existing(self, name: str) -> OpiObject:
        """The object of this name.

        Raises:
            DpuError: NOT_FOUND.
        """
        record = self.ledger.opi.get(name)
        if record is None or not record.wanted:
            raise _missing(name)
        return record

    def known(self, name: str) -> OpiObject:
        """The object of this name, also while it is being deleted.

        Raises:
            DpuError: NOT_FOUND.
        """
        record = self.ledger.opi.get(name)
        if record is None:
            raise _missing(name)
        return record

    def view(self, record: OpiObject, seen: OpiSeen | None) -> OpiView:
        """A record as a client sees it."""
        return OpiView(record, self.ledger.opi.get(record.parent), seen)

    def members(self, kind: OpiKind, parent: str) -> list[OpiObject]:
        """Objects of a collection in a parent, by name; also those that are being deleted."""
        found = (thing for thing in self.ledger.opi.values() if thing.kind is kind and thing.parent == parent)
        return sorted(found, key=lambda thing: thing.name)

    async def seen(self) -> OpiSeen | None:
        """What is there now, for a reader; None when the block layer does not answer in time."""
        try:
            return await within(VIEW_LOOK_S, self._sight.look(), "look at the block layer")
        except DpuError as error:
            _log.info(f"answers from the journal alone: {error}")
            return None

    async def look(self) -> OpiSeen:
        """What is there now.

        Raises:
            DpuError: the block layer does not answer.
        """
        return await within(LOOK_S, self._sight.look(), "look at the block layer")

    async def repair(self, name: str) -> bool:
        """Make one object as it is wanted; whether anything had to be done.

        Raises:
            DpuError: the driver's error, or UNAVAILABLE while something that it stands on is missing.
        """
        async with self._locks.lent(name) as lock, lock:
            record = self.ledger.opi.get(name)
            if record is None:
                return False
            if not record.wanted:
                await self._finish(record)
                return True
            acted = (await converge(self.ledger, self._job(name))).acted
            await self._establish(name)
            return acted

    async def _finish(self, record: OpiObject) -> None:
        await self._converge(record.name)
        change = Change(drop=((RecordKind.OPI, record.name),), events=(said(record, "Deleted", "is gone"),))
        await self.ledger.commit(change)
        if record.secret:
            await self.intents.tidy()

    async def _converge(self, name: str) -> OpiSeen:
        return (await converge(self.ledger, self._job(name))).seen

    def _job(self, name: str) -> OpiJob:
        return OpiJob(name, self.ledger, self.driver, self._sight)

    async def _establish(self, name: str) -> OpiObject:
        record = self.ledger.opi[name]
        if not record.established:
            record = replace(record, established=True)
            await self.ledger.commit(Change(put=(record,), events=(said(record, "Created", "is there"),)))
        return record

    async def _undo(self, name: str, error: DpuError) -> None:
        """A new object is undone; one that was whole before stays for the daemon to repair."""
        if self.ledger.opi[name].established:
            return
        try:
            record = await self.intents.renounce(name)
            if record is not None:
                event = said(record, "CreateFailed", f"is undone: {error}", warning=True)
                await self.ledger.commit(Change(events=(event,)))
                await self._finish(record)
        except DpuError as second:
            _log.warning(f"undo goes on later: {second}", id=name)

    async def _take_back(self, before: OpiObject, error: DpuError) -> None:
        now = self.ledger.opi[before.name]
        record = replace(now, spec=before.spec, generation=now.generation + 1)
        event = said(record, "UpdateFailed", f"stays as it was: {error}", warning=True)
        try:
            await self.ledger.commit(Change(put=(record,), events=(event,)))
        except DpuError as second:
            _log.error(str(second), reason=second.reason.value)

    async def _run(self, name: str, lane: LaneName, work: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        return await self._operations.run(("opi", name), lane, work, deadline, what=name)


def _missing(name: str) -> DpuError:
    return DpuError(Reason.NOT_FOUND, f"{name} does not exist", field="name", remedy="list the collection")
