"""Server-side apply: lay a manager's configuration over the object, find conflicts, drop what it gave up."""

from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.api import managed
from coordinator.api.errors import ApiError, Cause, CauseType
from coordinator.api.managed import Manager, Operation, Owners, Ownership
from coordinator.api.objects import Obj, copy, decode
from coordinator.api.structure import Path, lookup, merge, remove, spell

BEFORE_FIRST_APPLY = "before-first-apply"


@dataclass(frozen=True)
class Applied:
    """The object after an apply, before defaulting and validation, and who owns its fields."""

    obj: Obj
    owners: Owners


def without_nulls(value: Obj) -> Obj:
    """The configuration without members that are null: an applied null means nothing."""
    return {
        name: without_nulls(item) if isinstance(item, dict) else item
        for name, item in value.items()
        if item is not None
    }


def apply(live: Obj, config: Obj, schema: Obj, owners: Owners, manager: Manager, *, force: bool, time: str) -> Applied:
    """The object with a manager's configuration applied.

    Args:
        live: object as stored; empty when it is to be created.
        config: what the manager wants, all of it.
        schema: structural schema of the object.
        owners: present owners.
        manager: who applies; its operation is Apply.
        force: take fields over from other managers.
        time: of the write, for managedFields.

    Raises:
        ApiError: 409 with a cause per field that another manager owns with another value.
    """
    if not owners and live:
        everything = frozenset(managed.ownable(live, schema))
        owners = {Manager(BEFORE_FIRST_APPLY, Operation.UPDATE, manager.api_version): Ownership(everything, time)}
    scope = bool(manager.subresource)
    wanted = frozenset(managed.ownable(config, schema, status_only=scope, without_status=False))
    merged: Obj = merge(copy(live), copy(config), schema)
    before = owners[manager].fields if manager in owners else frozenset()
    others = {who: owned for who, owned in owners.items() if who != manager}
    _drop(merged, before - wanted, wanted | _all(others), schema)
    difference = managed.compare(live, merged, schema)
    conflicts = {who: owned.fields & difference.changed & wanted for who, owned in others.items()}
    conflicts = {who: fields for who, fields in conflicts.items() if fields}
    if conflicts and not force:
        raise _conflict(conflicts, owners)
    found: Owners = {}
    for who, owned in others.items():
        kept = owned.fields - difference.removed - conflicts.get(who, frozenset())
        found[who] = Ownership(kept, owned.time)
    unchanged = manager in owners and before == wanted and not difference.changed and not difference.removed
    found[manager] = Ownership(wanted, owners[manager].time if unchanged else time)
    return Applied(merged, found)


def _all(owners: Owners) -> frozenset[Path]:
    return frozenset().union(*(owned.fields for owned in owners.values()))


def _drop(obj: Obj, given_up: Iterable[Path], kept: frozenset[Path], schema: Obj) -> None:
    """Remove what nobody wants any more, and the containers that this leaves empty."""
    ways = {path[:length] for path in kept for length in range(1, len(path) + 1)}
    for path in sorted(given_up, key=len):  # a list item before its parts, which name it
        if path in ways or _is_key(path):
            continue
        remove(obj, path, schema)
        for length in range(len(path) - 1, 0, -1):
            parent = path[:length]
            present, value = lookup(obj, parent, schema)
            if not present or parent in ways or parent == ("f:metadata",) or not _hollow(value, parent):
                break
            remove(obj, parent, schema)


def _is_key(path: Path) -> bool:
    """Whether a path is one of the fields that tell a list item from the others; it goes with the item."""
    return len(path) > 1 and path[-2].startswith("k:") and path[-1][2:] in decode(path[-2][2:])


def _hollow(value: object, path: Path) -> bool:
    return value in ({}, []) and not path[-1].startswith("k:")


def _name(manager: Manager, owners: Owners) -> str:
    text = f'"{manager.name}"'
    if manager.subresource:
        text += f' with subresource "{manager.subresource}"'
    if manager.operation is Operation.UPDATE:
        text += f" using {manager.api_version} at {owners[manager].time}"
    return text


def _conflict(conflicts: dict[Manager, frozenset[Path]], owners: Owners) -> ApiError:
    causes, lines = [], []
    for manager, fields in sorted(conflicts.items(), key=lambda pair: pair[0].name):
        name = _name(manager, owners)
        lines.append(f"conflicts with {name}:")
        for path in sorted(fields):
            lines.append(f"- {spell(path)}")
            causes.append(Cause(CauseType.MANAGER_CONFLICT, spell(path), f"conflict with {name}"))
    if len(causes) == 1:
        told, count = f"{causes[0].message}: {causes[0].field}", "1 conflict"
    else:
        told, count = "\n".join(lines), f"{len(causes)} conflicts"
    details: Obj = {"causes": [cause.to_json() for cause in causes]}
    return ApiError(409, "Conflict", f"Apply failed with {count}: {told}", details)
