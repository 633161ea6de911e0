"""What changed, in order, for watchers: one ring per resource, bounded as a whole.

A watcher owns no queue; it is a cursor on the ring. One that is too slow finds that the ring has moved past
its cursor and is cut, so memory is bounded by the ring however many watchers there are.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from coordinator.api.objects import Key, Obj, decode, labels


class Change(Enum):
    """What happened to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Record:
    """An object as stored, with what lookups need beside its bytes."""

    key: Key
    version: int
    raw: bytes
    labels: dict[str, str]
    uid: str
    owners: tuple[str, ...]
    deleting: bool

    @classmethod
    def of(cls, key: Key, version: int, raw: bytes, obj: Obj) -> "Record":
        """The record of an object whose bytes are already made."""
        meta = obj.get("metadata", {})
        owners = tuple(str(owner.get("uid", "")) for owner in meta.get("ownerReferences") or ())
        return cls(key, version, raw, labels(obj), meta.get("uid", ""), owners, "deletionTimestamp" in meta)

    @classmethod
    def load(cls, key: Key, version: int, raw: bytes) -> "Record":
        """The record of stored bytes."""
        return cls.of(key, version, raw, decode(raw))

    def obj(self) -> Obj:
        """A fresh copy of the object, free to be changed."""
        found: Obj = decode(self.raw)
        return found


@dataclass(frozen=True, slots=True)
class Event:
    """One change; the frames sent to watchers are made once and shared."""

    change: Change
    record: Record
    previous: Record | None
    frames: dict[object, bytes] = field(default_factory=dict, compare=False)

    @property
    def version(self) -> int:
        """The resourceVersion of the change."""
        return self.record.version

    @property
    def size_bytes(self) -> int:
        """Memory that it holds, roughly."""
        return 600 + len(self.record.raw) + sum(map(len, self.frames.values()))

    def frame(self, form: object, make: Callable[[], bytes]) -> bytes:
        """The bytes of this event in one form, made at the first call."""
        found = self.frames.get(form)
        if found is None:
            found = self.frames[form] = make()
        return found


class Ring:
    """Changes of one resource, oldest first.

    Attributes:
        floor: events up to this version may have been forgotten; cursors below it are too old.
    """

    def __init__(self, floor: int) -> None:
        self.floor = floor
        self._versions: list[int] = []
        self._events: list[Event] = []
        self._start = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def append(self, event: Event) -> None:
        """Remember a change; its version is above all others."""
        self._versions.append(event.version)
        self._events.append(event)

    def forget_oldest(self) -> None:
        """Drop the oldest change and raise the floor to it."""
        self.floor = self._versions[self._start]
        self._start += 1
        if self._start > 256 and self._start * 2 > len(self._events):
            del self._events[: self._start], self._versions[: self._start]
            self._start = 0

    def after(self, version: int, most: int | None = None) -> list[Event]:
        """Changes above a version, oldest first; only complete when the version is not below the floor."""
        at = bisect_right(self._versions, version, self._start)
        return self._events[at : None if most is None else at + most]

    def wake(self) -> None:
        """Tell every waiting watcher to look."""
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self, version: int, timeout_s: float) -> bool:
        """Whether there is a change above a version, waiting for one at most so many seconds."""
        if self._versions and self._versions[-1] > version:
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True


@dataclass(frozen=True)
class Bounds:
    """How much history is kept.

    Attributes:
        events: changes of all resources together.
        bytes: memory of their objects, roughly; frames made for watchers are not counted again.
    """

    events: int = 10_000
    bytes: int = 64 << 20


class History:
    """The rings of all resources, and what bounds them together."""

    def __init__(self, bounds: Bounds, floor: int) -> None:
        self._bounds = bounds
        self._floor = floor
        self._rings: dict[str, Ring] = {}
        self._order: deque[tuple[int, str, int]] = deque()
        self._bytes = 0

    def ring(self, resource: str) -> Ring:
        """The changes of one resource."""
        found = self._rings.get(resource)
        if found is None:
            found = self._rings[resource] = Ring(self._floor)
        return found

    @property
    def oldest(self) -> int:
        """The oldest version that is remembered, or 0 when none is."""
        return self._order[0][0] if self._order else 0

    def append(self, events: Iterable[Event]) -> None:
        """Remember changes, forget what exceeds the bounds, then wake the watchers concerned."""
        touched = set()
        for event in events:
            resource = event.record.key.resource
            size = event.size_bytes
            self.ring(resource).append(event)
            self._order.append((event.version, resource, size))
            self._bytes += size
            touched.add(resource)
        while self._order and (len(self._order) > self._bounds.events or self._bytes > self._bounds.bytes):
            _, resource, size = self._order.popleft()
            self._bytes -= size
            self._rings[resource].forget_oldest()
        for resource in touched:
            self._rings[resource].wake()
