import asyncio
import inspect
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return when a condition holds; TimeoutError after half a minute."""
    async with asyncio.timeout(30):
        while True:
            answer = condition()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.01)  # any state may be asked for, not all have an event
