"""Client of ovsdb-server: one monitored copy, transactions, and waiting for either to say something.

Own code because the published client parses JSON forty times slower without its C part, which has no wheel, and has
its own blocking loop.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from dpu_daemon.drivers.jsonrpc import JsonRpcConnection, JsonRpcError
from dpu_daemon.drivers.keeper import Keeper
from dpu_daemon.drivers.ovsdb.replica import Replica, monitor_request
from proto.errors import DpuError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

PEER = "ovsdb-server"
REMEDY = "look whether it runs and whether its socket is where the configuration says"
DATABASE = "Open_vSwitch"
CALL_TIMEOUT_S = 5.0

Operation = dict[str, Any]


class OvsdbClient:
    """Keeps a copy of the switch's database while there is a connection.

    Args:
        socket: path of ovsdb-server's Unix socket.
        changed: called after each change of the copy that this client was told of.
    """

    def __init__(self, socket: str, changed: Callable[[Replica], None]) -> None:
        self._socket = socket
        self._changed = changed
        self._keeper: Keeper[_Monitored] = Keeper(PEER, REMEDY, self._dial)
        self._news = asyncio.Event()

    async def start(self, lost: Callable[[str], None]) -> None:
        await self._keeper.start(lost)

    async def stop(self) -> None:
        await self._keeper.stop()

    @property
    def replica(self) -> Replica:
        """The current copy.

        Raises:
            DpuError: UNAVAILABLE without a connection: an old copy is no knowledge.
        """
        return self._keeper.connection().replica

    async def transact(self, operations: Sequence[Operation]) -> list[dict[str, Any]]:
        """Commits all or nothing; the copy shows it when this returns.

        Raises:
            DpuError: CONFLICT when the database refused, UNAVAILABLE or DEADLINE when it did not answer.
        """
        connection = self._keeper.connection()
        try:
            results = await connection.rpc.call("transact", [DATABASE, *operations], timeout_s=CALL_TIMEOUT_S)
        except JsonRpcError as error:
            raise DpuError(Reason.INTERNAL, f"{PEER} refused a request: {error}") from error
        # One result for each operation; an error of the commit itself comes as one more.
        for result in results:
            if result and "error" in result:
                message = f"the switch's database refused: {result['error']} {result.get('details', '')}".strip()
                raise DpuError(Reason.CONFLICT, message, remedy="look at it again and repeat the call")
        return [result or {} for result in results]

    async def wait_until(self, done: Callable[[Replica], bool], *, timeout_s: float) -> bool:
        """Whether the copy came to satisfy `done` in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not done(self.replica):
                    news = self._news
                    await news.wait()
        except TimeoutError:
            return False
        return True

    async def _dial(self) -> "_Monitored":
        connection = _Monitored(self._told)
        await connection.open(self._socket)
        return connection

    def _told(self, replica: Replica) -> None:
        self._news.set()
        self._news = asyncio.Event()
        self._changed(replica)


class _Monitored:
    """An open connection and its copy; a keeper.Connection."""

    def __init__(self, told: Callable[[Replica], None]) -> None:
        self.replica = Replica()
        self.rpc: JsonRpcConnection
        self._told = told
        self._early: list[Any] | None = []

    async def open(self, socket: str) -> None:
        reader, writer = await asyncio.open_unix_connection(socket)
        self.rpc = JsonRpcConnection(reader, writer, peer=PEER, envelope={}, notified=self._notified)
        try:
            first = await self.rpc.call("monitor_cond", [DATABASE, 0, monitor_request()], timeout_s=CALL_TIMEOUT_S)
        except JsonRpcError as error:
            await self.rpc.close()
            raise ConnectionError(f"the database cannot be monitored: {error}") from error
        except BaseException:
            await self.rpc.close()
            raise
        self.replica.apply(first)
        # Updates can arrive in the same packet as the first copy, before this task runs again.
        early, self._early = self._early or [], None
        for updates in early:
            self.replica.apply(updates)
        self._told(self.replica)

    async def closed(self) -> str:
        return await self.rpc.closed()

    async def close(self) -> None:
        await self.rpc.close()

    def _notified(self, method: str, params: Any) -> None:
        if method != "update2":
            return
        if self._early is not None:
            self._early.append(params[1])
            return
        try:
            self.replica.apply(params[1])
        except (KeyError, TypeError) as error:
            raise ValueError(f"an update does not fit the copy ({error!r})") from error
        self._told(self.replica)
