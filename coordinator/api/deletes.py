"""Deletion: at once, or marked and left to the finalizers."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from coordinator.api import errors, shaping
from coordinator.api.errors import bad_request
from coordinator.api.history import Change, Record
from coordinator.api.kinds import Kind
from coordinator.api.objects import Key, Obj, finalizers, meta, now, timestamp
from coordinator.api.shaping import NAMESPACES
from coordinator.api.store import Store
from coordinator.api.writes import check_preconditions

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_ETERNAL = frozenset({"default", "kube-system"})


class Propagation(Enum):
    """What becomes of the objects that the deleted one owns."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True)
class DeleteOptions:
    """metav1.DeleteOptions, as far as it concerns this server."""

    propagation: Propagation = Propagation.BACKGROUND
    dry_run: bool = False
    preconditions: Obj = field(default_factory=dict)

    @classmethod
    def parse(cls, body: Any, query: dict[str, str]) -> "DeleteOptions":
        """Options from the body, or from the query when there is none.

        Raises:
            ApiError: 400, an option makes no sense.
        """
        sent = body if isinstance(body, dict) else {}
        policy = sent.get("propagationPolicy") or query.get("propagationPolicy") or ""
        if sent.get("orphanDependents") is True:
            policy = Propagation.ORPHAN.value
        try:
            propagation = Propagation(policy) if policy else Propagation.BACKGROUND
        except ValueError:
            allowed = ", ".join(f'"{each.value}"' for each in Propagation)
            raise bad_request(
                f'propagationPolicy: Unsupported value: "{policy}": supported values: {allowed}'
            ) from None
        dry = sent.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
        if dry not in ([], ["All"]):
            raise bad_request(f'dryRun: Unsupported value: {dry}: supported values: "All"')
        return cls(propagation, bool(dry), sent.get("preconditions") or {})


def _finalizers(obj: Obj, propagation: Propagation) -> list[str]:
    kept = [name for name in finalizers(obj) if name not in {FOREGROUND, ORPHAN}]
    if propagation is Propagation.FOREGROUND:
        kept.append(FOREGROUND)
    elif propagation is Propagation.ORPHAN:
        kept.append(ORPHAN)
    return kept


async def delete(store: Store, kind: Kind, key: Key, options: DeleteOptions) -> tuple[Obj, bool]:
    """Delete an object, or mark it when finalizers have work to do.

    Returns:
        The object's last state, and whether it is gone.

    Raises:
        ApiError: 404, 409 (preconditions), 507.
    """
    if kind.storage == NAMESPACES and key.name in _ETERNAL:
        raise errors.forbidden(kind.plural, kind.group, key.name, "this namespace may not be deleted")
    async with store.editing(key) as record:
        if record is None:
            raise errors.not_found(kind.plural, kind.group, key.name)
        return await _delete(store, kind, record, options)


async def _delete(store: Store, kind: Kind, record: Record, options: DeleteOptions) -> tuple[Obj, bool]:
    old = record.obj()
    check_preconditions(kind, old, options.preconditions)
    new = record.obj()
    metadata = meta(new)
    if options.propagation is not Propagation.BACKGROUND or "deletionTimestamp" not in metadata:
        metadata["finalizers"] = _finalizers(old, options.propagation)
    if not metadata.get("finalizers"):
        metadata.pop("finalizers", None)
    gone = not shaping.pending_finalizers(kind, new)
    if not gone and "deletionTimestamp" not in metadata:
        metadata |= {"deletionTimestamp": timestamp(now()), "deletionGracePeriodSeconds": 0}
        if kind.custom:
            metadata["generation"] = int(metadata.get("generation", 0)) + 1
        if kind.storage == NAMESPACES:
            new["status"] = {"phase": "Terminating"}
    if not options.dry_run and (gone or new != old):
        await store.commit(Change.DELETED if gone else Change.MODIFIED, record.key, new, record)
    return new, gone
