"""Lanes: how many operations of a kind run at once, and how long the others have been waiting."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum


class LaneName(Enum):
    """What runs where: taking away never waits behind putting up, nor a caller behind repair."""

    PUT_UP = "put_up"
    TAKE_AWAY = "take_away"
    REPAIR = "repair"
    POD = "pod"


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """A lane at one moment."""

    queued: int
    in_flight: int
    oldest_wait_s: float


class Lane:
    """A bound on operations at once.

    Args:
        width: how many.
        clock: monotonic seconds.
    """

    def __init__(self, width: int, clock: Callable[[], float]) -> None:
        self._free = asyncio.Semaphore(width)
        self._clock = clock
        self._waiting: OrderedDict[int, float] = OrderedDict()
        self._tickets = 0
        self._in_flight = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it; what is waited for before (a lock) counts when begun with `queued`."""
        with_ticket = self._enter()
        try:
            await self._free.acquire()
        finally:
            self._waiting.pop(with_ticket, None)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._free.release()

    def _enter(self) -> int:
        self._tickets += 1
        self._waiting[self._tickets] = self._clock()
        return self._tickets

    @asynccontextmanager
    async def queued(self, lock: asyncio.Lock) -> AsyncIterator[None]:
        """Hold a lock, counted as queued in this lane while waiting for it."""
        ticket = self._enter()
        try:
            await lock.acquire()
        finally:
            self._waiting.pop(ticket, None)
        try:
            yield
        finally:
            lock.release()

    def load(self) -> LaneLoad:
        """What is queued and running now."""
        oldest = next(iter(self._waiting.values()), None)
        wait = 0.0 if oldest is None else self._clock() - oldest
        return LaneLoad(len(self._waiting), self._in_flight, wait)


class KeyedLocks:
    """One lock per key, made when first wanted and forgotten when nobody holds or awaits it."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def lent(self, key: Hashable) -> AsyncIterator[asyncio.Lock]:
        """The key's lock, not yet taken."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            yield lock
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)

    def held(self, key: Hashable) -> bool:
        """Whether somebody works under this key now."""
        return key in self._locks and self._locks[key][0].locked()
