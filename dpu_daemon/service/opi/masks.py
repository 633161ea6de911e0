"""Update masks (AIP-134): which fields of an object an update means."""

from collections.abc import Sequence
from typing import Any

from google.protobuf import field_mask_pb2
from google.protobuf.descriptor import Descriptor

from dpu_daemon.service.validation import invalid

EVERYTHING = "*"
_TOLD = frozenset({"name", "status"})
"""The server's own fields: masks may name them, and nothing happens."""


def merged(present: Any, asked: Any, paths: Sequence[str]) -> Any:
    """The object after an update.

    Args:
        present: as it is.
        asked: what the caller sent.
        paths: of the mask; none means every field that is set, ``*`` replaces the whole object.

    Raises:
        DpuError: INVALID naming the path that there is not.
    """
    if EVERYTHING in paths:
        if len(paths) > 1:
            raise invalid("update_mask", f"{EVERYTHING!r} stands beside other paths", "send it alone")
        return asked
    result = type(present)()
    result.CopyFrom(present)
    if not paths:
        _forget_lists(result, asked)
        result.MergeFrom(asked)
        return result
    for path in paths:
        _check(path, present.DESCRIPTOR)
    mask = field_mask_pb2.FieldMask(paths=[path for path in paths if path.partition(".")[0] not in _TOLD])
    mask.MergeMessage(asked, result, replace_message_field=True, replace_repeated_field=True)
    for path in mask.paths:
        _forget_unset(result, asked, path.split("."))
    return result


def _forget_lists(result: Any, asked: Any) -> None:
    """A list that is sent replaces the one there is; merging would append it."""
    for field, value in asked.ListFields():
        if field.is_repeated:
            result.ClearField(field.name)
        elif field.message_type is not None and result.HasField(field.name):
            _forget_lists(getattr(result, field.name), value)


def _forget_unset(result: Any, asked: Any, parts: Sequence[str]) -> None:
    """A named field that the caller left unset is unset from now on; merging would make it zero."""
    name, rest = parts[0], parts[1:]
    field = result.DESCRIPTOR.fields_by_name[name]
    if rest:
        if result.HasField(name):
            _forget_unset(getattr(result, name), getattr(asked, name), rest)
    elif field.has_presence and not asked.HasField(name):
        result.ClearField(name)


def _check(path: str, descriptor: Descriptor | None) -> None:
    at = descriptor
    field = None
    for part in path.split("."):
        if field is not None and field.is_repeated:
            message = f"{path[:80]!r} names something within a list"
            raise invalid("update_mask", message, "name the list, which is replaced whole")
        field = at.fields_by_name.get(part) if at is not None else None
        if field is None:
            known = ", ".join(sorted(at.fields_by_name)) if at is not None else "nothing below it"
            raise invalid("update_mask", f"{path[:80]!r} is no field of this object", f"use {known}, or {EVERYTHING!r}")
        at = field.message_type
