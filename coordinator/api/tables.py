"""Objects as Tables and as metadata alone: what ``kubectl get`` and metadata-only clients ask for."""

from collections.abc import Iterable
from enum import Enum

from coordinator.api.columns import AGE, NAME
from coordinator.api.kinds import Kind
from coordinator.api.objects import Obj

META_V1 = "meta.k8s.io/v1"


class Include(Enum):
    """What of the object a table row carries."""

    NONE = "None"
    METADATA = "Metadata"
    OBJECT = "Object"


def partial(obj: Obj) -> Obj:
    """An object's metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": META_V1, "metadata": obj.get("metadata", {})}


def partial_list(items: Iterable[Obj], metadata: Obj) -> Obj:
    """A list of metadata."""
    rows = [partial(item) for item in items]
    return {"kind": "PartialObjectMetadataList", "apiVersion": META_V1, "metadata": metadata, "items": rows}


def definitions(kind: Kind) -> list[Obj]:
    """Column definitions of a kind's table."""
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in (NAME, *(kind.columns or (AGE,)))
    ]


def row(kind: Kind, obj: Obj, include: Include) -> Obj:
    """One object as a table row."""
    found: Obj = {"cells": [column.cell(obj) for column in (NAME, *(kind.columns or (AGE,)))]}
    if include is Include.METADATA:
        found["object"] = partial(obj)
    elif include is Include.OBJECT:
        found["object"] = obj
    return found


def table(kind: Kind, items: Iterable[Obj], metadata: Obj, include: Include, *, headed: bool = True) -> Obj:
    """Objects as a Table.

    Args:
        kind: of the objects.
        items: the objects.
        metadata: list metadata.
        include: what of each object its row carries.
        headed: whether column definitions are sent; later frames of a watch go without.
    """
    return {
        "kind": "Table",
        "apiVersion": META_V1,
        "metadata": metadata,
        "columnDefinitions": definitions(kind) if headed else None,
        "rows": [row(kind, item, include) for item in items],
    }
