"""A node daemon that plays a script: written from docs/cni.md, not from the plug-in's code."""

import asyncio
import contextlib
import os
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

HEAD = struct.Struct(">8sIII")
ANSWER = struct.Struct(">8sII")
MAGIC = b"dpucni1\n"
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Call:
    """What arrived."""

    left_ms: int
    environment: dict[bytes, bytes]
    config: bytes


@dataclass(frozen=True)
class Said:
    """What a plug-in process left behind."""

    status: int
    stdout: bytes
    stderr: bytes


def answer(output: bytes = b"", status: int = 0) -> bytes:
    return ANSWER.pack(MAGIC, status, len(output)) + output


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FakeDaemon:
    """Listens, keeps calls, and answers them all alike."""

    socket: Path
    answer: bytes = field(default_factory=answer)
    calls: list[Call] = field(default_factory=list)
    gave_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls.append(await read_call(reader))
        writer.write(self.answer)
        await writer.drain()
        writer.close()

    async def be_silent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the call, and wait for the plug-in to go."""
        self.calls.append(await read_call(reader))
        assert await reader.read() == b""
        self.gave_up.set()
        writer.close()


async def read_call(reader: asyncio.StreamReader) -> Call:
    magic, left_ms, names, config = HEAD.unpack(await reader.readexactly(HEAD.size))
    assert magic == MAGIC
    pairs = (await reader.readexactly(names)).split(b"\0")
    assert pairs.pop() == b""
    environment = dict(pair.split(b"=", 1) for pair in pairs)
    return Call(left_ms, environment, await reader.readexactly(config))


@contextlib.asynccontextmanager
async def listening(daemon: FakeDaemon, serve: Serve | None = None) -> AsyncIterator[FakeDaemon]:
    server = await asyncio.start_unix_server(serve or daemon.serve, daemon.socket)
    try:
        yield daemon
    finally:
        server.close()
        await server.wait_closed()


def call_environment(verb: str, socket: Path) -> dict[str, str]:
    """As containerd gives it."""
    return {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": "c0ffee",
        "CNI_NETNS": "/run/netns/cni-1",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web",
        "CNI_PATH": "/opt/cni/bin",
        "DPUPOOL_CNI_SOCKET": str(socket),
    }


async def run(
    executable: Path, environment: dict[str, str] | dict[bytes, bytes], config: bytes | None = b'{"cniVersion":"1.0.0"}'
) -> Said:
    """Start the plug-in with a file as standard input; without a config, it stays open and silent."""
    stdin, ends = _standard_input(config)
    try:
        process = await asyncio.create_subprocess_exec(
            executable,
            env=environment,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await process.communicate()
    finally:
        for end in ends:
            os.close(end)
    assert process.returncode is not None
    return Said(process.returncode, stdout, stderr)


def _standard_input(config: bytes | None) -> tuple[int, tuple[int, ...]]:
    """The end to read from, and all to close: a file, which a busy test cannot be late to fill, or a silent pipe."""
    if config is None:
        reading, writing = os.pipe()
        return reading, (reading, writing)
    file = os.memfd_create("config")
    os.write(file, config)
    os.lseek(file, 0, os.SEEK_SET)
    return file, (file,)


async def built(target: Path) -> Path:
    """The executable as the packages have it."""
    process = await asyncio.create_subprocess_exec(sys.executable, ROOT / "packaging" / "cni" / "bundle.py", target)
    assert await process.wait() == 0
    return target
