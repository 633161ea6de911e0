"""OVN's northbound database: an index of what is there, kept by a monitor, and transactions."""

from collections.abc import Callable, Sequence
from typing import Protocol

from coordinator.core.net.edits import Operation
from coordinator.core.net.rows import Ref, Table
from coordinator.core.net.schema import COPIED, DATABASE, LATER
from coordinator.core.net.seen import Seen
from proto.errors import DpuError
from proto.ovsdb.client import OvsdbClient
from proto.ovsdb.remotes import TlsFiles, parse_remotes
from proto.ovsdb.replica import Replica, RowChange

PEER = "OVN's northbound database"
REMEDY = "look whether it runs, and at [ovn] northbound in the coordinator's settings"
SETTING = "ovn.northbound"

TRANSACTION_TIMEOUT_S = 30.0
"""A transaction of ten thousand rows takes a busy server seconds."""


AT_ONCE = 250
"""Rows of a change that are taken in one go, each some 50 microseconds long."""


class Listener(Protocol):
    """Who is told; calls come from the loop and must not raise."""

    def copied(self) -> None:
        """There is a new copy; all that is known comes anew."""
        ...

    def changed(self, rows: set[Ref]) -> None:
        """Rows of ours came, went or are others than before."""
        ...

    def moved(self, port_id: str) -> None:
        """A logical port came or went."""
        ...

    def lost(self, why: str) -> None:
        """The connection ended, or is back."""
        ...


class Northbound:
    """A connection that is kept, and the index; empty until the first copy, and then as it was last seen.

    Args:
        remotes: as in a setting: ``unix:PATH``, ``tcp:ADDRESS:PORT``, ``ssl:ADDRESS:PORT``, with commas for a cluster.
        count: told of each lost connection.

    Raises:
        DpuError: INVALID; `remotes` are none.
    """

    def __init__(
        self, remotes: str, listener: Listener, *, tls: TlsFiles | None = None, count: Callable[[str], None]
    ) -> None:
        self.seen = Seen()
        self._listener = listener
        self._copy: Replica | None = None
        servers = parse_remotes(remotes, SETTING)
        self._client = OvsdbClient(
            servers,
            DATABASE,
            COPIED,
            self._told,
            peer=PEER,
            remedy=REMEDY,
            tls=tls,
            count=count,
            at_once=AT_ONCE,
            resumes=True,
            optional=LATER,
        )

    @property
    def connected(self) -> bool:
        """Whether what is seen is what is there."""
        try:
            return self._client.replica is self._copy
        except DpuError:
            return False

    @property
    def has_templates(self) -> bool:
        """Whether the schema has variables for each chassis; that of the last copy, and before the first one true."""
        return self._copy is None or Table.TEMPLATE_VARIABLES.value not in self._copy.absent

    @property
    def problem(self) -> DpuError | None:
        """Why there is no connection; None while there is one."""
        try:
            self._client.replica  # noqa: B018 - it is asked for its error
        except DpuError as error:
            return error
        return None

    async def start(self) -> None:
        """Connects, or keeps trying."""
        await self._client.start(self._listener.lost)

    async def stop(self) -> None:
        """Ends the connection."""
        await self._client.stop()

    async def restart(self) -> None:
        """Connects anew: what became of a transaction that was not answered is seen in the copy then.

        That is the old one where the server can tell what changed since, and otherwise a new one.
        """
        await self._client.stop()
        await self._client.start(self._listener.lost)

    async def transact(self, operations: Sequence[Operation]) -> None:
        """Commits all or nothing; the index shows it when this returns.

        Raises:
            DpuError: CONFLICT when the database refused; FORBIDDEN when it takes nothing from us; UNAVAILABLE or
                DEADLINE when it did not answer.
        """
        await self._client.transact(operations, timeout_s=TRANSACTION_TIMEOUT_S)

    def _told(self, replica: Replica, changes: Sequence[RowChange]) -> None:
        fresh = replica is not self._copy
        if fresh:
            self._copy = replica
            self.seen.clear()
        touched = self.seen.take(changes)
        if fresh:
            self._listener.copied()
        else:
            self._listener.changed(touched)
        for change in changes:
            if change.table == Table.SWITCH_PORT.value and None in (change.before, change.after):
                row = change.after or change.before or {}
                self._listener.moved(str(row.get("name") or ""))
