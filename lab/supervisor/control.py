"""The supervisor's control socket: one JSON request per line, one JSON answer per line."""

import asyncio
import contextlib
import enum
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from lab.supervisor.unit import UnitStatus
from proto.errors import DpuError
from proto.reasons import Reason

LINE_LIMIT_BYTES = 1024 * 1024


class Verb(enum.Enum):
    """What can be asked."""

    STATUS = "status"
    READY = "ready"  # answers when every unit is ready, or at the deadline with what is not
    SIGNAL = "signal"
    RESTART = "restart"
    STOP = "stop"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One question.

    Attributes:
        unit: for SIGNAL and RESTART.
        number: signal number for SIGNAL.
        timeout_s: for READY.
    """

    verb: Verb
    unit: str = ""
    number: int = 0
    timeout_s: float = 0.0


class Answer(msgspec.Struct, frozen=True):
    """One answer; ``error`` is empty when it was done."""

    pid: int
    units: tuple[UnitStatus, ...] = ()
    error: str = ""


async def serve(path: Path, answer: Callable[[Request], Awaitable[Answer]]) -> asyncio.Server:
    """Listen on the path; only root can connect."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                try:
                    said = await answer(msgspec.json.decode(line, type=Request))
                except msgspec.DecodeError as error:
                    said = Answer(0, error=f"not understood: {error}")
                writer.write(msgspec.json.encode(said) + b"\n")
                await writer.drain()
        writer.close()

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(_private(path))
    return await asyncio.start_unix_server(talk, sock=listener, limit=LINE_LIMIT_BYTES)


def _private(path: Path) -> str:
    """The path, free for a new socket; its folder is root's alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    return str(path)


class SupervisorClient:
    """Speaks to a supervisor; blocking, one connection per question.

    Args:
        path: its control socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def alive(self) -> bool:
        """Whether a supervisor answers."""
        try:
            self.status()
        except DpuError:
            return False
        return True

    def status(self) -> Answer:
        """All units and the supervisor's process id."""
        return self._ask(Request(Verb.STATUS))

    def wait_ready(self, timeout_s: float) -> Answer:
        """As status(), once all units are ready or the time is over; ``error`` names those that are not."""
        return self._ask(Request(Verb.READY, timeout_s=timeout_s), timeout_s + 10)

    def send(self, unit: str, number: signal.Signals) -> Answer:
        """Send a signal to a unit's process."""
        return self._ask(Request(Verb.SIGNAL, unit=unit, number=number.value))

    def restart(self, unit: str) -> Answer:
        """SIGTERM to a unit's process; it is started again."""
        return self._ask(Request(Verb.RESTART, unit=unit))

    def stop(self, timeout_s: float = 60.0) -> Answer:
        """Stop all units, the last started first, and the supervisor; answers when the units have ended."""
        return self._ask(Request(Verb.STOP), timeout_s)

    def _ask(self, request: Request, timeout_s: float = 10.0) -> Answer:
        """One question.

        Raises:
            DpuError: UNAVAILABLE; nobody listens or answers.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(timeout_s)
                connection.connect(str(self._path))
                connection.sendall(msgspec.json.encode(request) + b"\n")
                with connection.makefile("rb") as stream:
                    line = stream.readline(LINE_LIMIT_BYTES)
        except OSError as error:
            raise self._away(str(error)) from error
        if not line:
            raise self._away("it ended while it was asked")
        return msgspec.json.decode(line, type=Answer)

    def _away(self, why: str) -> DpuError:
        message = f"no supervisor answers at {self._path}: {why}"
        return DpuError(Reason.UNAVAILABLE, message, remedy="start the lab with `bmctl lab up`")
