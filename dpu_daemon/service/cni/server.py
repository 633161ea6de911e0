"""The CNI socket: connections, who calls, and when the runtime gives up."""

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path

import structlog

from dpu_daemon.engine.cni_node import stopping
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.service.cni.calls import Caller, CniCalls
from dpu_daemon.service.cni.faults import CniError, from_error, to_output
from dpu_daemon.service.cni.frame import FrameError, answer, read_call
from dpu_daemon.service.cni.netconf import NEWEST, asked_version
from proto.errors import DpuError
from proto.reasons import Reason
from proto.unix_socket import clear_stale

READ_S = 10.0
"""For a call to arrive whole; the plug-in has it in memory before it connects."""
WRITE_S = 5.0
ANSWER_S = 0.5
"""For answers to calls that have ended when the daemon's time to stop is over."""
LOOK_S = 5.0
"""Between two looks whether the socket is still there: without it every call fails, and nobody restarts us."""
FIELD = "cni.socket"
BACKLOG = 1024
"""A node that starts hundreds of pods at once must not turn plug-ins away."""
_CREDENTIALS = struct.Struct("=3i")

_log = structlog.get_logger("dpu_daemon.cni")


class CniServer:
    """Serves calls on a Unix socket.

    Args:
        calls: what serves them.
        path: of the socket; mode 0600.
        look_s: between two looks at it.
    """

    def __init__(self, calls: CniCalls, path: Path, look_s: float = LOOK_S) -> None:
        self._calls = calls
        self._path = path
        self._look_s = look_s
        self._watching: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._inode = 0

    async def start(self) -> None:
        """Listen; a socket that a killed daemon has left is replaced, and one that is taken away made again.

        Raises:
            DpuError: IN_USE when another process serves it, WRONG_STATE when something else is there, UNAVAILABLE
                when the path cannot be had.
        """
        await self._listen()
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="watch the CNI socket")

    async def _watch(self) -> None:
        trouble = ""
        while True:
            await asyncio.sleep(self._look_s)
            if self._is_taken():
                continue
            before = self._server
            try:
                await self._listen()
            except DpuError as error:
                if str(error) != trouble:
                    _log.warning(f"the socket is missing: {error}")
                trouble = str(error)
                continue
            trouble = ""
            _log.warning(f"{self._path} was taken away, and is made again")
            if before is not None:
                before.close()

    def _is_taken(self) -> bool:
        """Whether anything is at the path, a stranger's included: that is not ours to remove."""
        return os.path.lexists(self._path)

    async def _listen(self) -> None:
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            clear_stale(self._path, FIELD)
            fresh.unlink(missing_ok=True)
            listener.bind(str(fresh))
            fresh.chmod(0o600)
            listener.listen(BACKLOG)
            self._inode = fresh.stat().st_ino
            fresh.replace(self._path)
        except DpuError:
            listener.close()
            raise
        except OSError as error:
            listener.close()
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            message = f"cannot listen on {self._path}: {error}"
            remedy = "make its directory writable, and its path shorter than 100 characters"
            raise DpuError(Reason.UNAVAILABLE, message, field=FIELD, remedy=remedy) from error
        self._server = await asyncio.start_unix_server(self._connected, sock=listener, backlog=BACKLOG)

    async def stop(self, drain_s: float) -> None:
        """Take no new calls, and end those that are running, each with an answer; nothing is left half done.

        The socket goes, unless another has its path by now.
        """
        if self._server is None or self._watching is None:
            return
        self._watching.cancel()
        self._server.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        until = Deadline.after(drain_s)
        await self._calls.stop(drain_s)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=max(until.left_s(), ANSWER_S))
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=WRITE_S)
        await asyncio.wait({self._watching})

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, TimeoutError) as error:
            _log.info(f"a connection ended without a call: {error!r}")
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid, uid = _peer(writer)
        if uid not in {0, os.geteuid()}:
            message = f"user {uid} may not change the network of this node"
            error = DpuError(Reason.FORBIDDEN, message, remedy="run the container runtime as root")
            _log.warning(f"a call was refused: {message}", pid=pid)
            await _say(writer, 1, to_output(from_error(error), NEWEST))
            return
        try:
            async with asyncio.timeout(READ_S):
                call = await read_call(reader)
        except FrameError as error:
            _log.warning(f"a call was refused: {error}", pid=pid)
            await _say(writer, 1, to_output(_foreign(error), NEWEST))
            return
        gone = asyncio.Event()
        watching = asyncio.ensure_future(_until_gone(reader, gone))
        try:
            status, output = await self._calls.serve(call, Caller(pid, gone))
        except asyncio.CancelledError:
            await _say(writer, 1, to_output(from_error(stopping()), asked_version(call.config)))
            raise
        else:
            await _say(writer, status, output)
        finally:
            watching.cancel()
            await asyncio.wait({watching})


def _peer(writer: asyncio.StreamWriter) -> tuple[int, int]:
    """Process and user at the other end, by the kernel's word."""
    end = writer.get_extra_info("socket")
    found = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(found)
    return int(pid), int(uid)


async def _until_gone(reader: asyncio.StreamReader, gone: asyncio.Event) -> None:
    """A plug-in says nothing after its call, so whatever comes is its end."""
    with contextlib.suppress(OSError):
        await reader.read(1)
    gone.set()


async def _say(writer: asyncio.StreamWriter, status: int, output: bytes) -> None:
    """Answer; nobody there any more is no news: the runtime's DEL follows."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(WRITE_S):
            writer.write(answer(status, output))
            await writer.drain()


def _foreign(error: FrameError) -> CniError:
    remedy = "install dpu-cni and dpu-daemon of one version"
    return from_error(DpuError(Reason.INTERNAL, str(error), remedy=remedy))
