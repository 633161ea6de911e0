"""How long a call may take: as long as its caller waits, less the time for an answer that says why."""

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc

LONGEST_S = 60.0
"""For callers that name no deadline."""
ANSWER_S = 0.25
ANSWER_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a call, in the running loop's time."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """So many seconds from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    @classmethod
    def of(cls, context: "grpc.aio.ServicerContext[Any, Any]") -> "Deadline":
        """When to answer a caller, just before it gives up."""
        seconds = longest_s(context)
        return cls.after(seconds - min(ANSWER_S, seconds * ANSWER_SHARE))

    async def wait(self, event: asyncio.Event) -> bool:
        """Wait for an event; False when the time is over first."""
        try:
            async with asyncio.timeout_at(self.at):
                await event.wait()
        except TimeoutError:
            return False
        return True


def longest_s(context: "grpc.aio.ServicerContext[Any, Any]") -> float:
    """Seconds that a call may take at all."""
    left = context.time_remaining()
    return LONGEST_S if left is None else min(left, LONGEST_S)
