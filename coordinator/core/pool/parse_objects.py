"""Pods, nodes, budgets and controllers, read from their Kubernetes objects."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from coordinator.core.pool.model import NONE, Budget, Controller, Node, Owner, Phase, Pod, Restart
from coordinator.core.pool.parse_scheduling import parse_shape, parse_taint
from coordinator.core.pool.quantity import amount_of
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.selectors import NodeTerm, parse_selector
from proto.errors import DpuError
from proto.reasons import Reason

Json = Mapping[str, Any]
_Choice = TypeVar("_Choice", Phase, Restart)


def parse_pod(
    pod: Json,
    *,
    volume_terms: tuple[tuple[NodeTerm, ...], ...] = (),
    shapes: dict[PodShape, PodShape] | None = None,
) -> Pod:
    """A pod of the snapshot.

    Args:
        pod: the object as the Kubernetes API shows it.
        volume_terms: where its bound volumes can be used.
        shapes: pods that share a shape share the object in it, which saves memory and comparisons.

    Raises:
        DpuError: INVALID, its message naming the pod and its field the path inside it.
    """
    metadata, spec, status = pod.get("metadata") or {}, pod.get("spec") or {}, pod.get("status") or {}
    shape = parse_shape(pod, volume_terms)
    return Pod(
        namespace=metadata.get("namespace") or "default",
        name=metadata.get("name", ""),
        shape=shape if shapes is None else shapes.setdefault(shape, shape),
        node=spec.get("nodeName") or "",
        uid=metadata.get("uid") or "",
        annotations=metadata.get("annotations") or NONE,
        owner=_owner(metadata),
        priority=spec.get("priority") or 0,
        phase=_choose(Phase, status.get("phase"), Phase.PENDING),
        restart=_choose(Restart, spec.get("restartPolicy"), Restart.ALWAYS),
        created_s=parse_time(metadata.get("creationTimestamp"), "metadata.creationTimestamp"),
        deleted_s=parse_time(metadata.get("deletionTimestamp"), "metadata.deletionTimestamp"),
        grace_s=spec.get("terminationGracePeriodSeconds"),
        local_volumes=tuple(str(v.get("name", "")) for v in spec.get("volumes") or [] if _is_local(v)),
    )


def parse_node(node: Json, group: str = "") -> Node:
    """A node of the snapshot, or a group's template.

    Raises:
        DpuError: INVALID naming the field.
    """
    metadata, spec, status = node.get("metadata") or {}, node.get("spec") or {}, node.get("status") or {}
    capacity = _amounts(status.get("capacity") or {}, "status.capacity")
    allocatable = _amounts(status.get("allocatable") or {}, "status.allocatable") or capacity
    ready, since = _readiness(status.get("conditions") or [])
    return Node(
        name=metadata.get("name", ""),
        allocatable=allocatable,
        capacity=capacity or allocatable,
        labels=metadata.get("labels") or NONE,
        annotations=metadata.get("annotations") or NONE,
        taints=tuple(parse_taint(taint, f"spec.taints[{at}]") for at, taint in enumerate(spec.get("taints") or [])),
        unschedulable=bool(spec.get("unschedulable")),
        provider_id=spec.get("providerID") or "",
        group=group,
        ready=ready,
        created_s=parse_time(metadata.get("creationTimestamp"), "metadata.creationTimestamp"),
        unready_since_s=None if ready else since,
    )


def parse_budget(budget: Json) -> Budget:
    """A PodDisruptionBudget with what its controller says may go now.

    Raises:
        DpuError: INVALID when the selector is malformed.
    """
    metadata, status = budget.get("metadata") or {}, budget.get("status") or {}
    selector = parse_selector((budget.get("spec") or {}).get("selector"), "spec.selector")
    name, namespace = metadata.get("name", ""), metadata.get("namespace") or "default"
    return Budget(namespace, name, selector, int(status.get("disruptionsAllowed") or 0))


def parse_controller(thing: Json) -> Controller:
    """A workload controller: ReplicaSet, Job, StatefulSet, DaemonSet or ReplicationController."""
    metadata, spec = thing.get("metadata") or {}, thing.get("spec") or {}
    return Controller(
        kind=str(thing.get("kind", "")),
        namespace=metadata.get("namespace") or "default",
        name=metadata.get("name", ""),
        replicas=spec.get("replicas"),
        uid=metadata.get("uid") or "",
        owner=_owner(metadata),
    )


def parse_time(value: Any, field: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time, None when it is not set.

    Raises:
        DpuError: INVALID when the text is no time.
    """
    if value is None:
        return None
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        message = f"{value!r} is not a time"
        raise DpuError(Reason.INVALID, message, field=field, remedy="write it as 2026-01-31T12:00:00Z") from None


def _choose(kind: type[_Choice], value: Any, otherwise: _Choice) -> _Choice:
    if value is None:
        return otherwise
    try:
        return kind(value)
    except ValueError:
        return otherwise


def _owner(metadata: Json) -> Owner | None:
    for ref in metadata.get("ownerReferences") or []:
        if ref.get("controller"):
            return Owner(ref.get("apiVersion", ""), ref.get("kind", ""), ref.get("name", ""), ref.get("uid") or "")
    return None


def _is_local(volume: Json) -> bool:
    """Whether removing the node loses the volume's data; memory-backed directories are lost with the pod anyway."""
    if volume.get("hostPath") is not None:
        return True
    scratch = volume.get("emptyDir")
    return scratch is not None and scratch.get("medium", "") != "Memory"


def _amounts(listed: Json, field: str) -> dict[str, int]:
    return {name: amount_of(name, value, f"{field}.{name}") for name, value in sorted(listed.items())}


def _readiness(conditions: list[Json]) -> tuple[bool, float | None]:
    for condition in conditions:
        if condition.get("type") == "Ready":
            since = parse_time(condition.get("lastTransitionTime"), "status.conditions.lastTransitionTime")
            return condition.get("status") == "True", since
    return not conditions, None
