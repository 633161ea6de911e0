"""Work queue: keys that want a look, each once, never two looks at the same key at a time."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

Key = str

FIRST_BACKOFF_S = 0.1
SLOWEST_BACKOFF_S = 15.0
NUDGE_S = 1.0


@dataclass(slots=True)
class Lane:
    """A share of the workers; a burst in one does not starve another."""

    name: str
    width: int
    active: int = 0


@dataclass(slots=True)
class WorkQueue:
    """Keys in order of arrival, lane by lane.

    A key that is added while it is looked at is looked at once more afterwards. Times are of the running loop, seconds.
    """

    lanes: dict[str, Lane]
    lane_of: Callable[[Key], str]
    _ready: dict[Key, float] = field(default_factory=dict)
    _active: set[Key] = field(default_factory=set)
    _again: set[Key] = field(default_factory=set)
    _later: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)
    _failures: dict[Key, int] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: Key) -> None:
        """Have `key` looked at as soon as a worker is free."""
        timer = self._later.pop(key, None)
        if timer:
            timer.cancel()
        if key in self._active:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = asyncio.get_running_loop().time()
            self._wake.set()

    def nudge(self, key: Key) -> None:
        """As add(), but slowly for a key whose looks fail: a failed try is news, which would cause the next."""
        if key in self._failures:
            self.add_after(key, NUDGE_S)
        else:
            self.add(key)

    def add_after(self, key: Key, delay_s: float) -> None:
        """Have `key` looked at in `delay_s` seconds, or earlier when something else wants it."""
        if delay_s <= 0:
            self.add(key)
            return
        if key in self._ready or key in self._again:
            return
        loop = asyncio.get_running_loop()
        timer = self._later.get(key)
        if timer and not timer.cancelled():
            if timer.when() <= loop.time() + delay_s:
                return
            timer.cancel()
        self._later[key] = loop.call_later(delay_s, self._due, key)

    def add_failed(self, key: Key) -> float:
        """Have `key` looked at again after a failure; answers the pause in seconds, longer each time, with jitter."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = min(FIRST_BACKOFF_S * 2.0 ** min(failures, 20), SLOWEST_BACKOFF_S)
        pause *= random.uniform(0.75, 1.25)  # noqa: S311  (spreads retries, guards nothing)
        self.add_after(key, pause)
        return pause

    def forget_failures(self, key: Key) -> None:
        """The look at `key` was good."""
        self._failures.pop(key, None)

    async def take(self) -> tuple[Key, str]:
        """The next key whose lane has room, and that lane; `done` must follow."""
        while True:
            for key in self._ready:
                lane = self.lanes[self.lane_of(key)]
                if lane.active < lane.width:
                    lane.active += 1
                    del self._ready[key]
                    self._active.add(key)
                    return key, lane.name
            self._wake.clear()
            await self._wake.wait()

    def done(self, key: Key, lane: str) -> None:
        """The look at `key` has ended; `lane` is the one that it was taken from."""
        self._active.discard(key)
        self.lanes[lane].active -= 1
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        self._wake.set()

    def depth(self) -> int:
        """Keys that wait."""
        return len(self._ready)

    def in_flight(self) -> int:
        """Keys that are looked at now."""
        return len(self._active)

    def oldest_s(self) -> float:
        """How long the first key has waited, seconds."""
        since = next(iter(self._ready.values()), None)
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    def close(self) -> None:
        """Forget all timers."""
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()

    def _due(self, key: Key) -> None:
        self._later.pop(key, None)
        self.add(key)
