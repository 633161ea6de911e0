"""Standard input as bytes, without blocking the event loop, whatever it is: terminal, pipe or file."""

import asyncio
import os
import select
import termios
import threading
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

CHUNK_BYTES = 4096


async def keys(descriptor: int) -> AsyncIterator[bytes]:
    """Bytes of a file descriptor as they come, until its end.

    A thread reads, because the event loop cannot watch regular files; a pipe wakes it when nobody listens any more.

    Args:
        descriptor: what to read.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    wake_read, wake_write = os.pipe()

    def read() -> None:
        data = b"-"
        while data:
            ready, _, _ = select.select([descriptor, wake_read], [], [])
            if wake_read in ready:
                return
            try:
                data = os.read(descriptor, CHUNK_BYTES)
            except OSError:
                data = b""
            loop.call_soon_threadsafe(queue.put_nowait, data)

    reader = threading.Thread(target=read, name="bmctl-keys")
    reader.start()
    try:
        while data := await queue.get():
            yield data
    finally:
        os.write(wake_write, b".")
        await loop.run_in_executor(None, reader.join)
        os.close(wake_read)
        os.close(wake_write)


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """A terminal that hands over every key as it is; put back at the end. Nothing for a pipe."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
