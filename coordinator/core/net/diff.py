"""What one transaction must do so that rows are as they are wanted; only what differs, and nothing that is not ours.

Rows without our key are left alone, as children of our rows too; a row of ours that nobody wants goes, of some tables
only once it is seen to be empty; of several with one key one stays. The rows that a transaction looks at are closed
under what belongs together: a child is inserted in the transaction that has its parent refer to it, since a row to
which nothing refers vanishes at the commit.
"""

from collections.abc import Generator, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Protocol

from coordinator.core.net import edits
from coordinator.core.net.edits import Operation
from coordinator.core.net.rows import Ref, Row, Value
from coordinator.core.net.schema import SHAPES, STRONG, Column, unwritten
from coordinator.core.net.seen import Place, Seen
from proto.ovsdb.values import NamedUuid, Shape, Uuid

STEP = 250
"""Rows that are looked at in one go, each some 50 microseconds long; then others may have their turn."""


NOTHING: frozenset[Ref] = frozenset()


class WantedRows(Protocol):
    """What shall be there; `store.RowStore` is one."""

    def __contains__(self, row: Ref, /) -> bool:
        """Whether a row shall be there; what it shall be costs more."""
        ...

    def get(self, wanted: Ref, /) -> Row | None:
        """A row as it shall be; None when it shall not."""
        ...

    def mentioned_by(self, row: Ref, /) -> frozenset[Ref]:
        """Rows that refer to this one."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """Operations of one transaction, in order.

    Attributes:
        refused: rows that cannot be had, with the sentence that says why.
        looked_at: rows that are right once the transaction is done, but for refused ones.
    """

    operations: tuple[Operation, ...] = ()
    refused: Mapping[Ref, str] = field(default_factory=dict)
    looked_at: frozenset[Ref] = frozenset()


Steps = Generator[None, None, Difference]


def diff_in_steps(
    dirty: Iterable[Ref],
    wanted: WantedRows,
    seen: Seen,
    *,
    keep_unwanted: bool = False,
    without: AbstractSet[Ref] = NOTHING,
    alone: bool = False,
) -> Steps:
    """The difference between what is wanted and what is seen, for some rows and what belongs to them.

    The work stops after each few rows until it is asked for the next. What is wanted must be the same all the time.
    What is seen may change as a database does between a look and a transaction, but it must not be a new copy.

    Args:
        dirty: rows to look at.
        keep_unwanted: take nothing away: who wants it may not have spoken yet.
        without: rows that are not looked at for the sake of others: the database is known to refuse them.
        alone: insert nothing for the sake of these rows but what keeps them alive.
    """
    rows = yield from _closed(dirty, wanted, seen, without, alone=alone)
    differ = _Differ(rows, wanted, seen, keep=keep_unwanted)
    yield from differ.decide()
    operations = yield from differ.operations()
    return Difference(tuple(operations), differ.refused, frozenset(rows))


def _in_steps(rows: Iterable[Ref]) -> Iterable[tuple[Ref, bool]]:
    """Rows, each with whether it is the last of a step."""
    return ((row, number % STEP == 0) for number, row in enumerate(rows, 1))


def _closed(
    dirty: Iterable[Ref], wanted: WantedRows, seen: Seen, without: AbstractSet[Ref], *, alone: bool
) -> Generator[None, None, list[Ref]]:
    """With those that refer to rows which will be inserted, and the rows that are referred to and not there yet."""
    found: set[Ref] = set()
    todo = list(dirty)
    while todo:
        row = todo.pop()
        if row in found:
            continue
        found.add(row)
        if len(found) % STEP == 0:
            yield
        want = wanted.get(row)
        if want is None:
            continue
        if not seen.has(row):
            holders = wanted.mentioned_by(row) - without
            todo += (one for one in holders if not alone or seen.has(one) or _keeps(wanted.get(one), row))
        if not alone:
            todo += (one for one in edits.targets(want) if not seen.has(one) and one not in without)
    return sorted(found, key=lambda row: (row.table, row.key))


def _keeps(parent: Row | None, row: Ref) -> bool:
    """Whether a row keeps another one alive."""
    return parent is not None and any(edits.mentions(parent, name, row) for name in STRONG[parent.table.value])


class _Differ:
    def __init__(self, rows: list[Ref], wanted: WantedRows, seen: Seen, *, keep: bool) -> None:
        self._rows, self._seen, self._keep = rows, seen, keep
        self._wants = {row: wanted.get(row) for row in rows}
        self._wanted = wanted
        self._stays: dict[Ref, str] = {}
        self._ends: dict[str, Ref] = {}
        self._emptied: dict[str, Ref] = {}
        self._inserts: dict[Ref, NamedUuid] = {}
        self._cuts: dict[Place, set[str]] = {}
        self.refused: dict[Ref, str] = {}

    def decide(self) -> Generator[None, None, None]:
        """Which rows come, stay and go."""
        for row, last in _in_steps(self._rows):
            self._choose(row)
            if last:
                yield
        known = -1
        while known != len(self.refused):  # one that does not get its name does not give up the one that it has
            known, taken = len(self.refused), set[tuple[str, str]]()
            for row, last in _in_steps(self._rows):
                self._refuse_taken_name(row, taken)
                if last:
                    yield
        for row, last in _in_steps(self._rows):
            self._choose_insert(row)
            if last:
                yield
        self._choose_cuts()

    def operations(self) -> Generator[None, None, list[Operation]]:
        """Of one transaction, in order."""
        found: list[Operation] = []
        for row, last in _in_steps(self._inserts):
            found.append(edits.insert(row.table, self._inserts[row], self._fresh(row)))
            if last:
                yield
        for row, last in _in_steps(self._stays):
            found += self._put_right(row, self._stays[row])
            if last:
                yield
        for (table, identity, column), gone in sorted(self._cuts.items()):
            found.append(edits.mutate(table, identity, edits.set_mutations(column, (), edits.uuids(gone))))
        for identity, row in self._emptied.items():
            found.append(edits.update(row.table, identity, {SHAPES[row.table].emptied: {}}))
        found += [edits.delete(row.table, identity) for identity, row in self._ends.items() if SHAPES[row.table].root]
        return found

    def _choose(self, row: Ref) -> None:
        """Which row stays, and which go."""
        there = self._seen.of(row)
        wanted = self._wants[row] is not None
        if wanted and there:
            self._stays[row] = there[0]
        gone = there[1:] if wanted else there
        if wanted or not self._keep:
            for identity in gone:
                (self._emptied if self._has_more(row.table, identity) else self._ends)[identity] = row

    def _has_more(self, table: str, identity: str) -> bool:
        """Whether a row must be emptied before it may go."""
        column, have = SHAPES[table].emptied, self._seen.row(table, identity)
        return bool(column and have is not None and have[column])

    def _refuse_taken_name(self, row: Ref, taken: set[tuple[str, str]]) -> None:
        want = self._wants[row]
        if want is None or not SHAPES[row.table].named:
            return
        name = str(want.columns.get(SHAPES[row.table].label, ""))
        holders = {one for one in self._seen.named(row.table, name) if not self._leaves_name(row.table, one, name)}
        holders.discard(self._stays.get(row, ""))
        if holders or (row.table, name) in taken:
            self.refused[row] = self._taken(row.table, name, holders)
        taken.add((row.table, name))

    def _leaves_name(self, table: str, identity: str, name: str) -> bool:
        """Whether a row that has a name goes, or gets another one, in this transaction."""
        if identity in self._ends:
            return True
        row = self._seen.key_of(table, identity)
        want = self._wants.get(row) if row is not None and row not in self.refused else None
        return want is not None and want.columns.get(SHAPES[table].label, "") != name

    def _taken(self, table: str, name: str, holders: set[str]) -> str:
        ours = [row.key for one in sorted(holders) if (row := self._seen.key_of(table, one)) is not None]
        whose = f"our row {ours[0]}" if ours else "a row that is not ours" if holders else "another row of ours"
        return f"{table} {name} cannot be written: {whose} has this name; remove or rename that one"

    def _choose_insert(self, row: Ref) -> None:
        if self._wants[row] is not None and row not in self._stays and self._lives(row):
            self._inserts[row] = NamedUuid(f"new{len(self._inserts)}")

    def _lives(self, row: Ref) -> bool:
        """Whether a row will be there: it is, or it is in a root table, or a row that lives keeps it alive."""
        if row in self._stays or (row not in self._wants and self._seen.has(row)):
            return True
        if row in self.refused or self._wants.get(row) is None:
            return False
        if SHAPES[row.table].root:
            return True
        parents = self._wanted.mentioned_by(row)
        return any(_keeps(self._wanted.get(parent), row) and self._lives(parent) for parent in parents)

    def _choose_cuts(self) -> None:
        """Where rows that go are referred to by rows that do not."""
        for identity in self._ends:
            for place in self._seen.holders(identity):
                if place[1] not in self._ends:
                    self._cuts.setdefault(place, set()).add(identity)

    def _resolved(self, value: Value | None) -> Any:
        """A value with references to rows that are there or come in this transaction; others are left out."""
        if isinstance(value, Ref):
            return self._target(value)
        if isinstance(value, frozenset):
            members = (self._target(one) if isinstance(one, Ref) else one for one in value)
            return frozenset(one for one in members if one is not None)
        return value

    def _target(self, row: Ref) -> Uuid | NamedUuid | None:
        if row in self._inserts:
            return self._inserts[row]
        there = self._stays.get(row)
        if there is None and (self._keep or row in self._wanted):
            there = next(iter(self._seen.of(row)), None)
        return Uuid(there) if there is not None else None

    def _fresh(self, row: Ref) -> dict[str, Any]:
        want = self._wants[row]
        given = edits.columns_of(want) if want is not None else {}
        columns = SHAPES[row.table].columns
        values = {name: self._resolved(value) for name, value in given.items()}
        return {name: value for name, value in values.items() if not unwritten(value, columns[name])}

    def _put_right(self, row: Ref, identity: str) -> list[Operation]:
        """Updates and mutations of a row that stays."""
        want = self._wants[row]
        have = self._seen.row(row.table, identity)
        if want is None or have is None:
            return []
        given = edits.columns_of(want)
        changed: dict[str, Any] = {}
        mutations: list[Any] = []
        for name, column in SHAPES[row.table].columns.items():
            old, value = have[name], self._resolved(given.get(name, column.default))
            if column.shape is Shape.MAP:
                mutations += edits.map_mutations(name, old, value, keep=self._keep)
            elif column.shape is Shape.SET:
                cut = self._cuts.pop((row.table, identity, name), set())
                extra = {one for one in old - value if self._is_extra(column, one)} | cut
                members = edits.uuids(extra) if column.target else extra
                mutations += edits.set_mutations(name, value - old, members)
            elif old != value and not (unwritten(old, column) and unwritten(value, column)):
                changed[name] = value
        if row in self.refused:
            changed.pop(SHAPES[row.table].label, None)
        found = [edits.update(row.table, identity, changed)] if changed else []
        return [*found, edits.mutate(row.table, identity, mutations)] if mutations else found

    def _is_extra(self, column: Column, member: Any) -> bool:
        """Whether a member that is not wanted goes: of references only those to rows of ours."""
        if not column.target:
            return not self._keep
        row = self._seen.key_of(column.target, member)
        return row is not None and (not self._keep or self._wanted.get(row) is not None)
