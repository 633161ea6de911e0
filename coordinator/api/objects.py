"""Kubernetes-style objects as this server sees them: plain JSON values and the few paths it must know."""

import datetime as dt
from typing import Any, NamedTuple

import msgspec

Obj = dict[str, Any]


class Key(NamedTuple):
    """Where an object lives: storage resource, namespace (empty when cluster-scoped) and name."""

    resource: str
    namespace: str
    name: str


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()


def encode(value: Any) -> bytes:
    """Compact JSON of a value."""
    return _ENCODER.encode(value)


def decode(raw: bytes | str) -> Any:
    """Value of a JSON text.

    Raises:
        msgspec.DecodeError: the text is not JSON.
    """
    return _DECODER.decode(raw)


def copy(value: Any) -> Any:
    """An independent copy of a JSON value."""
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy(item) for item in value]
    return value


def meta(obj: Obj) -> Obj:
    """The object's metadata, created empty when absent or of a wrong type."""
    found = obj.get("metadata")
    if not isinstance(found, dict):
        found = obj["metadata"] = {}
    return found


def labels(obj: Obj) -> dict[str, str]:
    """The object's labels; empty when it has none."""
    return obj.get("metadata", {}).get("labels") or {}


def finalizers(obj: Obj) -> list[str]:
    """The object's finalizers; empty when it has none."""
    return obj.get("metadata", {}).get("finalizers") or []


def owners(obj: Obj) -> list[Obj]:
    """The object's owner references; empty when it has none."""
    return obj.get("metadata", {}).get("ownerReferences") or []


def dig(obj: Any, *path: str) -> Any:
    """The value at a path of keys, or None when any step is missing."""
    for step in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(step)
    return obj


def timestamp(moment: dt.datetime) -> str:
    """A moment as metav1.Time prints it: UTC, whole seconds."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: Any) -> dt.datetime | None:
    """The moment that an RFC 3339 text names, or None when it names none."""
    if not isinstance(text, str):
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def now() -> dt.datetime:
    """The present moment in UTC."""
    return dt.datetime.now(dt.UTC)
