"""Keeps one connection to another process: dials, waits for its end, tells, dials again, for ever."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import structlog

from proto.errors import DpuError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.05
"""A restarted daemon is back in some 15 ms; the first tries may be quick."""

LONGEST_PAUSE_S = 1.0
"""A connect to a missing Unix socket costs nothing, so waiting longer only delays recovery."""

DIAL_TIMEOUT_S = 3.0
"""A frozen process accepts by its backlog and then says nothing."""


class Connection(Protocol):
    """One open connection."""

    async def closed(self) -> str:
        """Waits for the end and returns why, as a clause."""
        ...

    async def close(self) -> None:
        """Ends it; never raises."""
        ...


C = TypeVar("C", bound=Connection)


class Keeper(Generic[C]):
    """Owner of at most one open connection.

    Args:
        peer: what is on the other side, for sentences.
        remedy: what a reader can do when it is not there.
        dial: opens a connection; raises OSError, EOFError, TimeoutError or DpuError.
        count: called with the peer for each connection that was open and has ended.
        dial_timeout_s: for one try.
    """

    def __init__(
        self,
        peer: str,
        remedy: str,
        dial: Callable[[], Awaitable[C]],
        *,
        count: Callable[[str], None] = lambda _peer: None,
        dial_timeout_s: float = DIAL_TIMEOUT_S,
    ) -> None:
        self._peer = peer
        self._remedy = remedy
        self._dial = dial
        self._count = count
        self._dial_timeout_s = dial_timeout_s
        self._open: C | None = None
        self._why = "not connected yet"
        self._task: asyncio.Task[None] | None = None

    def connection(self) -> C:
        """The open connection.

        Raises:
            DpuError: UNAVAILABLE while there is none.
        """
        if self._open is None:
            raise DpuError(Reason.UNAVAILABLE, f"{self._peer} is not reachable: {self._why}", remedy=self._remedy)
        return self._open

    async def start(self, lost: Callable[[str], None]) -> None:
        """Tries once, then keeps trying in the background; `lost` hears of each later end and return."""
        if self._task is not None:
            raise DpuError(Reason.WRONG_STATE, f"the driver of {self._peer} is started already")
        await self._try()
        self._task = asyncio.create_task(self._keep(lost), name=f"keep {self._peer}")

    async def stop(self) -> None:
        """Closes the connection and forgets it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._drop("the driver is stopped")

    async def _keep(self, lost: Callable[[str], None]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if self._open is not None:
                    await self._watch(self._open, lost)
                    pause_s = FIRST_PAUSE_S
                if await self._try():
                    LOG.info("connected", peer=self._peer)
                    lost(f"{self._peer} is reachable again")
                    continue
            except Exception:  # outermost loop of this task: without it there would never be a connection again
                LOG.exception("connection handling failed", peer=self._peer)
                await self._drop("handling it failed")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _watch(self, connection: C, lost: Callable[[str], None]) -> None:
        why = await connection.closed()
        await self._drop(why)
        self._count(self._peer)
        LOG.warning("connection lost", peer=self._peer, why=why)
        lost(f"{self._peer} went away: {why}")

    async def _try(self) -> bool:
        try:
            async with asyncio.timeout(self._dial_timeout_s):
                self._open = await self._dial()
        except (OSError, EOFError, TimeoutError, DpuError) as error:
            self._why = str(error) or type(error).__name__
            return False
        return True

    async def _drop(self, why: str) -> None:
        gone, self._open, self._why = self._open, None, why
        if gone is not None:
            await gone.close()
