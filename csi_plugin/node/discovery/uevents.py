"""The kernel's announcements of new and changed devices. Source: netlink(7), NETLINK_KOBJECT_UEVENT."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

NETLINK_KOBJECT_UEVENT = 15
KERNEL_GROUP = 1
LONGEST_BYTES = 16 * 1024
LOOK_AGAIN_S = 1.0
"""Announcements may be lost, and a network namespace of its own may hear none."""


class Uevents:
    """Announcements heard since it was opened."""

    def __init__(self, listener: socket.socket | None) -> None:
        self._listener = listener

    async def next(self, timeout_s: float) -> None:
        """Come back at the next one, or when the time is over."""
        wait_s = max(0.0, min(timeout_s, LOOK_AGAIN_S))
        if self._listener is None:
            await asyncio.sleep(wait_s)
            return
        with contextlib.suppress(TimeoutError, OSError):  # an overrun says that there were many
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._listener, LONGEST_BYTES), wait_s)


@asynccontextmanager
async def listening() -> AsyncIterator[Uevents]:
    """Hear announcements; without the right to listen, only time passes."""
    try:
        listener = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT
        )
    except OSError:
        yield Uevents(None)
        return
    with listener:
        try:
            listener.bind((0, KERNEL_GROUP))
        except OSError:
            yield Uevents(None)
            return
        yield Uevents(listener)


def seconds_left(deadline: float) -> float:
    """Until a moment of the loop's clock."""
    return deadline - asyncio.get_running_loop().time()
