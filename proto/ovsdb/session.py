"""One open connection to a database server, with the copy that its monitor keeps."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from proto.jsonrpc import JsonRpcConnection, JsonRpcError
from proto.ovsdb.remotes import Remote, TlsFiles, open_streams
from proto.ovsdb.replica import Replica, RowChange, Updates, monitor_request
from proto.ovsdb.values import Columns, Shape

CALL_TIMEOUT_S = 5.0
FIRST_COPY_TIMEOUT_S = 30.0
"""Tens of thousands of rows on a busy machine."""

SERVER = "_Server"
SERVER_COLUMNS: Columns = {
    "Database": {"name": Shape.ONE, "model": Shape.ONE, "connected": Shape.ONE, "leader": Shape.ONE}
}
CLUSTERED = "clustered"
MAIN, META = "main", "server"
"""Names of our two monitors."""

NEVER = "00000000-0000-0000-0000-000000000000"
"""What a server says that gives transactions no names: one that is no cluster."""

NUL = rb"\u0000"
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

MISFITS = (LookupError, TypeError, AttributeError)
"""What becomes of a message that is not as it should be; that, or a ValueError."""

Told = Callable[[Replica, Sequence[RowChange]], None]


def fault_of(encoded: bytes) -> str:
    """Why a server would end the connection that says this; empty when it would not."""
    has_nul = NUL in encoded and _NUL.search(encoded) is not None
    return "a text has a null character, which no database can hold" if has_nul else ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a server says of itself: whether it serves the database now, and whether it leads the cluster."""

    connected: bool = True
    leader: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """A copy, and the last transaction that it has; empty when that has no name, or the copy is not whole."""

    replica: Replica
    transaction: str = ""


