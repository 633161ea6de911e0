"""A copy of the monitored part of the switch's database, kept by diffs; pure.

Source: RFC 7047 section 5.1 (values) and ovsdb-server(7) section "update2" (diffs).
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

Row = Mapping[str, Any]


class Shape(Enum):
    """What a column holds: at most one value, a set, a map. The diff of each is written differently."""

    ONE = "one"
    SET = "set"
    MAP = "map"


COLUMNS: dict[str, dict[str, Shape]] = {
    "Open_vSwitch": {"bridges": Shape.SET, "next_cfg": Shape.ONE, "cur_cfg": Shape.ONE},
    "Bridge": {"name": Shape.ONE, "ports": Shape.SET, "datapath_type": Shape.ONE},
    "Port": {"name": Shape.ONE, "interfaces": Shape.SET, "tag": Shape.ONE, "external_ids": Shape.MAP},
    "Interface": {
        "name": Shape.ONE,
        "type": Shape.ONE,
        "ofport": Shape.ONE,
        "error": Shape.ONE,
        "ifindex": Shape.ONE,
        "external_ids": Shape.MAP,
    },
}
"""What is monitored. Names and references are in the schema since the first OVS with update2 (2.6)."""


def monitor_request() -> dict[str, list[dict[str, list[str]]]]:
    """Third parameter of monitor_cond."""
    return {table: [{"columns": list(columns)}] for table, columns in COLUMNS.items()}


class Replica:
    """Rows by table and UUID. Columns left out of an insert have their default, which reads as None or empty."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in COLUMNS}

    def rows(self, table: str) -> Mapping[str, Row]:
        return self._tables[table]

    def apply(self, updates: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """Takes one table-updates2 object.

        Raises:
            KeyError, TypeError, ValueError: it does not fit what is known; only a new copy helps.
        """
        for table, rows in updates.items():
            for identity, change in rows.items():
                self._change(table, identity, change)

    def _change(self, table: str, identity: str, change: Mapping[str, Any]) -> None:
        rows = self._tables[table]
        if "delete" in change:
            del rows[identity]
        elif "modify" in change:
            old = rows[identity]
            for column, diff in change["modify"].items():
                old[column] = _merged(old.get(column), diff, COLUMNS[table][column])
        else:
            shapes = COLUMNS[table]
            fresh: dict[str, Any] = {column: _empty(shape) for column, shape in shapes.items()}
            values = change.get("initial") or change.get("insert") or {}
            fresh.update({column: decode(value, shapes[column]) for column, value in values.items()})
            rows[identity] = fresh


def decode(value: Any, shape: Shape) -> Any:
    """A value as Python says it: an atom or None, a frozenset, a dict."""
    if shape is Shape.MAP:
        return {_atom(key): _atom(item) for key, item in value[1]}
    members = [_atom(item) for item in value[1]] if _tagged(value, "set") else [_atom(value)]
    if shape is Shape.SET:
        return frozenset(members)
    return members[0] if members else None


def _merged(old: Any, diff: Any, shape: Shape) -> Any:
    changed = decode(diff, shape)
    if shape is Shape.ONE:
        return changed
    if shape is Shape.SET:
        return old ^ changed
    # A key with the value that it has already is one to delete.
    gone = {key for key, item in changed.items() if key in old and old[key] == item}
    return {key: item for key, item in {**old, **changed}.items() if key not in gone}


def _empty(shape: Shape) -> Any:
    return {Shape.ONE: None, Shape.SET: frozenset(), Shape.MAP: {}}[shape]


def _atom(value: Any) -> Any:
    return value[1] if _tagged(value, "uuid") or _tagged(value, "named-uuid") else value


def _tagged(value: Any, tag: str) -> bool:
    return isinstance(value, list) and len(value) == 2 and value[0] == tag
