"""Reading values out of Kubernetes-style objects."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]


def dig(obj: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path of dictionaries, or ``default`` when any step is absent."""
    value = obj
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            return default
        value = value[step]
    return value


def name_of(obj: Object) -> str:
    """``metadata.name``."""
    return str(dig(obj, "metadata.name", ""))


def conditions(obj: Object) -> Iterator[Object]:
    """The conditions of an object's status."""
    yield from dig(obj, "status.conditions") or []


def sentence(obj: Object | None) -> str:
    """What an object says of itself: its message, or that of its condition Ready."""
    message = dig(obj, "status.message")
    if message or obj is None:
        return str(message or "")
    return next((str(one.get("message") or "") for one in conditions(obj) if one.get("type") == "Ready"), "")


def observed(obj: Object) -> bool:
    """Whether the controllers have acted on the newest spec."""
    return int(dig(obj, "status.observedGeneration", 0) or 0) >= int(dig(obj, "metadata.generation", 0) or 0)


def instant(text: Any) -> datetime | None:
    """A time of the API, or None when it is not one."""
    if not isinstance(text, str) or "T" not in text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
