"""Whether OVN's southbound database answers, by a connection of the daemon's own.

ovn-controller cannot be asked for this: ``connection-status`` says that it has a connection, which the kernel makes
for a server that stands still, too; over a Unix socket it says so for ever.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from dpu_daemon.drivers.keeper import count_lost
from dpu_daemon.engine.protocols import Lost
from proto.errors import DpuError
from proto.keeper import Keeper
from proto.ovsdb.remotes import Method, Remote, TlsFiles
from proto.ovsdb.session import Session

DATABASE = "OVN_Southbound"
PEER = "the southbound database of OVN"
PROBE_S = 30.0
"""A server that has said nothing for so long is asked, and has as long again to answer.

A large database is busy for ten seconds and more, and a node that says that it cannot serve loses its pods' endpoints.
"""
ASK_S = 5.0
"""For one server to greet; one with a large database is busy for seconds."""


class Southbound:
    """Keeps a connection to one of the servers that serves; nothing is copied.

    Args:
        remotes: servers; of a cluster, one that has lost the others does not count.
        tls: files for ``ssl:`` remotes.
        probe_s: seconds of silence before it is asked for a sign of life.
    """

    def __init__(self, remotes: Sequence[Remote], tls: TlsFiles | None, probe_s: float = PROBE_S) -> None:
        self._remotes, self._tls, self._probe_s = tuple(remotes), tls, probe_s
        remedy = "look whether ovsdb-server runs there, and whether [ovn] names it rightly"
        patience_s = ASK_S * len(self._remotes) + 1.0
        self._keeper: Keeper[_Line] = Keeper(PEER, remedy, self._dial, count=count_lost, dial_timeout_s=patience_s)
        self._starting: asyncio.Task[None] | None = None
        self._met = False

    def start(self, lost: Lost) -> None:
        """Ask from now on; nobody waits for the first answer."""
        self._starting = asyncio.get_running_loop().create_task(self._keeper.start(lost), name=f"greet {PEER}")

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        await self._keeper.stop()

    def trouble(self) -> str:
        """Why it does not answer any more; empty when it does.

        One that was never met says nothing: it may be this daemon alone that has no way to it, and ovn-controller's
        word counts.
        """
        if not self._met:
            return ""
        try:
            self._keeper.connection()
        except DpuError as error:
            return error.message
        return ""

    async def _dial(self) -> "_Line":
        errors = []
        for remote in self._remotes:
            session = Session(PEER, DATABASE, {}, lambda _replica, _changes: None)
            try:
                async with asyncio.timeout(ASK_S):
                    await session.open(remote, self._tls)
            except (OSError, EOFError, TimeoutError, DpuError) as error:
                errors.append(f"{remote}: {str(error) or 'no answer'}")
                continue
            if session.standing.connected:
                self._met = True
                return _Line(session, self._probe_s)
            await session.close()
            errors.append(f"{remote}: it has lost its cluster")
        raise ConnectionError("; ".join(errors))


class _Line:
    """An open connection that ends when there is no sign of life; a keeper.Connection."""

    def __init__(self, session: Session, probe_s: float) -> None:
        self._session = session
        self._probing = asyncio.create_task(session.rpc.probe(probe_s), name=f"probe {PEER}")

    async def closed(self) -> str:
        return await self._session.closed()

    async def close(self) -> None:
        self._probing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._probing
        await self._session.close()


def askable(remotes: Sequence[Remote], tls: TlsFiles | None) -> tuple[Remote, ...]:
    """Those that can be asked: a TLS server refuses who has no certificate."""
    return tuple(each for each in remotes if tls is not None or each.method is not Method.SSL)
