"""Just enough of an NBD client to look at a server: does it greet, does it offer an export, does a read pass.

Source: the NBD protocol document, fixed newstyle negotiation, simple replies.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from proto.errors import DpuError
from proto.reasons import Reason

GREETING = b"NBDMAGICIHAVEOPT"
OPTION_REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
CLIENT_FLAGS = 0b11
"""Fixed newstyle, no zeroes."""

INFO_EXPORT = 0
FIRST_ERROR = 1 << 31
TLS_REQUIRED = FIRST_ERROR + 5
LONGEST_REPLY_BYTES = 64 * 1024
SECTOR_BYTES = 512


class _Option(IntEnum):
    ABORT = 2
    INFO = 6
    GO = 7


class _Reply(IntEnum):
    ACK = 1
    INFO = 3


class _Command(IntEnum):
    READ = 0
    DISCONNECT = 2
    FLUSH = 3


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """An NBD server on a Unix socket."""

    path: str

    def to_qmp(self) -> dict[str, Any]:
        return {"type": "unix", "data": {"path": self.path}}

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An NBD server on TCP."""

    host: str
    port: int

    def to_qmp(self) -> dict[str, Any]:
        return {"type": "inet", "data": {"host": self.host, "port": str(self.port)}}

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Address = UnixAddress | TcpAddress


async def greets(address: Address, *, timeout_s: float) -> bool:
    """Whether an NBD server answers there."""
    try:
        async with asyncio.timeout(timeout_s), _connect(address) as (reader, writer):
            await _leave(reader, writer)
            return True
    except (OSError, EOFError, TimeoutError):
        return False


async def demands_tls(address: Address, *, timeout_s: float) -> bool:
    """Whether a server that answers there talks of its exports over TLS alone."""
    try:
        async with asyncio.timeout(timeout_s), _connect(address) as (reader, writer):
            _ask(writer, _Option.INFO, "")
            _, _, kind, length = struct.unpack(">QIII", await reader.readexactly(20))
            await reader.readexactly(min(length, LONGEST_REPLY_BYTES))
            if kind == TLS_REQUIRED:
                await _leave(reader, writer)
            return int(kind) == TLS_REQUIRED
    except (OSError, EOFError, TimeoutError):
        return False


async def inquire(address: Address, export: str, *, timeout_s: float) -> int:
    """Size in bytes of an export, without opening it.

    Raises:
        DpuError: UNAVAILABLE when no NBD server answers, or it has no such export (yet).
    """
    try:
        async with asyncio.timeout(timeout_s), _connect(address) as (reader, writer):
            size_bytes = await _negotiate(reader, writer, _Option.INFO, export)
            await _leave(reader, writer)
            return size_bytes
    except (OSError, EOFError, TimeoutError) as error:
        message = f"no NBD server answers at {address}: {str(error) or type(error).__name__}"
        remedy = "look whether the storage node is up and reachable from here"
        raise DpuError(Reason.UNAVAILABLE, message, remedy=remedy) from error


async def touch(address: Address, export: str, *, timeout_s: float, flush: bool = False) -> bool:
    """Reads the first sector: a request that makes a source which was cut off reconnect; False when the read fails.

    With `flush` it flushes instead, which is all that closing a source does: where a flush passes, or fails at once,
    closing does not wait either. A fenced name fails flushes, but of reads QEMU's server only ends the connection.

    Raises:
        DpuError: UNAVAILABLE when there is no answer in time.
    """
    try:
        async with asyncio.timeout(timeout_s), _connect(address) as (reader, writer):
            await _negotiate(reader, writer, _Option.GO, export)
            command, length = (_Command.FLUSH, 0) if flush else (_Command.READ, SECTOR_BYTES)
            writer.write(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, command, 1, 0, length))
            magic, failed, _ = struct.unpack(">IIQ", await reader.readexactly(16))
            if magic != SIMPLE_REPLY_MAGIC:
                raise ConnectionError("the NBD server's answer makes no sense")
            if not failed:
                await reader.readexactly(length)
            writer.write(struct.pack(">IHHQQI", REQUEST_MAGIC, 0, _Command.DISCONNECT, 2, 0, 0))
            return not failed
    except (OSError, EOFError, TimeoutError) as error:
        message = f"export {export} does not answer: {str(error) or type(error).__name__}"
        remedy = "look whether its storage node is up; the disk reconnects by itself"
        raise DpuError(Reason.UNAVAILABLE, message, remedy=remedy) from error


@contextlib.asynccontextmanager
async def _connect(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    if isinstance(address, UnixAddress):
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        if await reader.readexactly(16) != GREETING:
            raise ConnectionError("another protocol is spoken there")
        await reader.readexactly(2)
        writer.write(struct.pack(">I", CLIENT_FLAGS))
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ends the negotiation as the protocol wants it; a server complains in its log of clients that just go."""
    writer.write(b"IHAVEOPT" + struct.pack(">II", _Option.ABORT, 0))
    await reader.read()


async def _negotiate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, option: _Option, export: str) -> int:
    _ask(writer, option, export)
    size_bytes = 0
    while True:
        magic, _, kind, length = struct.unpack(">QIII", await reader.readexactly(20))
        if magic != OPTION_REPLY_MAGIC or length > LONGEST_REPLY_BYTES:
            raise ConnectionError("the NBD server's answer makes no sense")
        data = await reader.readexactly(length)
        if kind == _Reply.ACK:
            return size_bytes
        if kind == _Reply.INFO and len(data) >= 10 and struct.unpack_from(">H", data)[0] == INFO_EXPORT:
            size_bytes = int(struct.unpack_from(">Q", data, 2)[0])
        elif kind >= FIRST_ERROR:
            message = f"the NBD server does not offer export {export}"
            remedy = "export the volume for this attachment's generation"
            raise DpuError(Reason.UNAVAILABLE, message, field="source.export", remedy=remedy)


def _ask(writer: asyncio.StreamWriter, option: _Option, export: str) -> None:
    name = export.encode()
    body = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
    writer.write(b"IHAVEOPT" + struct.pack(">II", option, len(body)) + body)
