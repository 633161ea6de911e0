"""What a placed instance needs besides CPUs: the objects to make, and when they are ready."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from coordinator.core.objects.cpu import Placement, ProcessItem
from coordinator.core.objects.meta import API_VERSION, Json


class Progress(Enum):
    """How far an object is."""

    MISSING = "missing"
    WAITING = "waiting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ItemState:
    """An object that an instance needs, and a sentence of how it is."""

    item: ProcessItem
    progress: Progress
    sentence: str


_GOOD = {"Ready", "Attached", "Available", "Bound", "InUse"}
_PLAIN = {"Network", "Subnet"}
"""Kinds that are good when no condition says otherwise."""


def state_of(item: ProcessItem, raw: Mapping[str, Any] | None) -> ItemState:
    """How far the object of an item is; `raw` is None when it is not there."""
    what = f"{item.kind} {item.name}"
    if raw is None:
        if item.template is None:
            return ItemState(item, Progress.WAITING, f"{what} does not exist, and there is no template to make it with")
        return ItemState(item, Progress.MISSING, f"{what} is to be made")
    status = raw.get("status") or {}
    phase = str(status.get("phase", ""))
    ready = next((one for one in status.get("conditions", ()) if one.get("type") == "Ready"), None)
    told = f": {ready['message']}" if ready and ready.get("message") else ""
    if phase == "Failed" or raw["metadata"].get("deletionTimestamp"):
        return ItemState(item, Progress.FAILED, f"{what} {'failed' if phase == 'Failed' else 'is being deleted'}{told}")
    plain = phase in _GOOD or (item.kind in _PLAIN and not phase)
    if ready.get("status") == "True" if ready is not None else plain:
        return ItemState(item, Progress.READY, f"{what} is ready")
    return ItemState(item, Progress.WAITING, f"{what} is {phase or 'not ready'}{told}")


def body_of(item: ProcessItem, placement: Placement) -> Json:
    """The object of an item as it is created: of the placement's namespace, and gone with it.

    ``$(node)`` and ``$(placement)`` in texts of the template stand for names.
    """
    words = {"$(node)": placement.node.partition("/")[2], "$(placement)": placement.metadata.name}
    meta = placement.metadata
    owner = {"apiVersion": API_VERSION, "kind": "CpuPlacement", "name": meta.name, "uid": meta.uid}
    return {
        "apiVersion": API_VERSION,
        "kind": item.kind,
        "metadata": {"name": item.name, "namespace": meta.namespace, "ownerReferences": [owner]},
        "spec": _filled(item.template or {}, words),
    }


def overall(states: Iterable[ItemState]) -> tuple[Progress, str]:
    """The worst of all, and its sentences; ready when there is nothing."""
    listed = list(states)
    for progress in (Progress.FAILED, Progress.MISSING, Progress.WAITING):
        told = [state.sentence for state in listed if state.progress is progress]
        if told:
            return progress, "; ".join(told)
    return Progress.READY, "all that it needs is ready" if listed else "it needs nothing but its CPUs"


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for word, meaning in words.items():
            value = value.replace(word, meaning)
        return value
    if isinstance(value, dict):
        return {key: _filled(inner, words) for key, inner in value.items()}
    return [_filled(inner, words) for inner in value] if isinstance(value, list) else value
