"""Requests for the log, without what is marked as secret in their definition."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from proto.csi.v1 import options_pb2

_SECRET: Any = options_pb2.csi_secret
STRIPPED = "***stripped***"


def redacted(message: Message) -> dict[str, Any]:
    """The fields that are set, by name; each value of a field marked `csi_secret` is left out."""
    shown: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[_SECRET]:
            shown[field.name] = dict.fromkeys(value, STRIPPED) if isinstance(value, Mapping) else STRIPPED
        else:
            shown[field.name] = _shown(value)
    return shown


def _shown(value: Any) -> Any:
    if isinstance(value, Message):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: _shown(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_shown(one) for one in value]
    return value
