"""The objects: all in memory for reading, all on disk before a write is answered.

Reads never touch the disk. Writes of one object follow each other (``editing``); writes of different objects that
arrive while the disk is busy share the next transaction. One counter gives every change its resourceVersion.
"""

import asyncio
import sqlite3
from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from weakref import WeakValueDictionary

import structlog

from coordinator.api import errors
from coordinator.api.database import Database, Row, StoreFullError
from coordinator.api.history import Bounds, Change, Event, History, Record, Ring
from coordinator.api.objects import Key, Obj, encode, meta


class _Pending(NamedTuple):
    event: Event
    done: "asyncio.Future[Record]"

    def row(self) -> Row:
        record, previous = self.event.record, self.event.previous
        return Row(record.version, self.event.change.value, record.key, record.raw, previous.raw if previous else None)


class _Shelf:
    """Objects of one resource, by namespace and name, in order."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.order: list[tuple[str, str]] = []

    def put(self, record: Record) -> None:
        place = (record.key.namespace, record.key.name)
        if place not in self.records:
            insort(self.order, place)
        self.records[place] = record

    def drop(self, key: Key) -> None:
        place = (key.namespace, key.name)
        if self.records.pop(place, None) is not None:
            del self.order[bisect_left(self.order, place)]


class Store:
    """Objects and their history on one database.

    Attributes:
        version: the newest resourceVersion that readers see.
        trouble: why the last transaction failed; empty when it did not.
        listeners: told of each change once it is on disk; must not raise.

    Args:
        database: open file; the store closes it.
        bounds: how much history is kept.

    Raises:
        StoreUnusableError: the file's content is damaged.
    """

    def __init__(self, database: Database, bounds: Bounds | None = None) -> None:
        self._database = database
        self._shelves: dict[str, _Shelf] = {}
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._pending: list[_Pending] = []
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._closing = False
        self._log = structlog.stdlib.get_logger("coordinator.api.store")
        self.trouble = ""
        self.listeners: list[Callable[[Event], None]] = []
        for key, version, raw in database.objects():
            self._shelf(key.resource).put(Record.load(key, version, raw))
        self.version = self._given = database.version()
        rows = list(database.history())
        self._history = History(bounds or Bounds(), rows[0].version - 1 if rows else self.version)
        self._history.append(_event(row) for row in rows)

    @classmethod
    def open(cls, path: Path, *, max_bytes: int = 0, bounds: Bounds | None = None) -> "Store":
        """The store in a file; blocks while the file is checked.

        Raises:
            StoreUnusableError: the message names the file and the remedy.
        """
        database = Database(path, max_bytes=max_bytes)
        try:
            return cls(database, bounds)
        except BaseException:
            database.close()
            raise

    @property
    def path(self) -> Path:
        """The database file."""
        return self._database.path

    async def start(self) -> None:
        """Begin to take writes."""
        self._writer = asyncio.create_task(self._write(), name="store-writer")

    async def close(self) -> None:
        """Finish the writes that were taken, then release the file."""
        self._closing = True
        self._wake.set()
        if self._writer:
            await self._writer
        self._thread.shutdown()
        self._database.close()

    def _shelf(self, resource: str) -> _Shelf:
        found = self._shelves.get(resource)
        if found is None:
            found = self._shelves[resource] = _Shelf()
        return found

    def get(self, key: Key) -> Record | None:
        """The object there, as last committed."""
        return self._shelf(key.resource).records.get((key.namespace, key.name))

    def scan(self, resource: str, namespace: str = "") -> Iterator[Record]:
        """Objects of a resource, of one namespace when given, ordered by namespace and name."""
        shelf = self._shelf(resource)
        if not namespace:
            return iter([shelf.records[place] for place in shelf.order])
        low, high = bisect_left(shelf.order, (namespace, "")), bisect_left(shelf.order, (namespace + "\0", ""))
        return iter([shelf.records[place] for place in shelf.order[low:high]])

    def scan_at(self, resource: str, namespace: str, version: int) -> Iterator[Record]:
        """Objects as they were at a version.

        Raises:
            ApiError: 410, history does not reach back that far.
        """
        ring = self.ring(resource)
        if version < ring.floor:
            raise errors.too_old(version, ring.floor)
        later = ring.after(version)
        if not later:
            return self.scan(resource, namespace)
        found = {record.key: record for record in self.scan(resource, namespace)}
        for event in reversed(later):
            if namespace and event.record.key.namespace != namespace:
                continue
            found.pop(event.record.key, None)
            if event.previous:
                found[event.record.key] = event.previous
        return iter([found[key] for key in sorted(found)])

    def ring(self, resource: str) -> Ring:
        """The changes of a resource, for watchers."""
        return self._history.ring(resource)

    def resources(self) -> Sequence[str]:
        """Names of the resources that have, or had, objects."""
        return list(self._shelves)

    @asynccontextmanager
    async def editing(self, key: Key) -> AsyncIterator[Record | None]:
        """The object there, which nobody else changes until the block ends."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            yield self.get(key)

    async def commit(self, change: Change, key: Key, obj: Obj, previous: Record | None) -> Record:
        """Store a change of an object that the caller is editing; the object gets its resourceVersion here.

        Raises:
            ApiError: 507 no space, 500 the file refused, 503 the server ends; nothing was stored.
        """
        if self._closing:
            raise errors.shutting_down()
        self._given += 1
        meta(obj)["resourceVersion"] = str(self._given)
        record = Record.of(key, self._given, encode(obj), obj)
        done: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._pending.append(_Pending(Event(change, record, previous), done))
        self._wake.set()
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait([done])  # the lock on the object must outlive the transaction
            raise

    async def _write(self) -> None:
        while not (self._closing and not self._pending):
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending, []
            try:
                if batch and not await self._try(batch) and len(batch) > 1:
                    for each in batch:  # one oversized object must not take its neighbours down
                        await self._try([each])
            except Exception as fault:  # noqa: BLE001
                # the outermost loop of this task: whoever waits must hear of it, and the next batch must be tried
                self._log.error("the store failed", trace=errors.trace(fault))
                self._refuse(batch, errors.storage_failed(str(self.path), type(fault).__name__))

    async def _try(self, batch: Sequence[_Pending]) -> bool:
        rows = [each.row() for each in batch]
        refusal: errors.ApiError | None = None
        self.trouble = ""
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._thread, self._database.commit, rows, self._history.oldest
            )
        except StoreFullError:
            refusal = errors.storage_full(str(self.path))
        except sqlite3.Error as error:
            refusal = errors.storage_failed(str(self.path), str(error))
        if refusal is None:
            self._publish(batch)
            return True
        if len(batch) == 1:
            self._refuse(batch, refusal)
        return False

    def _refuse(self, batch: Iterable[_Pending], refusal: errors.ApiError) -> None:
        self.trouble = refusal.message
        for each in batch:
            if not each.done.done():
                each.done.set_exception(refusal)

    def _publish(self, batch: Iterable[_Pending]) -> None:
        events = []
        for event, done in batch:
            record = event.record
            shelf = self._shelf(record.key.resource)
            if event.change is Change.DELETED:
                shelf.drop(record.key)
            else:
                shelf.put(record)
            self.version = record.version
            events.append(event)
            if not done.done():
                done.set_result(record)
        self._history.append(events)
        for event in events:
            for listener in self.listeners:
                listener(event)


def _event(row: Row) -> Event:
    record = Record.load(row.key, row.version, row.data)
    previous = Record.load(row.key, row.version, row.previous) if row.previous is not None else None
    return Event(Change(row.type), record, previous)
