"""Watches ovs-vswitchd itself: the database does not say when the process that obeys it dies."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from dpu_daemon.drivers.jsonrpc import JsonRpcConnection, JsonRpcError
from dpu_daemon.drivers.keeper import Keeper

PEER = "ovs-vswitchd"
REMEDY = "look whether it runs with its pidfile beside the database's socket"
CALL_TIMEOUT_S = 2.0


class VswitchdWatch:
    """Holds a connection to the control socket, which ends with the process.

    Args:
        run_dir: directory of ovs-vswitchd's pidfile and control socket.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._keeper: Keeper[JsonRpcConnection] = Keeper(PEER, REMEDY, self._dial)
        self.version = ""

    async def start(self, lost: Callable[[str], None]) -> None:
        await self._keeper.start(lost)

    async def stop(self) -> None:
        await self._keeper.stop()

    async def _dial(self) -> JsonRpcConnection:
        number = _pid(self._run_dir / "ovs-vswitchd.pid")
        path = self._run_dir / f"ovs-vswitchd.{number}.ctl"
        reader, writer = await asyncio.open_unix_connection(path)
        rpc = JsonRpcConnection(reader, writer, peer=PEER, envelope={}, notified=lambda _method, _params: None)
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


def _pid(pidfile: Path) -> int:
    try:
        return int(pidfile.read_text().strip())
    except ValueError as error:
        raise FileNotFoundError(f"{pidfile} holds no process id") from error


def _number(told: str) -> str:
    """``3.1.0`` of ``ovs-vswitchd (Open vSwitch) 3.1.0`` and further lines."""
    first = told.splitlines()[0] if told else ""
    return first.rpartition(" ")[2]
