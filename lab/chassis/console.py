"""The serial console's hub: the one reader of the host's serial port, many viewers, one writer.

Output goes into a scroll-back ring and to every viewer's own bounded queue; a viewer that falls too far behind
is cut off, and neither the host nor the others wait for it.
"""

import asyncio
import contextlib
import itertools
import os
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from lab.chassis.config import ConsoleSection

log = structlog.get_logger()

READ_BYTES = 4096
TRIM_CHECK_BYTES = 64 * 1024  # look at the log's size once for so much output


class Ring:
    """The newest bytes of a stream."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def append(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        while self._size - len(self._chunks[0]) >= self._limit:
            self._size -= len(self._chunks.popleft())

    def content(self) -> bytes:
        return b"".join(self._chunks)[-self._limit :]


class Viewer:
    """One who looks at the console, and is told by ``ended`` why it has to stop.

    Args:
        name: for log lines and for the refusal that a second writer gets.
    """

    _numbers = itertools.count(1)

    def __init__(self, name: str, backlog_limit_bytes: int) -> None:
        self.name = f"{name}#{next(self._numbers)}"
        self._limit = backlog_limit_bytes
        self._waiting = bytearray()
        self._news = asyncio.Event()
        self.ended: str = ""
        self.taken_over = False

    def push(self, data: bytes) -> None:
        """Queue output; a viewer beyond its limit is ended instead."""
        if self.ended:
            return
        if len(self._waiting) + len(data) > self._limit:
            self.end(f"more than {self._limit} bytes behind")
            return
        self._waiting += data
        self._news.set()

    def end(self, reason: str) -> None:
        """Let the viewer's stream stop; what was queued is dropped."""
        self.ended = self.ended or reason
        self._waiting.clear()
        self._news.set()

    async def output(self) -> AsyncIterator[bytes]:
        """What there is to show, until the viewer is ended."""
        while not self.ended:
            await self._news.wait()
            self._news.clear()
            if self._waiting:
                data = bytes(self._waiting)
                self._waiting.clear()
                yield data


class ConsoleHub:
    """Joins the serial socket and the viewers.

    Args:
        socket_path: QEMU's serial socket; it takes one client, which is this hub.
        log_path: QEMU's own log of the port, from which a new hub fills its ring.
        bounds: of memory and of the log.
    """

    def __init__(self, socket_path: Path, log_path: Path, bounds: ConsoleSection) -> None:
        self._socket_path = socket_path
        self._log_path = log_path
        self._log_limit_bytes = max(bounds.log_limit_bytes, 2 * bounds.scrollback_bytes)
        self._read_since_trim = 0
        self._backlog_bytes = max(bounds.viewer_backlog_bytes, 2 * bounds.scrollback_bytes)
        self._ring = Ring(bounds.scrollback_bytes)
        self._viewers: set[Viewer] = set()
        self._writer: Viewer | None = None
        self._serial: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._fill(log_path, bounds.scrollback_bytes)

    def _fill(self, log_path: Path, limit: int) -> None:
        with contextlib.suppress(FileNotFoundError), log_path.open("rb") as file:
            file.seek(max(0, log_path.stat().st_size - limit))
            tail = file.read(limit)
            if tail:
                self._ring.append(tail)

    @property
    def viewers(self) -> int:
        """How many are looking."""
        return len(self._viewers)

    @property
    def writer_name(self) -> str:
        """Who may type; empty when nobody does."""
        return self._writer.name if self._writer else ""

    def power(self, *, is_on: bool) -> None:
        """Follow the host: connect at power-on; at power-off the socket ends by itself."""
        if is_on:
            if self._reading is not None:
                self._reading.cancel()  # it has not yet seen the end of the socket of the power-on before
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        serial: asyncio.StreamWriter | None = None
        try:
            reader, serial = await asyncio.open_unix_connection(str(self._socket_path))
            self._serial = serial
            while data := await reader.read(READ_BYTES):
                self._show(data)
                self._trim_log(len(data))
        except OSError as failure:
            log.warning("serial port lost", why=str(failure))
        finally:
            if self._serial is serial:
                self._serial = None
            if serial is not None:
                serial.close()

    def _trim_log(self, fresh_bytes: int) -> None:
        """Cut QEMU's log when it is too long; QEMU appends, so it goes on behind what we leave."""
        self._read_since_trim += fresh_bytes
        if self._read_since_trim < TRIM_CHECK_BYTES:
            return
        self._read_since_trim = 0
        with contextlib.suppress(FileNotFoundError):
            if self._log_path.stat().st_size > self._log_limit_bytes:
                os.truncate(self._log_path, 0)
                with self._log_path.open("ab") as file:
                    file.write(self._ring.content())

    def _show(self, data: bytes) -> None:
        self._ring.append(data)
        for viewer in list(self._viewers):
            viewer.push(data)
            if viewer.ended:
                log.warning("slow console viewer cut off", viewer=viewer.name)
                self.leave(viewer)

    def join(self, name: str) -> Viewer:
        """Add a viewer; its first output is the scroll-back."""
        viewer = Viewer(name, self._backlog_bytes)
        past = self._ring.content()
        if past:
            viewer.push(past)
        self._viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer; a writer gives up writing by it."""
        self._viewers.discard(viewer)
        if self._writer is viewer:
            self._writer = None

    def claim(self, viewer: Viewer, *, takeover: bool) -> bool:
        """Make a viewer the writer; False when there is another and it is not to be taken over."""
        if self._writer is not None and self._writer is not viewer:
            if not takeover:
                return False
            before = self._writer
            self._viewers.discard(before)
            before.taken_over = True
            before.end(f"the console was taken over by {viewer.name}")
        self._writer = viewer
        return True

    async def type(self, viewer: Viewer, data: bytes) -> bool:
        """Send input of the writer; False from anybody else. Input to a host that is off is lost, as on a wire."""
        if self._writer is not viewer:
            return False
        if self._serial is not None:
            self._serial.write(data)
            with contextlib.suppress(ConnectionError):
                await self._serial.drain()
        return True

    async def close(self) -> None:
        """End every viewer and the connection."""
        for viewer in list(self._viewers):
            viewer.end("the BMC stops")
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
