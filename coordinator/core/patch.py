"""JSON merge patches: the least that turns one object into another (RFC 7386)."""

from typing import Any

from coordinator.core.objects.meta import Json


def merge_patch(old: Json, new: Json) -> Json:
    """The patch that makes `old` equal `new`; empty when they are equal. Lists are replaced whole."""
    patch: Json = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif old[key] != value:
            before: Any = old[key]
            both = isinstance(before, dict) and isinstance(value, dict)
            patch[key] = merge_patch(before, value) if both else value
    return patch
