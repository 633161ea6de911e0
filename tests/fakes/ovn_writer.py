"""Wanted rows into a real northbound database: the product's own differ and client, driven step by step by a test."""

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from coordinator.core.net.rows import Ref, Row
from coordinator.core.net.schema import COPIED, DATABASE
from coordinator.core.net.seen import Seen
from coordinator.core.net.store import Owner, RowStore
from proto.ovsdb.client import OvsdbClient
from proto.ovsdb.remotes import parse_remotes
from proto.ovsdb.replica import Replica, RowChange
from tests.fakes.northbound import difference


class OvnWriter:
    """A connection to the database for the length of a ``with``; what owners want is kept in `store` between two.

    Args:
        northbound: as in the coordinator's setting.
        store: what was wanted so far.
    """

    def __init__(self, northbound: str, store: RowStore) -> None:
        self.store = store
        self._seen = Seen()
        self._client = OvsdbClient(parse_remotes(northbound, "test"), DATABASE, COPIED, self._told)

    async def __aenter__(self) -> Self:
        await self._client.start(lambda _why: None)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._client.stop()

    async def write(self, wanted: Mapping[Owner, Iterable[Row]]) -> int:
        """One transaction for all that these owners want now; returns how many operations it had."""
        dirty: set[Ref] = set()
        for owner, rows in wanted.items():
            dirty |= self.store.replace(owner, rows)
        found = difference(dirty, self.store, self._seen)
        assert not found.refused, found.refused
        if found.operations:
            await self._client.transact(found.operations)
        return len(found.operations)

    def _told(self, _replica: Replica, changes: Sequence[RowChange]) -> None:
        self._seen.take(changes)
