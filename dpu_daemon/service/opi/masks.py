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
        result.MergeFrom(asked)
        return result
    for path in paths:
        _check(path, present.DESCRIPTOR)
    mask = field_mask_pb2.FieldMask(paths=[path for path in paths if path.partition(".")[0] not in _TOLD])
    mask.MergeMessage(asked, result, replace_message_field=True)
    return result


def _check(path: str, descriptor: Descriptor | None) -> None:
    at = descriptor
    for part in path.split("."):
        field = at.fields_by_name.get(part) if at is not None else None
        if field is None:
            known = ", ".join(sorted(at.fields_by_name)) if at is not None else "nothing below it"
            raise invalid("update_mask", f"{path[:80]!r} is no field of this object", f"use {known}, or {EVERYTHING!r}")
        at = field.message_type
