"""What is in the northbound database, found by our keys, by names, and by who keeps a row alive; pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from coordinator.core.net.rows import Ref
from coordinator.core.net.schema import EXTERNAL_IDS, KEY, SHAPES, STRONG
from proto.ovsdb.replica import Row, RowChange

Place = tuple[str, str, str]
"""Table, UUID and column of a row that refers to another."""

NO_ROWS: frozenset[str] = frozenset()
NO_PLACES: frozenset[Place] = frozenset()


class Seen:
    """An index over a copy of the database, kept by its changes."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Row]] = {table: {} for table in SHAPES}
        self._ours: dict[Ref, set[str]] = {}
        self._names: dict[tuple[str, str], set[str]] = {}
        self._holders: dict[str, set[Place]] = {}
        self.copies = 0
        """How many copies began; with another one, whatever was concluded from the one before is void."""

    def row(self, table: str, identity: str) -> Row | None:
        """A row by its UUID."""
        return self._rows[table].get(identity)

    def rows(self, table: str) -> Mapping[str, Row]:
        """All rows of a table by UUID."""
        return self._rows[table]

    def ours(self) -> Iterable[Ref]:
        """References to all rows that carry our key."""
        return self._ours.keys()

    def has(self, wanted: Ref) -> bool:
        """Whether a row with a key of ours is there."""
        return wanted in self._ours

    def of(self, wanted: Ref) -> list[str]:
        """UUIDs of the rows with a key of ours; the first one is the one that stays when there are several."""
        return sorted(self._ours.get(wanted, NO_ROWS))

    def is_empty(self, wanted: Ref) -> bool:
        """Whether no row with a key of ours holds anything that must be taken out before it goes."""
        rows, column = self._rows[wanted.table], SHAPES[wanted.table].emptied
        return not column or not any(rows[one][column] for one in self.of(wanted))

    def named(self, table: str, name: str) -> set[str]:
        """UUIDs of the rows of a table that have a name."""
        return set(self._names.get((table, name), NO_ROWS))

    def holders(self, identity: str) -> set[Place]:
        """Who keeps a row alive."""
        return set(self._holders.get(identity, NO_PLACES))

    def key_of(self, table: str, identity: str) -> Ref | None:
        """The reference to a row if it is ours."""
        return _ref(table, self._rows[table].get(identity))

    def clear(self) -> None:
        """A new copy begins."""
        self.copies += 1
        for rows in self._rows.values():
            rows.clear()
        self._ours.clear()
        self._names.clear()
        self._holders.clear()

    def take(self, changes: Iterable[RowChange]) -> set[Ref]:
        """Takes in what became of rows; references to those of ours that are not as they were."""
        touched: set[Ref] = set()
        for change in changes:
            self._index(change)
            for row in (change.before, change.after):
                ours = _ref(change.table, row)
                if ours is not None:
                    touched.add(ours)
        return touched

    def _index(self, change: RowChange) -> None:
        table, identity = change.table, change.identity
        if change.after is None:
            self._rows[table].pop(identity, None)
        else:
            self._rows[table][identity] = change.after
        if SHAPES[table].named:
            _move(self._names, _name(table, change.before), _name(table, change.after), identity)
        _move(self._ours, _ref(table, change.before), _ref(table, change.after), identity)
        for column in STRONG[table]:
            old = change.before[column] if change.before is not None else frozenset()
            new = change.after[column] if change.after is not None else frozenset()
            if old is new:
                continue
            place = (table, identity, column)
            for child in old - new:
                _drop(self._holders, child, place)
            for child in new - old:
                self._holders.setdefault(child, set()).add(place)


def _ref(table: str, row: Row | None) -> Ref | None:
    key = row[EXTERNAL_IDS].get(KEY) if row is not None else None
    return Ref(table, key) if key else None


def _name(table: str, row: Row | None) -> tuple[str, str] | None:
    return (table, str(row[SHAPES[table].label] or "")) if row is not None else None


def _move(index: dict[Any, set[str]], old: object, new: object, identity: str) -> None:
    if old == new:
        return
    if old is not None:
        _drop(index, old, identity)
    if new is not None:
        index.setdefault(new, set()).add(identity)


def _drop(index: dict[Any, set[Any]], word: object, member: object) -> None:
    members = index[word]
    members.discard(member)
    if not members:
        del index[word]
