"""Who owns which field: metadata.managedFields, read, changed and written.

Source: structured-merge-diff's semantics, on sets of paths. Leaves and list items are owned; the way to them is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from coordinator.api.objects import Obj
from coordinator.api.structure import Path, flatten

_NEVER_OWNED = frozenset(
    {
        "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields",
        "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName",
    }
)  # fmt: skip
Fields = frozenset[Path]


class Operation(Enum):
    """How a manager writes."""

    APPLY = "Apply"
    UPDATE = "Update"


class Manager(NamedTuple):
    """Who owns fields."""

    name: str
    operation: Operation
    api_version: str
    subresource: str = ""


@dataclass(frozen=True)
class Ownership:
    """What a manager owns, since when."""

    fields: Fields
    time: str


Owners = dict[Manager, Ownership]


def ownable(obj: Obj, schema: Obj, *, status_only: bool = False, without_status: bool = False) -> dict[Path, Any]:
    """Every path of an object that somebody can own, with its value."""
    return {
        path: value
        for path, value in flatten(obj, schema).items()
        if _counts(path, status_only=status_only, without_status=without_status)
    }


def _counts(path: Path, *, status_only: bool, without_status: bool) -> bool:
    if path[0] == "f:status":
        return not without_status
    if status_only or path[0] in {"f:apiVersion", "f:kind"}:
        return False
    if path[0] == "f:metadata":
        return len(path) > 1 and path[1][2:] not in _NEVER_OWNED
    return True


def to_tree(fields: Iterable[Path]) -> Obj:
    """Paths as fieldsV1."""
    tree: Obj = {}
    ordered = sorted(fields)
    for path in ordered:
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    for path in ordered:
        node = tree
        for step in path:
            node = node[step]
        if node:
            node["."] = {}
    return tree


def from_tree(tree: Any, at: Path = ()) -> Fields:
    """fieldsV1 as paths."""
    if not isinstance(tree, dict):
        return frozenset()
    found: set[Path] = set()
    for step, below in tree.items():
        if step == ".":
            found.add(at)
        elif below:
            found |= from_tree(below, (*at, step))
        else:
            found.add((*at, step))
    return frozenset(found)


def read(entries: Any) -> Owners:
    """Owners from managedFields; entries that make no sense are dropped."""
    owners: Owners = {}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("operation") not in {"Apply", "Update"}:
            continue
        manager = Manager(
            str(entry.get("manager", "")),
            Operation(entry["operation"]),
            str(entry.get("apiVersion", "")),
            str(entry.get("subresource") or ""),
        )
        owners[manager] = Ownership(from_tree(entry.get("fieldsV1")), str(entry.get("time", "")))
    return owners


def write(owners: Owners) -> list[Obj]:
    """The managedFields of owners, those without fields left out; appliers first, then by time."""
    entries = []
    ordered = sorted(owners.items(), key=lambda pair: (pair[0].operation.value, pair[1].time, pair[0].name))
    for manager, owned in ordered:
        if not owned.fields and manager.operation is Operation.UPDATE:
            continue
        entry: Obj = {"manager": manager.name, "operation": manager.operation.value, "apiVersion": manager.api_version}
        entry |= {"time": owned.time, "fieldsType": "FieldsV1", "fieldsV1": to_tree(owned.fields)}
        if manager.subresource:
            entry["subresource"] = manager.subresource
        entries.append(entry)
    return entries


@dataclass(frozen=True)
class Difference:
    """Which ownable paths differ between two states of an object."""

    changed: Fields
    removed: Fields


def compare(old: Obj, new: Obj, schema: Obj) -> Difference:
    """What somebody changed."""
    before, after = ownable(old, schema), ownable(new, schema)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    return Difference(frozenset(changed), frozenset(before.keys() - after.keys()))


def after_update(owners: Owners, manager: Manager, difference: Difference, time: str) -> Owners:
    """Owners once a manager wrote without apply: it owns what it changed, others lose that."""
    found: Owners = {}
    for other, owned in owners.items():
        lost = difference.removed if other == manager else difference.removed | difference.changed
        kept = owned.fields - lost
        if kept or other.operation is Operation.APPLY:
            found[other] = Ownership(kept, owned.time)
    mine = owners[manager].fields if manager in owners else frozenset()
    fields = (mine - difference.removed) | difference.changed
    if difference.changed or (manager in owners and fields != mine):
        found[manager] = Ownership(fields, time)
    return found


def same(left: Owners, right: Owners) -> bool:
    """Whether two states of ownership differ in more than their times."""
    return {who: owned.fields for who, owned in left.items()} == {who: owned.fields for who, owned in right.items()}