class Session:
    """An open connection and its copy; a keeper.Connection.

    Args:
        peer: what is on the other side, for sentences.
        told: called after each change of the copy.
        at_once: rows that are taken in one go; with more, `told` hears of the parts, and others of this process have
            their turn in between. What is asked for later is answered after the whole. None for all.
        known: the copy of an earlier session, whose transactions since are asked for; a server that does not know them
            sends everything, and so does every server without `known`.
        optional: tables that some schemas do not have.
    """

    def __init__(
        self,
        peer: str,
        database: str,
        columns: Columns,
        told: Told,
        *,
        at_once: int | None = None,
        known: Known | None = None,
        optional: frozenset[str] = frozenset(),
    ) -> None:
        self._resumes = known is not None
        self.known = known or Known(Replica(columns))
        self.standing = Standing()
        self.rpc: JsonRpcConnection
        self._peer, self._database, self._columns, self._told = peer, database, columns, told
        self._server: Replica | None = None
        self._early: list[tuple[Updates, str]] | None = []
        self._at_once = at_once
        self._optional = optional
        self.leader_only = False

    async def open(self, remote: Remote, tls: TlsFiles | None) -> None:
        """Connects and learns how the server stands; there is no copy yet.

        Raises:
            OSError, DpuError: it cannot be had.
        """
        reader, writer = await open_streams(remote, tls)
        self.rpc = JsonRpcConnection(
            reader, writer, peer=self._peer, envelope={}, notified=self._notified, fault=fault_of
        )
        try:
            await self._ask_standing()
        except BaseException:
            await self.rpc.close()
            raise

    async def copy(self) -> None:
        """Takes the first copy and has it kept.

        Raises:
            ConnectionError: the server refuses, or what it tells does not fit.
            DpuError: it does not answer.
        """
        try:
            await self._copy()
        except (*MISFITS, ValueError) as error:
            raise ConnectionError(f"what the database tells cannot be read: {error}") from error

    async def _copy(self) -> None:
        first, transaction = await self._first()
        self._has("")
        if self._at_once is not None:
            await self._take(first, "")
            first = {}
        changes = self.replica.apply(first)
        # Updates can arrive in the same packet as the first copy, before this task runs again.
        early, self._early = self._early or [], None
        for updates, newer in early:
            changes += self.replica.apply(updates)
            transaction = newer
        self._told(self.replica, changes)
        self._has(transaction)

    @property
    def replica(self) -> Replica:
        """The copy."""
        return self.known.replica

    async def _first(self) -> tuple[Updates, str]:
        """What the copy lacks, and the transaction that it has then; unless the server knows the old one, it is new."""
        absent = await self._absent()
        there = {table: columns for table, columns in self._columns.items() if table not in absent}
        request = [self._database, MAIN, monitor_request(there)]
        if absent != self.known.replica.absent:  # what the server said of other tables says nothing of these
            self.known = Known(Replica(self._columns, absent))
        if self._resumes:
            since = [*request, self.known.transaction or NEVER]
            with contextlib.suppress(JsonRpcError):  # before OVS 2.12 there was no such call
                answer = await self.rpc.call("monitor_cond_since", since, timeout_s=FIRST_COPY_TIMEOUT_S)
                found, transaction, updates = answer
                if not found:
                    self.known = Known(Replica(self._columns, absent))
                return updates, transaction
        try:
            everything = await self.rpc.call("monitor_cond", request, timeout_s=FIRST_COPY_TIMEOUT_S)
        except JsonRpcError as error:
            raise ConnectionError(f"the database cannot be monitored: {error}") from error
        self.known = Known(Replica(self._columns, absent))
        return everything, NEVER

    async def _absent(self) -> frozenset[str]:
        """Which of the optional tables the database does not have."""
        if not self._optional:
            return frozenset()
        try:
            schema = await self.rpc.call("get_schema", [self._database], timeout_s=CALL_TIMEOUT_S)
        except JsonRpcError as error:
            raise ConnectionError(f"the database does not tell its schema: {error}") from error
        return frozenset(table for table in self._optional if table not in schema["tables"])

    def _has(self, transaction: str) -> None:
        """The copy has all as of a transaction, and everybody was told; empty while it is being changed."""
        self.known = Known(self.replica, "" if transaction == NEVER else transaction)

    async def closed(self) -> str:
        return await self.rpc.closed()

    async def close(self) -> None:
        await self.rpc.close()

    async def _ask_standing(self) -> None:
        server = Replica(SERVER_COLUMNS)
        try:
            rows = await self.rpc.call(
                "monitor_cond", [SERVER, META, monitor_request(SERVER_COLUMNS)], timeout_s=CALL_TIMEOUT_S
            )
        except JsonRpcError:
            return  # before OVS 2.9 there was no such database, nor any cluster
        try:
            server.apply(rows)
        except (*MISFITS, ValueError) as error:
            raise ConnectionError(f"what the database tells of itself cannot be read: {error}") from error
        self._server = server
        self.standing = self._standing()

    def _standing(self) -> Standing:
        found = self._server.rows("Database").values() if self._server is not None else ()
        for row in found:
            if row["name"] == self._database:
                clustered = row["model"] == CLUSTERED
                return Standing(bool(row["connected"]) or not clustered, bool(row["leader"]) or not clustered)
        return Standing()

    async def _take(self, updates: Updates, transaction: str) -> None:
        """Take in what changed, part by part."""
        self._has("")
        try:
            for changes in self.replica.apply_in_steps(updates, self._at_once or len(updates)):
                self._told(self.replica, changes)
                await asyncio.sleep(0)
        except MISFITS as error:
            raise _unfitting(error) from error
        self._has(transaction)

    def _is_much(self, updates: Updates) -> bool:
        return self._at_once is not None and sum(map(len, updates.values())) > self._at_once

    def _notified(self, method: str, params: Any) -> Awaitable[None] | None:
        if method not in {"update2", "update3"}:
            return None
        try:
            which, transaction, updates = params if method == "update3" else (params[0], NEVER, params[1])
            if which == META:
                self._take_standing(updates)
            elif self._early is not None:
                self._early.append((updates, transaction))
            elif self._is_much(updates):
                return self._take(updates, transaction)
            else:
                self._has("")
                self._told(self.replica, self.replica.apply(updates))
                self._has(transaction)
        except MISFITS as error:
            raise _unfitting(error) from error
        return None

    def _take_standing(self, updates: Any) -> None:
        if self._server is None:
            return
        self._server.apply(updates)
        before, self.standing = self.standing, self._standing()
        if before.connected and not self.standing.connected:
            raise ValueError("it lost its cluster")
        if self.leader_only and before.leader and not self.standing.leader:
            raise ValueError("it leads its cluster no longer")


def _unfitting(error: Exception) -> ValueError:
    return ValueError(f"an update does not fit the copy ({error!r})")
