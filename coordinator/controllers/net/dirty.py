"""Owners of rows that want a look, each once, with how long the oldest has waited."""

import asyncio
from collections.abc import Iterable

from coordinator.core.net.store import Owner


class DirtyOwners:
    """Owners in order of arrival."""

    def __init__(self) -> None:
        self._since: dict[Owner, float] = {}
        self.wake = asyncio.Event()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._since)

    def add(self, owners: Iterable[Owner]) -> None:
        """Have owners looked at."""
        now = asyncio.get_running_loop().time()
        for owner in owners:
            self._since.setdefault(owner, now)
        if self._since:
            self.wake.set()

    def take(self) -> dict[Owner, float]:
        """All that wait, each with the loop's time of its arrival."""
        taken, self._since = self._since, {}
        return taken

    def oldest_s(self) -> float:
        """How long the first has waited, seconds."""
        since = next(iter(self._since.values()), None)
        return 0.0 if since is None else asyncio.get_running_loop().time() - since
