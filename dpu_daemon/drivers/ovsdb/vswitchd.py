"""Watches the processes that obey the database: it does not say when one of them dies."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from dpu_daemon.drivers.keeper import Keeper
from proto.errors import DpuError
from proto.jsonrpc import JsonRpcConnection, JsonRpcError
from proto.reasons import Reason

VSWITCHD = "ovs-vswitchd"
OVN_CONTROLLER = "ovn-controller"
CALL_TIMEOUT_S = 2.0
PULSE_TIMEOUT_S = 0.7
MUTE_S = 4.0
"""Busy programs answer within seconds; kubelet asks every five, and a node that is busy shall not be taken for dead."""


class VswitchdWatch:
    """Holds a connection to the control socket, which ends with the process.

    Args:
        run_dir: directory of the control socket, and of the pidfile where the socket's name needs it.
        program: whose.
        elsewhere: where to look when it is not there.
    """

    def __init__(self, run_dir: Path, program: str = VSWITCHD, *, elsewhere: Path | None = None) -> None:
        self._run_dirs = (run_dir,) if elsewhere is None else (run_dir, elsewhere)
        self._program = program
        remedy = f"look whether it runs with its pidfile in {' or '.join(map(str, self._run_dirs))}"
        self._keeper: Keeper[JsonRpcConnection] = Keeper(program, remedy, self._dial)
        self.version = ""
        self._mute_since: float | None = None

    async def start(self, lost: Callable[[str], None]) -> None:
        await self._keeper.start(lost)

    async def stop(self) -> None:
        await self._keeper.stop()

    async def ask(self, command: str, *words: str, timeout_s: float = CALL_TIMEOUT_S) -> str:
        """What the program prints to a command, as ovs-appctl would.

        Raises:
            DpuError: UNSUPPORTED with its own words when it refuses; UNAVAILABLE, DEADLINE.
        """
        try:
            return str(await self._keeper.connection().call(command, list(words), timeout_s=timeout_s))
        except JsonRpcError as error:
            message = f"{self._program} refused {command}: {str(error.error).strip()}"
            raise DpuError(Reason.UNSUPPORTED, message, remedy=f"look at the log of {self._program}") from error

    async def pulse(self, command: str) -> str:
        """What it prints to a command; empty while it is busy, which a burst of ports keeps it for seconds.

        Raises:
            DpuError: UNAVAILABLE when it is gone, DEADLINE when it has not answered for MUTE_S.
        """
        now = asyncio.get_running_loop().time
        asked_at = now()
        try:
            told = await self.ask(command, timeout_s=PULSE_TIMEOUT_S)
        except DpuError as error:
            if error.reason is not Reason.DEADLINE:
                raise
            self._mute_since = asked_at if self._mute_since is None else self._mute_since
            if now() - self._mute_since >= MUTE_S:
                raise
            return ""
        self._mute_since = None
        return told

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        last = self._run_dirs[-1]
        for run_dir in self._run_dirs[:-1]:
            with contextlib.suppress(OSError):
                return await asyncio.open_unix_connection(_control_socket(run_dir, self._program))
        return await asyncio.open_unix_connection(_control_socket(last, self._program))

    async def _dial(self) -> JsonRpcConnection:
        reader, writer = await self._open()
        rpc = JsonRpcConnection(reader, writer, peer=self._program, envelope={}, notified=lambda _method, _params: None)
        try:
            told = await rpc.call("version", [], timeout_s=CALL_TIMEOUT_S)
        except JsonRpcError as error:
            await rpc.close()
            raise ConnectionError(str(error)) from error
        except BaseException:
            await rpc.close()
            raise
        self.version = _number(str(told))
        return rpc


def _control_socket(run_dir: Path, program: str) -> Path:
    """Where a program listens: a name chosen with ``--unixctl``, or its own with the process id in it."""
    chosen = run_dir / f"{program}.ctl"
    if chosen.is_socket():
        return chosen
    pidfile = run_dir / f"{program}.pid"
    try:
        return run_dir / f"{program}.{int(pidfile.read_text().strip())}.ctl"
    except ValueError as error:
        raise FileNotFoundError(f"{pidfile} holds no process id") from error


def _number(told: str) -> str:
    """``3.1.0`` of ``ovs-vswitchd (Open vSwitch) 3.1.0`` and further lines."""
    first = told.splitlines()[0] if told else ""
    return first.rpartition(" ")[2]
