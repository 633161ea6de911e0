"""Deadlines: moments on the event loop's clock after which nobody waits any more."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment; made by `Deadline.after`."""

    at: float

    @staticmethod
    def after(seconds: float) -> "Deadline":
        """A deadline so many seconds from now."""
        return Deadline(asyncio.get_running_loop().time() + seconds)

    def left_s(self) -> float:
        """Seconds until then; never negative."""
        return max(0.0, self.at - asyncio.get_running_loop().time())


async def within(seconds: float, work: Awaitable[T], what: str) -> T:
    """The result of the work.

    Raises:
        DpuError: DEADLINE when it took longer; the work is cancelled. Otherwise whatever the work raises.
    """
    timeout = asyncio.timeout(seconds)
    try:
        async with timeout:
            return await work
    except TimeoutError as error:
        if not timeout.expired():
            raise
        message = f"{what}: no answer within {seconds:g} s"
        raise DpuError(Reason.DEADLINE, message, remedy="see whether the driver's other side is healthy") from error
