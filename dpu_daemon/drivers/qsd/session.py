"""One QMP session with qemu-storage-daemon: the only owner of its socket, which serves one client at a time."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import structlog
from qemu.qmp import EventListener, ExecInterruptedError, ExecuteError, QMPClient, QMPError, Runstate, StateError

from dpu_daemon.drivers.keeper import Keeper
from proto.errors import DpuError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

PEER = "qemu-storage-daemon"
REMEDY = "look whether it runs and whether its QMP socket is where the configuration says"

COMMAND_TIMEOUT_S = 15.0
"""Longer than the 5 s that opening an NBD node may take while the daemon's main loop waits."""

CLOSE_TIMEOUT_S = 2.0
RELOOK_S = 0.5
"""An event may be missed between two looks; look again this often even without one."""


class RefusedError(DpuError):
    """The daemon refused a command; nearly all refusals are of one class, so callers look instead of reading `desc`."""

    def __init__(self, command: str, desc: str) -> None:
        super().__init__(Reason.INTERNAL, f"{PEER} refused {command}: {desc}", remedy="see the log of " + PEER)
        self.desc = desc


class _QmpConnection:
    """An open client; a keeper.Connection. The client must be told once, and by one task, that it is over."""

    def __init__(self, client: QMPClient, wire: socket.socket) -> None:
        self.client = client
        self._wire = wire
        self._ending = asyncio.Lock()
        self._why = ""

    def abort(self) -> None:
        """Cuts the wire; the client then finds its end in the usual way."""
        with contextlib.suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)

    async def closed(self) -> str:
        while self.client.runstate == Runstate.RUNNING:
            await self.client.runstate_changed()
        await self._end()
        return self._why

    async def close(self) -> None:
        self.abort()
        await self._end()

    async def _end(self) -> None:
        async with self._ending:
            if self._why:
                return
            self._why = "the connection ended"
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.client.disconnect()
            except (OSError, EOFError, QMPError, TimeoutError) as error:
                self._why = str(error) or type(error).__name__


class QmpSession:
    """Commands and events of one daemon, across its restarts.

    Args:
        path: of the QMP Unix socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._keeper: Keeper[_QmpConnection] = Keeper(PEER, REMEDY, self._dial)
        self._version = ""
        self._peer = 0

    async def start(self, lost: Callable[[str], None]) -> None:
        await self._keeper.start(lost)

    async def stop(self) -> None:
        await self._keeper.stop()

    def version(self) -> str:
        """``qsd 10.0.2``, or empty before the first contact."""
        return self._version

    def peer(self) -> int:
        """Process id of the daemon that was spoken to last; 0 before the first contact."""
        return self._peer

    async def execute(
        self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> Any:
        """Runs one command.

        Raises:
            RefusedError: the daemon said no.
            DpuError: UNAVAILABLE, without contact, when the connection ended, or when the deadline passed.
        """
        connection = self._keeper.connection()
        try:
            async with asyncio.timeout(timeout_s):
                return await connection.client.execute(command, arguments)
        except ExecuteError as error:
            raise RefusedError(command, str(error)) from error
        except (ExecInterruptedError, StateError) as error:
            raise DpuError(Reason.UNAVAILABLE, f"{PEER} went away during {command}", remedy=REMEDY) from error
        except TimeoutError as error:
            # Closing makes the daemon drop what it has not begun, so a late command cannot surprise a later one.
            connection.abort()
            sentence = f"{PEER} did not answer {command} within {timeout_s:g} s"
            raise DpuError(Reason.UNAVAILABLE, sentence, remedy=REMEDY) from error

    async def wait_until(
        self, done: Callable[[], Awaitable[bool]], *, event: str, timeout_s: float, waited_for: str
    ) -> None:
        """Looks at each event of this kind, and now and then, until `done`.

        Raises:
            DpuError: UNAVAILABLE at the deadline; `waited_for` completes the sentence "gave up waiting for ...".
        """
        try:
            async with asyncio.timeout(timeout_s), self._listen(event) as events:
                while not await done():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(events.get(), RELOOK_S)
        except TimeoutError as error:
            sentence = f"gave up waiting {timeout_s:g} s for {waited_for}"
            raise DpuError(Reason.UNAVAILABLE, sentence, remedy="the call may be repeated") from error

    @contextlib.asynccontextmanager
    async def _listen(self, event: str) -> AsyncIterator[EventListener]:
        with self._keeper.connection().client.listener(event) as listener:
            yield listener

    async def _dial(self) -> _QmpConnection:
        client = QMPClient("qsd")
        # The client's own listener keeps each event for ever when nobody reads it.
        client.events.event_filter = lambda _: False
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            await asyncio.get_running_loop().sock_connect(wire, self._path)
            await client.connect(wire)
        except QMPError as error:
            wire.close()
            raise ConnectionError(str(error)) from error
        except BaseException:
            wire.close()
            raise
        credentials = wire.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self._peer = struct.unpack("3i", credentials)[0]
        if client.greeting is not None:
            number: Any = client.greeting.QMP.version["qemu"]
            self._version = f"qsd {number['major']}.{number['minor']}.{number['micro']}"
        return _QmpConnection(client, wire)
