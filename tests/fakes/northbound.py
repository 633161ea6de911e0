"""A model of OVN's northbound database: transactions with the rules of OVSDB that matter to a writer.

All or nothing; named UUIDs; rows of tables that are no roots vanish with the last strong reference; weak references to
rows that vanish are taken out; names are unique where the schema says so; foreign rows are just rows.
"""

import copy
import itertools
from collections.abc import Iterable
from typing import Any

from coordinator.core.net.diff import Difference, WantedRows, diff_in_steps
from coordinator.core.net.rows import Ref
from coordinator.core.net.schema import COPIED, SHAPES, STRONG
from coordinator.core.net.seen import Seen
from proto.ovsdb.replica import RowChange
from proto.ovsdb.values import Shape, decode, empty

Rows = dict[str, dict[str, dict[str, Any]]]


def difference(dirty: Iterable[Ref], wanted: WantedRows, seen: Seen, **how: Any) -> Difference:
    """What the differ finds, whose steps are taken one right after the other."""
    steps = diff_in_steps(dirty, wanted, seen, **how)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Difference = end.value
            return found


class RefusedError(Exception):
    """The commit broke a rule."""


class ModelDatabase:
    """Rows by table and UUID."""

    def __init__(self) -> None:
        self.rows: Rows = {table: {} for table in SHAPES}
        self._numbers = itertools.count(1)

    def put(self, table: str, **columns: Any) -> str:
        """A row, as somebody else would write it."""
        identity = f"u{next(self._numbers):05}"
        self.rows[table][identity] = self._empty(table) | columns
        return identity

    def transact(self, operations: Any) -> list[RowChange]:
        """Commits; what became of rows.

        Raises:
            RefusedError: nothing was changed.
        """
        before = copy.deepcopy(self.rows)
        names = {one["uuid-name"]: f"u{next(self._numbers):05}" for one in operations if one["op"] == "insert"}
        try:
            for one in operations:
                self._do(one, names)
            self.settle()
        except RefusedError:
            self.rows = before
            raise
        return changes(before, self.rows)

    def settle(self) -> None:
        """What OVSDB does at a commit."""
        while self._collect():
            pass
        there = {identity for rows in self.rows.values() for identity in rows}
        for table, rows in self.rows.items():
            shape = SHAPES[table]
            for row in rows.values():
                self._clean(shape, row, there)
            names = [row[shape.label] for row in rows.values()] if shape.named else []
            if len(names) != len(set(names)):
                raise RefusedError(f"two rows of {table} have one name")

    def _clean(self, shape: Any, row: dict[str, Any], there: set[str]) -> None:
        for name, column in shape.columns.items():
            if not column.target:
                continue
            if column.strong and row[name] - there:
                raise RefusedError(f"{name} refers to a row that is not there")
            if column.shape is Shape.SET:
                row[name] &= there
            elif row[name] not in there:
                row[name] = None

    def _collect(self) -> bool:
        held = {
            child
            for table, rows in self.rows.items()
            for row in rows.values()
            for column in STRONG[table]
            for child in row[column]
        }
        gone = [
            (table, one)
            for table, rows in self.rows.items()
            if not SHAPES[table].root
            for one in rows
            if one not in held
        ]
        for table, one in gone:
            del self.rows[table][one]
        return bool(gone)

    def _empty(self, table: str) -> dict[str, Any]:
        return {name: empty(shape) for name, shape in COPIED[table].items()}

    def _do(self, one: Any, names: dict[str, str]) -> None:
        table, verb = one["table"], one["op"]
        if verb == "insert":
            row = {name: _named(decode(value, COPIED[table][name]), names) for name, value in one["row"].items()}
            self.rows[table][names[one["uuid-name"]]] = self._empty(table) | row
            return
        identity = one["where"][0][2][1]
        if identity not in self.rows[table]:
            raise RefusedError(f"{verb} of a row that is not there")
        row = self.rows[table][identity]
        if verb == "delete":
            del self.rows[table][identity]
        elif verb == "update":
            row.update({name: _named(decode(v, COPIED[table][name]), names) for name, v in one["row"].items()})
        else:
            for name, mutator, value in one["mutations"]:
                row[name] = _mutated(row[name], mutator, value, COPIED[table][name], names)


def changes(before: Rows, after: Rows) -> list[RowChange]:
    """What a monitor would tell."""
    found = []
    for table in before:
        for identity in sorted(before[table].keys() | after[table].keys()):
            old, new = before[table].get(identity), after[table].get(identity)
            if old != new:
                found.append(RowChange(table, identity, old, copy.deepcopy(new)))
    return found


def _named(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, frozenset):
        return frozenset(names.get(one, one) for one in value)
    return names.get(value, value) if isinstance(value, str) else value


def _mutated(old: Any, mutator: str, value: Any, shape: Shape, names: dict[str, str]) -> Any:
    if shape is Shape.SET:
        members = _named(decode(value, shape), names)
        return old | members if mutator == "insert" else old - members
    if mutator == "insert":
        return decode(value, Shape.MAP) | old
    return {key: item for key, item in old.items() if key not in decode(value, Shape.SET)}
