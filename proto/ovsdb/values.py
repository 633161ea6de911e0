"""Values as the database writes them and as Python says them; pure.

Source: RFC 7047 section 5.1.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any


class Shape(Enum):
    """What a column holds: at most one value, a set, a map. The diff of each is written differently."""

    ONE = "one"
    SET = "set"
    MAP = "map"


Columns = Mapping[str, Mapping[str, Shape]]
"""Tables by name, each with its columns."""


class Uuid(str):
    """A row of the database."""

    __slots__ = ()


class NamedUuid(str):
    """A row that the same transaction inserts."""

    __slots__ = ()


def encode(value: Any) -> Any:
    """A value for the wire: an atom, a set or frozenset, a mapping; None is the empty set."""
    if isinstance(value, Uuid):
        return ["uuid", str(value)]
    if isinstance(value, NamedUuid):
        return ["named-uuid", str(value)]
    if isinstance(value, Mapping):
        return ["map", [[encode(key), encode(item)] for key, item in value.items()]]
    if isinstance(value, frozenset | set | list | tuple):
        return ["set", [encode(item) for item in value]]
    return ["set", []] if value is None else value


def decode(value: Any, shape: Shape) -> Any:
    """A value as Python says it: an atom or None, a frozenset, a dict; UUIDs are texts."""
    if shape is Shape.MAP:
        return {_atom(key): _atom(item) for key, item in value[1]}
    if shape is Shape.SET:
        return frozenset(map(_atom, value[1])) if _tagged(value, "set") else frozenset((_atom(value),))
    if _tagged(value, "set"):
        return _atom(value[1][0]) if value[1] else None
    return _atom(value)


def merged(old: Any, diff: Any, shape: Shape) -> Any:
    """A value after the diff that update2 tells of it."""
    changed = decode(diff, shape)
    if shape is Shape.ONE:
        return changed
    if shape is Shape.SET:
        return old ^ changed
    # A key with the value that it has already is one to delete.
    gone = {key for key, item in changed.items() if key in old and old[key] == item}
    return {key: item for key, item in {**old, **changed}.items() if key not in gone}


def empty(shape: Shape) -> Any:
    """What a column holds that was never written."""
    if shape is Shape.ONE:
        return None
    return frozenset() if shape is Shape.SET else {}


def same_row(identity: str) -> list[Any]:
    """The condition that selects one row."""
    return [["_uuid", "==", ["uuid", identity]]]


def _atom(value: Any) -> Any:
    return value[1] if type(value) is list else value


def _tagged(value: Any, tag: str) -> bool:
    return type(value) is list and len(value) == 2 and value[0] == tag
