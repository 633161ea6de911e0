"""Client of ovsdb-server: one monitored copy, transactions, and waiting for either to say something.

Own code because the published client parses JSON forty times slower without its C part, which has no wheel, and has
its own blocking loop.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from proto.errors import DpuError
from proto.jsonrpc import JsonRpcError
from proto.keeper import Keeper
from proto.ovsdb.remotes import Remote, TlsFiles
from proto.ovsdb.replica import Replica
from proto.ovsdb.session import CALL_TIMEOUT_S, FIRST_COPY_TIMEOUT_S, Known, Session, Told
from proto.ovsdb.values import Columns
from proto.reasons import Reason

PROBE_S = 5.0
"""ovsdb-server's own default; a server whose machine died says nothing for ever."""

REMOTE_TIMEOUT_S = 3.0
"""For a connection and its greeting; the next server of a cluster shall not wait for long."""

FORBIDDEN = frozenset({"not allowed", "permission error"})
"""What a server says that is read-only, such as the standby of a pair, or whose roles do not let us write."""

Operation = dict[str, Any]


class OvsdbClient:
    """Keeps a copy of a database while there is a connection.

    Args:
        remotes: servers; of a cluster the leader is preferred, and followed when another takes over.
        database: its name in the schema.
        columns: what is copied.
        told: called after each change of the copy with what changed; after a new connection all rows are new, unless it
            goes on with the same copy.
        peer: what is on the other side, for sentences.
        remedy: what a reader can do when it is not there.
        tls: files for ``ssl:`` remotes.
        count: told of each lost connection.
        at_once: rows of a change that are taken in one go, as in `Session`.
        resumes: whether a new connection goes on with the copy of the last one where the server can do that.
        optional: tables that some schemas do not have; see `Replica.absent`.
    """

    def __init__(
        self,
        remotes: Sequence[Remote],
        database: str,
        columns: Columns,
        told: Told,
        *,
        peer: str = "ovsdb-server",
        remedy: str = "look whether it runs and whether its socket is where the configuration says",
        tls: TlsFiles | None = None,
        count: Callable[[str], None] = lambda _peer: None,
        probe_s: float = PROBE_S,
        at_once: int | None = None,
        resumes: bool = False,
        optional: frozenset[str] = frozenset(),
    ) -> None:
        self._remotes, self._database, self._columns, self._told = tuple(remotes), database, columns, told
        self._peer, self._remedy, self._tls, self._probe_s, self._at_once = peer, remedy, tls, probe_s, at_once
        timeout_s = FIRST_COPY_TIMEOUT_S + 2 * REMOTE_TIMEOUT_S * len(self._remotes)
        self._keeper: Keeper[_Probed] = Keeper(peer, remedy, self._dial, count=count, dial_timeout_s=timeout_s)
        self._news = asyncio.Event()
        self._first = 0
        self._resumes, self._optional = resumes, optional
        self._last: Session | None = None

    async def start(self, lost: Callable[[str], None]) -> None:
        """Connects, or keeps trying; `lost` hears of each later end and return."""
        await self._keeper.start(lost)

    async def stop(self) -> None:
        """Ends the connection."""
        await self._keeper.stop()

    @property
    def replica(self) -> Replica:
        """The current copy.

        Raises:
            DpuError: UNAVAILABLE without a connection: an old copy is no knowledge.
        """
        return self._keeper.connection().session.replica

    async def transact(
        self, operations: Sequence[Operation], *, timeout_s: float = CALL_TIMEOUT_S
    ) -> list[dict[str, Any]]:
        """Commits all or nothing; the copy shows it when this returns.

        Raises:
            DpuError: CONFLICT when the database refused, FORBIDDEN when it takes nothing from us, UNAVAILABLE or
                DEADLINE when it did not answer.
        """
        rpc = self._keeper.connection().session.rpc
        try:
            results = await rpc.call("transact", [self._database, *operations], timeout_s=timeout_s)
        except JsonRpcError as error:
            raise DpuError(Reason.INTERNAL, f"{self._peer} refused a request: {error}") from error
        except ValueError as error:
            remedy = "take it out of the object that it stands in"
            raise DpuError(Reason.CONFLICT, f"{self._peer} cannot be told of this: {error}", remedy=remedy) from error
        # One result for each operation; an error of the commit itself comes as one more.
        for number, result in enumerate(results):
            if result and "error" in result:
                raise self._refused(result, operations[number] if number < len(operations) else None)
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

    def _refused(self, result: dict[str, Any], operation: Operation | None) -> DpuError:
        where = f" at {operation['op']} of {operation.get('table', '')}" if operation else ""
        message = f"{self._peer} refused{where}: {result['error']} {result.get('details', '')}".strip()
        if result["error"] in FORBIDDEN:
            return DpuError(Reason.FORBIDDEN, message, remedy=f"let us write there, or {self._remedy}")
        return DpuError(Reason.CONFLICT, message, remedy="look at it again and repeat the call")

    async def _dial(self) -> "_Probed":
        opened: list[Session] = []
        chosen: Session | None = None
        try:
            session = await self._choose(opened)
            session.leader_only = session.standing.leader and len(self._remotes) > 1
            self._last = session if self._resumes else None
            await session.copy()
            chosen = session
        finally:
            for each in opened:
                if each is not chosen:
                    await each.close()
        return _Probed(session, self._probe_s)

    async def _choose(self, opened: list[Session]) -> Session:
        """The leader, or where none is to be had a follower; all that were opened are in `opened`."""
        errors = []
        known = self._known()
        for remote in self._remotes[self._first :] + self._remotes[: self._first]:
            session = Session(
                self._peer,
                self._database,
                self._columns,
                self._changed,
                at_once=self._at_once,
                known=known,
                optional=self._optional,
            )
            try:
                async with asyncio.timeout(REMOTE_TIMEOUT_S):
                    await session.open(remote, self._tls)
            except (OSError, EOFError, TimeoutError, DpuError) as error:
                errors.append(f"{remote}: {error or type(error).__name__}")
                continue
            opened.append(session)
            if session.standing.leader and session.standing.connected:
                self._first = self._remotes.index(remote)
                return session
            errors.append(f"{remote}: it does not lead its cluster")
        for session in opened:
            if session.standing.connected:
                return session
        raise ConnectionError("; ".join(errors))

    def _known(self) -> Known | None:
        """What the last connection knew in the end; of a copy that is not whole, nothing."""
        if not self._resumes:
            return None
        known = self._last.known if self._last is not None else None
        return known if known is not None and known.transaction else Known(Replica(self._columns))

    def _changed(self, replica: Replica, changes: Any) -> None:
        self._news.set()
        self._news = asyncio.Event()
        self._told(replica, changes)


class _Probed:
    """A session that is asked for a sign of life when it says nothing; a keeper.Connection."""

    def __init__(self, session: Session, every_s: float) -> None:
        self.session = session
        self._probing = asyncio.create_task(session.rpc.probe(every_s), name="probe of a database")

    async def closed(self) -> str:
        return await self.session.closed()

    async def close(self) -> None:
        self._probing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._probing
        await self.session.close()
