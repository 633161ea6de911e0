"""Calls that do not wait for each other, sent in one go."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def together(*calls: Awaitable[Any]) -> list[Any]:
    """The results in order. All calls are sent at once and in this order, and all have ended when this returns.

    Raises:
        DpuError: of the first call that failed.
    """
    ended = await asyncio.gather(*calls, return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
    return list(ended)
