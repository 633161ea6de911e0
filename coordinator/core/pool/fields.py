"""Typed reading of Kubernetes objects: what is of another type than it should be is refused by field.

The readers of the first part raise, and are for what a decision rests on. Those of the second part never raise, and are
for a look in passing at objects that others have judged, or will.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from proto.errors import DpuError
from proto.reasons import Reason

Json = Mapping[str, Any]
NOTHING: Json = MappingProxyType({})
MOST_WHOLE = 2**63 - 1


def mapping(of: Json, key: str, at: str) -> Json:
    """The mapping at a key, an empty one when there is none.

    Args:
        of: the object.
        key: in it.
        at: path of the object, empty for the outermost; only for the error.

    Raises:
        DpuError: INVALID naming the field, as all readers here.
    """
    found = of.get(key)
    if found is None:
        return NOTHING
    if not isinstance(found, dict):
        raise refused(found, "mapping", at, key)
    return found


def optional_mapping(of: Json, key: str, at: str) -> Json | None:
    """The mapping at a key, None when there is none."""
    return None if of.get(key) is None else mapping(of, key, at)


def text(of: Json, key: str, at: str) -> str:
    """The text at a key, empty when there is none."""
    found = of.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise refused(found, "text", at, key)
    return found


def flag(of: Json, key: str, at: str) -> bool:
    """The switch at a key, off when there is none."""
    found = of.get(key)
    if found is None:
        return False
    if not isinstance(found, bool):
        raise refused(found, "switch (true or false)", at, key)
    return found


def whole(of: Json, key: str, at: str, least: int = 0, most: int = MOST_WHOLE) -> int | None:
    """The whole number at a key, None when there is none."""
    found = of.get(key)
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool):
        raise refused(found, "whole number", at, key)
    if found < least and least == 0:
        raise _wrong(f"{_short(found)} is negative", at, key, "give zero or more")
    if not least <= found <= most:
        raise _wrong(f"{_short(found)} is not within {least} and {most}", at, key, "correct the number")
    return found


def items(of: Json, key: str, at: str) -> list[Json]:
    """The list of mappings at a key, empty when there is none."""
    found = of.get(key)
    if found is None:
        return []
    if not isinstance(found, list | tuple):
        raise refused(found, "list", at, key)
    for number, item in enumerate(found):
        if not isinstance(item, dict):
            raise refused(item, "mapping", at, f"{key}[{number}]")
    return list(found)


def texts(of: Json, key: str, at: str) -> list[str]:
    """The list of texts at a key, empty when there is none."""
    found = of.get(key)
    if found is None:
        return []
    if not isinstance(found, list | tuple):
        raise refused(found, "list of texts", at, key)
    for number, item in enumerate(found):
        if not isinstance(item, str):
            raise refused(item, "text", at, f"{key}[{number}]")
    return list(found)


def text_map(of: Json, key: str, at: str) -> Mapping[str, str]:
    """The mapping of texts at a key, such as labels; empty when there is none."""
    found = mapping(of, key, at)
    for name, value in found.items():
        if not isinstance(value, str):
            raise refused(value, "text", at, f"{key}.{name}")
    return found


def refused(found: Any, wanted: str, at: str, key: str) -> DpuError:
    """The error for a value of the wrong type."""
    return _wrong(f"{_short(found)} is no {wanted}", at, key, f"give a {wanted}")


def _wrong(message: str, at: str, key: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field=f"{at}.{key}" if at else key, remedy=remedy)


def _short(value: Any) -> str:
    """The value for a message: an enormous one is not written out."""
    if isinstance(value, int) and not -(10**30) < value < 10**30:
        return "an enormous number"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def seen_mapping(of: Any, *path: str) -> Json:
    """The mapping at a path; an empty one when there is none, or something else. Never raises."""
    for key in path:
        of = of.get(key) if isinstance(of, dict) else None
    return of if isinstance(of, dict) else NOTHING


def seen_text(of: Any, *path: str) -> str:
    """The text at a path; empty when there is none, or something else. Never raises."""
    found = seen_mapping(of, *path[:-1]).get(path[-1])
    return found if isinstance(found, str) else ""


def seen_items(of: Any, *path: str) -> Iterator[Json]:
    """The mappings in the list at a path; what else is there is passed over. Never raises."""
    found = seen_mapping(of, *path[:-1]).get(path[-1])
    yield from (item for item in found if isinstance(item, dict)) if isinstance(found, list | tuple) else ()
