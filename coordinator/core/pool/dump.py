"""A cluster dump (``kubectl get nodes,pods,pdb,... -A -o json``) as an observation."""

from collections.abc import Sequence
from typing import Any

from coordinator.core.pool.observation import GroupObservation, Json, Observation
from proto.errors import DpuError
from proto.reasons import Reason

_CONTROLLERS = {"ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job"}


def read_dump(dump: Any, now_s: float, groups: Sequence[GroupObservation] = ()) -> Observation:
    """Sort the objects of a dump by kind; kinds that play no part are ignored.

    Args:
        dump: a List object, or a plain list of objects.
        now_s: the time to decide at, seconds since the epoch.
        groups: node groups, which a dump does not contain.

    Raises:
        DpuError: INVALID when it is no list of objects.
    """
    items = dump.get("items") if isinstance(dump, dict) else dump
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        remedy = "save the output of kubectl get nodes,pods,pdb -A -o json"
        raise DpuError(Reason.INVALID, "the dump is no list of objects", field="items", remedy=remedy)
    kinds: dict[str, list[Json]] = {}
    for item in items:
        kinds.setdefault(str(item.get("kind", "")), []).append(item)
    controllers = [item for kind in sorted(_CONTROLLERS) for item in kinds.get(kind, [])]
    return Observation(
        now_s=now_s,
        nodes=kinds.get("Node", []),
        pods=kinds.get("Pod", []),
        budgets=kinds.get("PodDisruptionBudget", []),
        controllers=controllers or None,
        claims=kinds.get("PersistentVolumeClaim", []),
        volumes=kinds.get("PersistentVolume", []),
        groups=groups,
    )
