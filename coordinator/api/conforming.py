"""What the plain kinds' own rules make of an object before it is validated."""

import base64
from collections.abc import Callable

from coordinator.api.objects import Obj


def _secret(obj: Obj) -> None:
    """Texts of stringData become data, as clients read it; a Secret without type is Opaque."""
    texts = obj.pop("stringData", None)
    if isinstance(texts, dict) and texts:
        coded = {name: base64.b64encode(str(text).encode()).decode() for name, text in texts.items()}
        obj["data"] = (obj.get("data") or {}) | coded
    if not obj.get("type"):
        obj["type"] = "Opaque"


def _phase(name: str) -> Callable[[Obj], None]:
    def conform(obj: Obj) -> None:
        status = obj.setdefault("status", {})
        if isinstance(status, dict):
            status.setdefault("phase", name)

    return conform


_RULES: dict[str, Callable[[Obj], None]] = {
    "secrets": _secret,
    "pods": _phase("Pending"),
    "persistentvolumeclaims": _phase("Pending"),
}


def conform(storage: str, obj: Obj) -> None:
    """Apply a kind's own rules, in place.

    Args:
        storage: storage name of the kind.
        obj: the object, before defaults.
    """
    rule = _RULES.get(storage)
    if rule:
        rule(obj)
