"""Printed columns: from JSONPath of a CRD, and ages as people read them."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from coordinator.api.jsonpath import compile_path
from coordinator.api.kinds import Column
from coordinator.api.objects import Obj, now, parse_time

_DAY = 86400
_YEAR = 365 * _DAY
_SPANS = (
    (120, "s", 1, "", 0),
    (600, "m", 60, "s", 1),
    (3 * 3600, "m", 60, "", 0),
    (8 * 3600, "h", 3600, "m", 60),
    (2 * _DAY, "h", 3600, "", 0),
    (8 * _DAY, "d", _DAY, "h", 3600),
    (2 * _YEAR, "d", _DAY, "", 0),
    (8 * _YEAR, "y", _YEAR, "d", _DAY),
)
"""Upper bound, unit and its seconds, smaller unit and its seconds; all in seconds."""


def duration(seconds: float) -> str:
    """A time span as kubectl prints it: two units at most, fewer the longer it is.

    Source: apimachinery's duration.HumanDuration.
    """
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    for below, unit, size, small, part in _SPANS:
        if whole < below:
            rest = whole % size // part if part else 0
            return f"{max(0, whole) // size}{unit}" + (f"{rest}{small}" if rest else "")
    return f"{whole // _YEAR}y"


def age(text: Any, at: dt.datetime | None = None) -> str:
    """How long ago a timestamp was."""
    then = parse_time(text)
    return duration(((at or now()) - then).total_seconds()) if then else "<unknown>"


def _fits(value: Any, kind: str) -> Any:
    if kind == "integer":
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "number":
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "date":
        return age(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def path_cell(path: str, kind: str) -> Callable[[Obj], Any]:
    """The cell of a column that a JSONPath describes.

    Raises:
        ValueError: the path uses more than is understood.
    """
    find = compile_path(path)

    def cell(obj: Obj) -> Any:
        found = find(obj)
        if not found or found[0] is None:
            return None
        if len(found) > 1 and kind == "string":
            return ",".join(str(each) for each in found)
        return _fits(found[0], kind)

    return cell


def path_column(name: str, path: str, kind: str = "string", **more: Any) -> Column:
    """A column that a JSONPath describes."""
    return Column(name, kind, path_cell(path, kind), **more)


AGE = Column(
    "Age",
    "string",
    lambda obj: age(obj.get("metadata", {}).get("creationTimestamp")),
    "CreationTimestamp is a timestamp representing the server time when this object was created.",
)
NAME = Column(
    "Name",
    "string",
    lambda obj: obj.get("metadata", {}).get("name"),
    "Name must be unique in its namespace.",
    0,
    "name",
)
