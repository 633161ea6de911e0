"""The small NBD client against servers that are written out by hand."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dpu_daemon.drivers.qsd.nbd import TcpAddress, UnixAddress, greets, inquire, touch
from proto.errors import DpuError
from proto.reasons import Reason

REPLY = 0x0003E889045565A9
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _served(path: Path, talk: Talk) -> asyncio.Server:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    return await asyncio.start_unix_server(handle, path)


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
    """Greets and reads one option."""
    writer.write(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    await reader.readexactly(4)
    _, option, length = struct.unpack(">QII", await reader.readexactly(16))
    return option, await reader.readexactly(length)


def _told(option: int, kind: int, data: bytes = b"") -> bytes:
    return struct.pack(">QIII", REPLY, option, kind, len(data)) + data


async def _good(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, error: int = 0) -> None:
    option, body = await _greet(reader, writer)
    if option == 2:
        writer.write(_told(option, 1))
        return
    assert body == struct.pack(">I", 2) + b"d1" + struct.pack(">H", 0)
    writer.write(_told(option, 3, struct.pack(">HQH", 0, 8 << 20, 1)) + _told(option, 1))
    if option == 6:
        await reader.readexactly(16)
        return
    magic, _, kind, handle, offset, length = struct.unpack(">IHHQQI", await reader.readexactly(28))
    assert (magic, kind, offset, length) == (0x25609513, 0, 0, 512)
    writer.write(struct.pack(">IIQ", 0x67446698, error, handle) + (b"" if error else bytes(512)))
    await reader.readexactly(28)


async def test_a_good_server_greets_tells_sizes_and_reads(short_dir: Path) -> None:
    address = UnixAddress(str(short_dir / "nbd"))
    async with await _served(short_dir / "nbd", _good):
        assert await greets(address, timeout_s=5)
        assert await inquire(address, "d1", timeout_s=5) == 8 << 20
        assert await touch(address, "d1", timeout_s=5)


async def test_a_failed_read_is_told_apart_from_silence(short_dir: Path) -> None:
    async def failing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _good(reader, writer, error=5)

    async with await _served(short_dir / "nbd", failing):
        assert not await touch(UnixAddress(str(short_dir / "nbd")), "d1", timeout_s=5)


async def _unknown(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    option, _ = await _greet(reader, writer)
    writer.write(_told(option, (1 << 31) + 6, b"no such export"))
    await reader.read()


async def _stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    await reader.read()


async def _silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _greet(reader, writer)
    writer.write(bytes(20))
    await reader.read()


async def _hanging_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


@pytest.mark.parametrize("talk", [_unknown, _stranger, _silent, _broken, _hanging_up])
async def test_whatever_else_answers_is_unavailable(short_dir: Path, talk: Talk) -> None:
    address = UnixAddress(str(short_dir / "nbd"))
    async with await _served(short_dir / "nbd", talk):
        for call in (inquire(address, "d1", timeout_s=0.2), touch(address, "d1", timeout_s=0.2)):
            with pytest.raises(DpuError) as refused:
                await call
            assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)


@pytest.mark.parametrize("talk", [_stranger, _silent, _hanging_up])
async def test_who_does_not_greet_is_no_server(short_dir: Path, talk: Talk) -> None:
    async with await _served(short_dir / "nbd", talk):
        assert not await greets(UnixAddress(str(short_dir / "nbd")), timeout_s=0.2)


async def test_nobody_there_is_no_server(short_dir: Path) -> None:
    (short_dir / "stale").touch()
    assert not await greets(UnixAddress(str(short_dir / "stale")), timeout_s=1)
    assert not await greets(UnixAddress(str(short_dir / "none")), timeout_s=1)


def test_addresses_are_said_as_qmp_wants_them() -> None:
    assert TcpAddress("127.0.0.1", 10809).to_qmp() == {"type": "inet", "data": {"host": "127.0.0.1", "port": "10809"}}
    assert UnixAddress("/run/x").to_qmp() == {"type": "unix", "data": {"path": "/run/x"}}
    assert (str(TcpAddress("h", 1)), str(UnixAddress("/run/x"))) == ("h:1", "/run/x")
