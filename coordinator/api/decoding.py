"""Unknown fields found and cut, missing ones filled in: what happens to a body before it is validated."""

from typing import Any

from coordinator.api.objects import Obj, copy
from coordinator.api.structure import item_schema, property_schema

_ROOT_FIELDS = ("apiVersion", "kind", "metadata")
_OBJECT_META = frozenset(
    {
        "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
        "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers",
        "managedFields",
    }
)  # fmt: skip


def prune(obj: Obj, schema: Obj) -> list[str]:
    """Cut the fields that the schema does not know.

    Args:
        obj: whole object; changed in place.
        schema: its structural schema; an empty one knows everything.

    Returns:
        Paths that were cut, such as ``spec.nics[0].speed``.
    """
    cut: list[str] = []
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        for name in [name for name in metadata if name not in _OBJECT_META]:
            del metadata[name]
            cut.append(f"metadata.{name}")
    if schema:
        _prune(obj, schema, "", cut, skip=_ROOT_FIELDS)
    return cut


def _prune(value: Any, schema: Obj, path: str, cut: list[str], skip: tuple[str, ...] = ()) -> None:
    if isinstance(value, list):
        below = item_schema(schema)
        for index, item in enumerate(value):
            _prune(item, below, f"{path}[{index}]", cut)
    elif isinstance(value, dict):
        if schema.get("x-kubernetes-embedded-resource"):
            skip = _ROOT_FIELDS
        for name in [name for name in value if name not in skip]:
            where = f"{path}.{name}" if path else name
            if _known(schema, name):
                _prune(value[name], property_schema(schema, name), where, cut)
            elif not _keeps_unknown(schema):
                del value[name]
                cut.append(where)


def _known(schema: Obj, name: str) -> bool:
    return name in schema.get("properties", {}) or bool(schema.get("additionalProperties"))


def _keeps_unknown(schema: Obj) -> bool:
    return bool(schema.get("x-kubernetes-preserve-unknown-fields")) or not schema


def fill_defaults(value: Any, schema: Obj) -> None:
    """Set absent fields (and nulls that may not be null) to the schema's defaults, in place."""
    if isinstance(value, list):
        below = item_schema(schema)
        for item in value:
            fill_defaults(item, below)
    elif isinstance(value, dict):
        for name, below in schema.get("properties", {}).items():
            absent = name not in value or (value[name] is None and not below.get("nullable"))
            if absent and "default" in below:
                value[name] = copy(below["default"])
        for name, item in value.items():
            fill_defaults(item, property_schema(schema, name))
