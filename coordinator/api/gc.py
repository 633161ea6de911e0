"""Garbage collection: dependents of what is gone, orphans, namespaces that end, events past their time.

A key is looked at whenever it, its owner or its namespace changes; every look decides from the present state, so a
look too many does nothing and a restart begins by looking at everything once.
"""

import asyncio
from collections import defaultdict

import structlog

from coordinator.api import deletes, shaping
from coordinator.api.deletes import FOREGROUND, ORPHAN, DeleteOptions
from coordinator.api.errors import ApiError, trace
from coordinator.api.history import Change, Event, Record
from coordinator.api.kinds import Kind
from coordinator.api.objects import Key, Obj, finalizers, meta, now, owners, parse_time
from coordinator.api.shaping import NAMESPACES
from coordinator.api.writes import Options, Writes

SWEEP_S = 30.0
"""Seconds between looks for events past their time."""
RETRY_S = 1.0
_COLLECTOR = Options(manager="garbage-collector")


class Collector:
    """Follows the store and deletes what nobody owns any more."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._store = writes.store
        self._uids: dict[str, Key] = {}
        self._dependents: defaultdict[str, set[Key]] = defaultdict(set)
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._log = structlog.stdlib.get_logger("coordinator.api.gc")

    def start(self) -> None:
        """Look at everything once, then at what changes."""
        for resource in self._store.resources():
            for record in self._store.scan(resource):
                self._index(record)
                self._look(record.key)
        self._store.listeners.append(self._notice)
        loops = ((self._work(), "gc"), (self._sweep(), "gc-sweep"))
        self._tasks = [asyncio.create_task(loop, name=name) for loop, name in loops]

    async def stop(self) -> None:
        """Stop looking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _look(self, key: Key) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._queue.put_nowait(key)

    def _index(self, record: Record) -> None:
        self._uids[record.uid] = record.key
        for uid in record.owners:
            self._dependents[uid].add(record.key)

    def _forget(self, record: Record) -> None:
        for uid in record.owners:
            self._dependents[uid].discard(record.key)
            if not self._dependents[uid]:
                del self._dependents[uid]

    def _notice(self, event: Event) -> None:
        record, previous = event.record, event.previous
        touched = set(record.owners)
        if previous:
            touched |= set(previous.owners)
            self._forget(previous)
        if event.change is Change.DELETED:
            self._uids.pop(record.uid, None)
            for key in self._dependents.get(record.uid, ()):
                self._look(key)
            namespace = self._store.get(Key(NAMESPACES, "", record.key.namespace))
            if namespace and namespace.deleting:
                self._look(namespace.key)
        else:
            self._index(record)
        if record.owners or record.deleting or record.key.namespace:
            self._look_if_needed(record)
        for uid in touched:
            owner = self._uids.get(uid)
            found = self._store.get(owner) if owner else None
            if found and found.deleting:
                self._look(found.key)

    def _look_if_needed(self, record: Record) -> None:
        if record.owners or record.deleting or self._store.get(Key(NAMESPACES, "", record.key.namespace)) is None:
            self._look(record.key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._queued.discard(key)
            try:
                await self._examine(key)
            except ApiError as error:
                if error.reason not in {"NotFound", "Conflict"}:
                    self._log.warning(
                        "collection put off", object="/".join(key), reason=error.reason, why=error.message
                    )
                    await asyncio.sleep(RETRY_S)
                    self._look(key)
            except Exception as fault:  # noqa: BLE001
                # the outermost loop of this task: one odd object must not stop the collection of the others
                self._log.error("collection failed", object="/".join(key), trace=trace(fault))

    async def _examine(self, key: Key) -> None:
        record, kind = self._store.get(key), self._writes.registry.stored(key.resource)
        if record is None or kind is None:
            return
        if record.deleting:
            await self._finish(kind, record)
        elif key.namespace and self._store.get(Key(NAMESPACES, "", key.namespace)) is None:
            await self._delete(kind, record, "its namespace is gone")
        elif record.owners and self._abandoned(record):
            await self._delete(kind, record, "its owners are gone")

    async def _delete(self, kind: Kind, record: Record, why: str) -> None:
        self._log.info("collected", object="/".join(record.key), why=why)
        options = DeleteOptions(preconditions={"uid": record.uid})
        await deletes.delete(self._store, kind, record.key, options)

    def _abandoned(self, record: Record) -> bool:
        """Whether all owners are of kinds that are served here, and all are gone."""
        for owner in owners(record.obj()):
            served = self._writes.registry.by_kind(str(owner.get("apiVersion")), str(owner.get("kind")))
            if served is None or self._owned_by(record, str(owner.get("uid"))):
                return False
        return True

    def _owned_by(self, record: Record, uid: str) -> bool:
        """Whether an owner is there; one in another namespace does not count, as in Kubernetes."""
        found = self._uids.get(uid)
        return found is not None and found.namespace in {"", record.key.namespace}

    async def _finish(self, kind: Kind, record: Record) -> None:
        """Do the finalizers' work that is the server's own."""
        pending = finalizers(record.obj())
        if ORPHAN in pending:
            for key in list(self._dependents.get(record.uid, ())):
                await self._disown(key, record.uid)
            await self._drop_finalizer(kind, record, ORPHAN)
        elif FOREGROUND in pending:
            await self._delete_dependents(kind, record)
        if kind.storage == NAMESPACES:
            await self._empty(kind, record)

    async def _disown(self, key: Key, uid: str) -> None:
        kind = self._writes.registry.stored(key.resource)
        if kind is None:
            return

        def edit(obj: Obj) -> Obj:
            meta(obj)["ownerReferences"] = [owner for owner in owners(obj) if owner.get("uid") != uid]
            return obj

        await self._writes.update(kind, key, edit, _COLLECTOR)

    async def _drop_finalizer(self, kind: Kind, record: Record, name: str) -> None:
        def edit(obj: Obj) -> Obj:
            meta(obj)["finalizers"] = [each for each in finalizers(obj) if each != name]
            return obj

        await self._writes.update(kind, record.key, edit, _COLLECTOR)

    async def _delete_dependents(self, kind: Kind, record: Record) -> None:
        blocking = False
        for key in list(self._dependents.get(record.uid, ())):
            dependent, below = self._store.get(key), self._writes.registry.stored(key.resource)
            if dependent is None or below is None:
                continue
            mine = [owner for owner in owners(dependent.obj()) if owner.get("uid") == record.uid]
            blocking |= any(owner.get("blockOwnerDeletion") for owner in mine)
            if not dependent.deleting and len(dependent.owners) == len(mine):
                options = DeleteOptions(deletes.Propagation.FOREGROUND, preconditions={"uid": dependent.uid})
                await deletes.delete(self._store, below, key, options)
        if not blocking:
            await self._drop_finalizer(kind, record, FOREGROUND)

    async def _empty(self, kind: Kind, record: Record) -> None:
        """Delete what is in a namespace that ends; let it go when nothing is left."""
        left = False
        for resource in self._store.resources():
            below = self._writes.registry.stored(resource)
            if below is None or not below.namespaced:
                continue
            for inner in list(self._store.scan(resource, record.key.name)):
                left = True
                if not inner.deleting:
                    await deletes.delete(self._store, below, inner.key, DeleteOptions(preconditions={"uid": inner.uid}))
        if left:
            return  # each deletion brings us here again
        async with self._store.editing(record.key) as found:
            if found is None:
                return
            obj = found.obj()
            obj["spec"] = {"finalizers": []}
            gone = not shaping.pending_finalizers(kind, obj)
            await self._store.commit(Change.DELETED if gone else Change.MODIFIED, found.key, obj, found)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            for kind in self._writes.registry:
                if kind.ttl_s and kind.view is None:
                    await self._expire(kind)

    async def _expire(self, kind: Kind) -> None:
        for record in list(self._store.scan(kind.storage)):
            obj = record.obj()
            times = (obj.get("lastTimestamp"), obj.get("eventTime"), meta(obj).get("creationTimestamp"))
            then = next((time for time in map(parse_time, times) if time), None)
            if then and (now() - then).total_seconds() > kind.ttl_s:
                try:
                    await deletes.delete(
                        self._store, kind, record.key, DeleteOptions(preconditions={"uid": record.uid})
                    )
                except ApiError as error:
                    self._log.warning("expiry put off", object="/".join(record.key), why=error.message)
