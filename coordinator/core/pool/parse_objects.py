"""Pods, nodes, budgets and controllers, read from their Kubernetes objects."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar

from coordinator.core.pool.fields import Json, flag, items, mapping, optional_mapping, text, text_map, whole
from coordinator.core.pool.model import NONE, Budget, Controller, Node, Owner, Phase, Pod, Restart
from coordinator.core.pool.parse_scheduling import MOST_INT32, parse_shape, parse_taint
from coordinator.core.pool.quantity import amount_of
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.selectors import NodeTerm, parse_selector
from proto.errors import DpuError
from proto.reasons import Reason

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
    metadata, spec, status = _parts(pod)
    shape = parse_shape(pod, volume_terms)
    return Pod(
        namespace=text(metadata, "namespace", "metadata") or "default",
        name=text(metadata, "name", "metadata"),
        shape=shape if shapes is None else shapes.setdefault(shape, shape),
        node=text(spec, "nodeName", "spec"),
        uid=text(metadata, "uid", "metadata"),
        annotations=text_map(metadata, "annotations", "metadata") or NONE,
        owner=_owner(metadata),
        priority=whole(spec, "priority", "spec", least=-MOST_INT32 - 1, most=MOST_INT32) or 0,
        phase=_choose(Phase, text(status, "phase", "status"), Phase.PENDING),
        restart=_choose(Restart, text(spec, "restartPolicy", "spec"), Restart.ALWAYS),
        created_s=parse_time(metadata.get("creationTimestamp"), "metadata.creationTimestamp"),
        deleted_s=parse_time(metadata.get("deletionTimestamp"), "metadata.deletionTimestamp"),
        grace_s=whole(spec, "terminationGracePeriodSeconds", "spec"),
        local_volumes=tuple(_local_volumes(items(spec, "volumes", "spec"))),
    )


def parse_node(node: Json, group: str = "") -> Node:
    """A node of the snapshot, or a group's template.

    Raises:
        DpuError: INVALID naming the field.
    """
    metadata, spec, status = _parts(node)
    capacity = _amounts(status, "capacity")
    allocatable = _amounts(status, "allocatable") or capacity
    ready, since = _readiness(items(status, "conditions", "status"))
    taints = items(spec, "taints", "spec")
    return Node(
        name=text(metadata, "name", "metadata"),
        allocatable=allocatable,
        capacity=capacity or allocatable,
        labels=text_map(metadata, "labels", "metadata") or NONE,
        annotations=text_map(metadata, "annotations", "metadata") or NONE,
        taints=tuple(parse_taint(taint, f"spec.taints[{at}]") for at, taint in enumerate(taints)),
        unschedulable=flag(spec, "unschedulable", "spec"),
        provider_id=text(spec, "providerID", "spec"),
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
    metadata, spec, status = _parts(budget)
    selector = parse_selector(optional_mapping(spec, "selector", "spec"), "spec.selector")
    name, namespace = text(metadata, "name", "metadata"), text(metadata, "namespace", "metadata") or "default"
    return Budget(namespace, name, selector, whole(status, "disruptionsAllowed", "status") or 0)


def parse_controller(thing: Json) -> Controller:
    """A workload controller: ReplicaSet, Job, StatefulSet, DaemonSet or ReplicationController.

    Raises:
        DpuError: INVALID naming the field.
    """
    metadata, spec, _ = _parts(thing)
    return Controller(
        kind=text(thing, "kind", ""),
        namespace=text(metadata, "namespace", "metadata") or "default",
        name=text(metadata, "name", "metadata"),
        replicas=whole(spec, "replicas", "spec"),
        uid=text(metadata, "uid", "metadata"),
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
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
        if found.tzinfo is not None:
            return found.timestamp()
    except (ValueError, OverflowError):
        pass
    message = f"{str(value)[:60]!r} is not a time"
    raise DpuError(Reason.INVALID, message, field=field, remedy="write it as 2026-01-31T12:00:00Z") from None


def _parts(thing: Json) -> tuple[Json, Json, Json]:
    return mapping(thing, "metadata", ""), mapping(thing, "spec", ""), mapping(thing, "status", "")


def _choose(kind: type[_Choice], value: str, otherwise: _Choice) -> _Choice:
    """The choice of a name; what a later Kubernetes may call otherwise counts as the usual."""
    try:
        return kind(value)
    except ValueError:
        return otherwise


def _owner(metadata: Json) -> Owner | None:
    for at, ref in enumerate(items(metadata, "ownerReferences", "metadata")):
        field = f"metadata.ownerReferences[{at}]"
        if flag(ref, "controller", field):
            names = [text(ref, key, field) for key in ("apiVersion", "kind", "name", "uid")]
            return Owner(*names)
    return None


def _local_volumes(volumes: list[Json]) -> Iterator[str]:
    """Names of volumes whose data a node takes along; memory-backed directories are lost with the pod anyway."""
    for at, volume in enumerate(volumes):
        field = f"spec.volumes[{at}]"
        text(mapping(volume, "persistentVolumeClaim", field), "claimName", f"{field}.persistentVolumeClaim")
        scratch = optional_mapping(volume, "emptyDir", field)
        kept = scratch is not None and text(scratch, "medium", f"{field}.emptyDir") != "Memory"
        if kept or optional_mapping(volume, "hostPath", field) is not None:
            yield text(volume, "name", field)


def _amounts(status: Json, key: str) -> dict[str, int]:
    listed = sorted(mapping(status, key, "status").items())
    return {name: amount_of(name, value, f"status.{key}.{name}") for name, value in listed}


def _readiness(conditions: list[Json]) -> tuple[bool, float | None]:
    for at, condition in enumerate(conditions):
        field = f"status.conditions[{at}]"
        if text(condition, "type", field) == "Ready":
            since = parse_time(condition.get("lastTransitionTime"), f"{field}.lastTransitionTime")
            return text(condition, "status", field) == "True", since
    return not conditions, None
