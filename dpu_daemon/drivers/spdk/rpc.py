"""Calls to one SPDK process across its restarts: one connection, pipelined, kept, and told about when it goes.

SPDK looks at its sockets every 4 ms: whoever has several calls that do not wait for each other starts them together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar, overload

import msgspec

from dpu_daemon.drivers.keeper import Keeper
from dpu_daemon.drivers.spdk.connection import PEER, REMEDY, SpdkConnection, SpdkError
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")

CALL_TIMEOUT_S = 8.0
"""Two thousand times the server's tick, and under the deadlines of the steps that call."""

LONGEST_REQUEST_OLD = 32 * 1024
LONGEST_REQUEST_NEW = 256 * 1024
LONGER_SINCE = (26, 5)
OLDEST = (24, 9)

Arrived = Callable[[], Awaitable[None]]
"""Called with each new connection, before anybody else may use it."""


_DIALLING: ContextVar[SpdkConnection | None] = ContextVar("dialling", default=None)
"""The connection that is being made, for the calls that make it ready, and for no others."""


class Release(msgspec.Struct, frozen=True):
    """What an SPDK process calls itself."""

    major: int
    minor: int
    patch: int = 0
    suffix: str = ""

    @property
    def number(self) -> tuple[int, int]:
        """For comparisons, such as ``(24, 9)``."""
        return (self.major, self.minor)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor:02d}" + (f".{self.patch}" if self.patch else "") + self.suffix


class _Version(msgspec.Struct):
    fields: Release


class SpdkRpc:
    """The client.

    Args:
        socket: path of the process' RPC socket.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._keeper: Keeper[SpdkConnection] = Keeper(PEER, REMEDY, self._dial)
        self._arrived: list[Arrived] = []
        self._dialled: SpdkConnection | None = None
        self._users = 0
        self.release: Release | None = None
        self.methods: frozenset[str] = frozenset()
        self.connections = 0

    def on_arrival(self, arrived: Arrived) -> None:
        """Have something done with each new connection, before `lost` is told and before other calls; add it first."""
        self._arrived.append(arrived)

    async def start(self, lost: Callable[[str], None]) -> None:
        """Tries once, then keeps trying in the background; several drivers may share one client and each start it."""
        self._users += 1
        if self._users == 1:
            await self._keeper.start(lost)

    async def stop(self) -> None:
        """Lets go of the connection when its last user stops."""
        self._users -= 1
        if self._users == 0:
            await self._keeper.stop()

    def connected(self) -> None:
        """Passes while there is a connection.

        Raises:
            DpuError: UNAVAILABLE without one.
        """
        self._keeper.connection()

    def version(self) -> str:
        """``spdk 26.09``, or empty before the first contact."""
        return f"spdk {self.release}" if self.release else ""

    def process_id(self) -> int:
        """Of the process at the other end, as the kernel knows it; 0 before the first contact."""
        return self._dialled.process_id() if self._dialled else 0

    def offers(self, method: str) -> bool:
        """Whether this process has a method; False before the first contact."""
        return method in self.methods

    def sent(self) -> int:
        """Requests sent over the present connection."""
        connection = self._dialled
        return connection.sent if connection else 0

    @overload
    async def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> Any: ...

    @overload
    async def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, of: type[T], timeout_s: float = CALL_TIMEOUT_S
    ) -> T: ...

    async def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        of: Any = Any,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Any:
        """The result of one call, read as `of`.

        Raises:
            SpdkError: refused.
            DpuError: UNAVAILABLE without contact, when it ended, or for a result that cannot be read; DEADLINE.
        """
        connection = _DIALLING.get() or self._keeper.connection()
        raw = await connection.call(method, params, timeout_s=timeout_s)
        try:
            return msgspec.json.decode(raw, type=of)
        except msgspec.DecodeError as error:
            message = f"{PEER} answered {method} with what this daemon cannot read: {error}"
            raise DpuError(
                Reason.UNAVAILABLE, message, remedy="see the releases that the documentation names"
            ) from error

    async def _dial(self) -> SpdkConnection:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        connection = SpdkConnection(reader, writer, longest_request=LONGEST_REQUEST_OLD)
        self._dialled = connection
        token = _DIALLING.set(connection)
        try:
            await self._greet(connection)
            for arrived in self._arrived:
                await arrived()
        except BaseException:
            await connection.close()
            raise
        finally:
            _DIALLING.reset(token)
        self.connections += 1
        return connection

    async def _greet(self, connection: SpdkConnection) -> None:
        """The socket answers before the process is ready, and connecting tells nothing."""
        try:
            await self.call("framework_wait_init")
            self.release = (await self.call("spdk_get_version", of=_Version)).fields
            self.methods = frozenset(await self.call("rpc_get_methods", of=list[str]))
        except SpdkError as error:
            raise ConnectionError(f"it does not start: {error.said}") from error
        if self.release.number < OLDEST:
            raise ConnectionError(f"release {self.release} is too old; {OLDEST[0]}.{OLDEST[1]:02d} is the oldest known")
        if self.release.number >= LONGER_SINCE:
            connection.longest_request = LONGEST_REQUEST_NEW
