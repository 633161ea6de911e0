"""One look for all who want one: a look lists everything, and a hundred objects that converge together share it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class Sight(Generic[S]):
    """Shares looks; nobody gets one that began before it was asked for.

    Args:
        source: takes a look.
    """

    def __init__(self, source: Callable[[], Awaitable[S]]) -> None:
        self._source = source
        self._running: asyncio.Task[S] | None = None
        self._next: asyncio.Task[S] | None = None

    async def look(self) -> S:
        """What is there now, or was a moment after the call."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._after(self._running))
            self._next.add_done_callback(_seen)
        return await asyncio.shield(self._next)

    async def _after(self, running: asyncio.Task[S] | None) -> S:
        if running is not None:
            await asyncio.wait({running})
        else:
            await asyncio.sleep(0)
        self._running, self._next = asyncio.current_task(), None
        try:
            return await self._source()
        finally:
            if self._running is asyncio.current_task():
                self._running = None


def _seen(task: asyncio.Task[Any]) -> None:
    """A look that nobody waits for any more leaves no warning behind."""
    if not task.cancelled():
        task.exception()
