"""A copy of the monitored part of a database, kept by diffs; pure.

Source: ovsdb-server(7) section "update2" (diffs).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from proto.ovsdb.values import Columns, decode, empty, merged

Row = Mapping[str, Any]
"""A row by column; it is never changed, a newer one takes its place."""

Updates = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""A table-updates2 object, by table and UUID."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row before and after; None for not there."""

    table: str
    identity: str
    before: Row | None
    after: Row | None


def monitor_request(columns: Columns) -> dict[str, list[dict[str, list[str]]]]:
    """Third parameter of monitor_cond."""
    return {table: [{"columns": list(names)}] for table, names in columns.items()}


class Replica:
    """Rows by table and UUID. Columns left out of an insert have their default, which reads as None or empty.

    Args:
        columns: what is monitored.
        absent: tables of these that the server does not have; they are empty here.
    """

    def __init__(self, columns: Columns, absent: frozenset[str] = frozenset()) -> None:
        self._columns = columns
        self.absent = absent
        self._tables: dict[str, dict[str, Row]] = {table: {} for table in columns}
        self._defaults = {
            table: {name: empty(shape) for name, shape in shapes.items()} for table, shapes in columns.items()
        }

    def rows(self, table: str) -> Mapping[str, Row]:
        """Rows of a table by UUID."""
        return self._tables[table]

    def apply(self, updates: Updates) -> list[RowChange]:
        """Takes one table-updates2 object; what became of each row in it.

        Raises:
            KeyError, TypeError, ValueError: it does not fit what is known; only a new copy helps.
        """
        return list(self._changes(updates))

    def apply_in_steps(self, updates: Updates, rows: int) -> Iterator[list[RowChange]]:
        """See `apply`; at most so many rows at a time."""
        changes = iter(self._changes(updates))
        while step := list(islice(changes, rows)):
            yield step

    def _changes(self, updates: Updates) -> Iterable[RowChange]:
        return (
            self._change(table, identity, change)
            for table, rows in updates.items()
            for identity, change in rows.items()
        )

    def _change(self, table: str, identity: str, change: Mapping[str, Any]) -> RowChange:
        rows, shapes = self._tables[table], self._columns[table]
        if "delete" in change:
            return RowChange(table, identity, rows.pop(identity), None)
        if "modify" in change:
            before = rows[identity]
            diffs = change["modify"].items()
            after = {**before, **{name: merged(before[name], diff, shapes[name]) for name, diff in diffs}}
            rows[identity] = after
            return RowChange(table, identity, before, after)
        values = change.get("initial") or change.get("insert") or {}
        fresh = {**self._defaults[table], **{name: decode(value, shapes[name]) for name, value in values.items()}}
        rows[identity] = fresh
        return RowChange(table, identity, None, fresh)
