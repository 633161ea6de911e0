"""Vertical scaling: CPU and memory of running containers, over all layers of their groups, in the safe order.

A parent grows before its children and shrinks after them; memory goes before CPU; nothing is set below what is in use
and a margin, or above the node. Formulas are kubelet's, so that it finds what it would have written itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dpu_daemon.model.cgroup import (
    DEPTH,
    MAX_SHARES,
    MIN_SHARES,
    PAGE_BYTES,
    UNLIMITED,
    Group,
    Hierarchy,
    Knob,
    Layer,
    QosClass,
    Write,
    settable,
)
from proto.errors import DpuError
from proto.reasons import Reason

MIN_QUOTA_MILLI = 10
"""A period is 100 ms and the kernel takes no quota below 1 ms."""
MARGIN = 0.05
"""Part of the memory in use that a lower limit leaves above it."""
MARGIN_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a container asks for and may use; UNLIMITED for no limit. CPU in thousandths, memory in bytes."""

    cpu_request_milli: int = 0
    cpu_limit_milli: int = UNLIMITED
    memory_request_bytes: int = 0
    memory_limit_bytes: int = UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class PodResources:
    """A pod as it is to be: resources by path of each container's group.

    Attributes:
        path: of the pod's group.
        pinned: it has CPUs of its own; a quota would only throttle it there.
    """

    path: str
    qos: QosClass
    containers: Mapping[str, Resources]
    pinned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCapacity:
    """What may be given to pods on this node, and what others than the resized pod have been promised."""

    cpu_milli: int
    memory_bytes: int
    others_cpu_request_milli: int = 0
    others_memory_request_bytes: int = 0


def plan_resources(seen: Hierarchy, pod: PodResources, capacity: NodeCapacity) -> list[Write]:
    """The writes that make one pod's groups, and those above, as wanted; empty when they are.

    Raises:
        DpuError: NOT_FOUND for a group that is gone; INVALID for sizes that make no sense or change the pod's class;
            EXHAUSTED over the node; IN_USE for a memory limit below what is in use and the margin. All with numbers.
    """
    _check(seen, pod, capacity)
    targets = _targets(seen, pod)
    _check_memory(seen, targets)
    writes: list[Write] = []
    for knob in (Knob.MEMORY, Knob.CPU_QUOTA, Knob.CPU_SHARES):
        wanted = {path: settable(knob, knobs[knob], seen.version) for path, knobs in targets.items() if knob in knobs}
        groups = seen.groups
        writes += _in_order(knob, [(groups[path], value) for path, value in wanted.items()])
    return writes


def _in_order(knob: Knob, wanted: Iterable[tuple[Group, int]]) -> list[Write]:
    """Growth from the top down, then shrinking from the bottom up."""
    grow: list[tuple[int, Write]] = []
    shrink: list[tuple[int, Write]] = []
    for group, value in wanted:
        if value == group.value(knob):
            continue
        write = Write(path=group.path, knob=knob, value=value, before=group.value(knob))
        grows = _height(value) > _height(write.before)
        (grow if grows else shrink).append((DEPTH[group.layer], write))
    grow.sort(key=lambda each: (each[0], each[1].path))
    shrink.sort(key=lambda each: (-each[0], each[1].path))
    return [write for _, write in (*grow, *shrink)]


def _height(value: int) -> float:
    return float("inf") if value == UNLIMITED else value


def _targets(seen: Hierarchy, pod: PodResources) -> dict[str, dict[Knob, int]]:
    """Wanted knobs by path: the containers, the pod, and the class where the pod is not Guaranteed."""
    targets = {path: _container_knobs(asked, pinned=pod.pinned) for path, asked in pod.containers.items()}
    targets[pod.path] = _pod_knobs(pod)
    above = seen.groups[seen.groups[pod.path].parent] if seen.groups[pod.path].parent else None
    if pod.qos is not QosClass.GUARANTEED and above is not None and above.layer is Layer.QOS:
        targets[above.path] = _class_knobs(seen, above, pod, targets[pod.path])
    return targets


def _container_knobs(asked: Resources, *, pinned: bool) -> dict[Knob, int]:
    return {
        Knob.MEMORY: asked.memory_limit_bytes,
        Knob.CPU_QUOTA: UNLIMITED if pinned else _quota(asked.cpu_limit_milli),
        Knob.CPU_SHARES: shares_of(asked.cpu_request_milli),
    }


def _pod_knobs(pod: PodResources) -> dict[Knob, int]:
    asked = list(pod.containers.values())
    cpu = _sum_of_limits(each.cpu_limit_milli for each in asked)
    return {
        Knob.MEMORY: _sum_of_limits(each.memory_limit_bytes for each in asked),
        Knob.CPU_QUOTA: UNLIMITED if pod.pinned else _quota(cpu),
        Knob.CPU_SHARES: shares_of(sum(each.cpu_request_milli for each in asked)),
    }


def _class_knobs(seen: Hierarchy, above: Group, pod: PodResources, own: Mapping[Knob, int]) -> dict[Knob, int]:
    """The class covers its pods: weights add up; a limit that somebody set on it moves as the pod's does."""
    others = [group for group in seen.children(above.path) if group.path != pod.path]
    knobs: dict[Knob, int] = {}
    if pod.qos is QosClass.BURSTABLE:
        total = sum(group.shares for group in others) + own[Knob.CPU_SHARES]
        knobs[Knob.CPU_SHARES] = min(max(total, MIN_SHARES), MAX_SHARES)
    for knob in (Knob.MEMORY, Knob.CPU_QUOTA):
        limit, before, after = above.value(knob), seen.groups[pod.path].value(knob), own[knob]
        if UNLIMITED not in (limit, before, after):
            knobs[knob] = max(limit + after - before, after)
    return knobs


def shares_of(milli: int) -> int:
    """Weight of a CPU request, as kubelet computes it (pkg/kubelet/cm, MilliCPUToShares)."""
    return min(max(milli * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def _quota(milli: int) -> int:
    return milli if milli == UNLIMITED else max(milli, MIN_QUOTA_MILLI)


def _sum_of_limits(limits: Iterable[int]) -> int:
    """Sum of all limits; none as soon as one has none, for then the pod has none."""
    known = list(limits)
    return UNLIMITED if UNLIMITED in known else sum(known)


def _check(seen: Hierarchy, pod: PodResources, capacity: NodeCapacity) -> None:
    for path in (pod.path, *pod.containers):
        if path not in seen.groups:
            raise DpuError(
                Reason.NOT_FOUND, f"there is no group {path}", field="pod", remedy="the pod ended: look it up again"
            )
    for path, asked in pod.containers.items():
        _check_sizes(path, asked)
    _check_class(pod)
    _check_node("cpu", capacity.cpu_milli, capacity.others_cpu_request_milli, pod, "cpu_request_milli")
    _check_node("memory", capacity.memory_bytes, capacity.others_memory_request_bytes, pod, "memory_request_bytes")


def _check_sizes(path: str, asked: Resources) -> None:
    pairs = (
        ("cpu", asked.cpu_request_milli, asked.cpu_limit_milli),
        ("memory", asked.memory_request_bytes, asked.memory_limit_bytes),
    )
    for name, request, limit in pairs:
        if request < 0 or limit < UNLIMITED or limit == 0:
            raise DpuError(
                Reason.INVALID,
                f"{path} asks for {name} {request} with limit {limit}",
                field=f"resources.{name}",
                remedy="write a request of zero or more, and a limit above zero or none",
            )
        if limit != UNLIMITED and limit < request:
            raise DpuError(
                Reason.INVALID,
                f"limit {limit} of {name} of {path} is below its request {request}",
                field=f"resources.limits.{name}",
                remedy="raise the limit or lower the request",
            )


def class_of(containers: Iterable[Resources]) -> QosClass:
    """Kubernetes' class of a pod with these containers."""
    asked = list(containers)
    if all(each == Resources() for each in asked):
        return QosClass.BEST_EFFORT
    guaranteed = all(
        each.cpu_request_milli == each.cpu_limit_milli and each.memory_request_bytes == each.memory_limit_bytes
        for each in asked
    )
    return QosClass.GUARANTEED if guaranteed else QosClass.BURSTABLE


def _check_class(pod: PodResources) -> None:
    """A pod keeps its class. BestEffort knows no requests: limits of such a pod are in its groups alone."""
    would_be = class_of(pod.containers.values())
    asked = pod.containers.values()
    limits_only = not any(each.cpu_request_milli or each.memory_request_bytes for each in asked)
    if would_be is pod.qos or (pod.qos is QosClass.BEST_EFFORT and limits_only):
        return
    raise DpuError(
        Reason.INVALID,
        f"{pod.path} is {pod.qos.value} and would become {would_be.value}; a pod's class never changes",
        field="resources",
        remedy="keep requests and limits in the relation that they have",
    )


def _check_node(name: str, total: int, others: int, pod: PodResources, attribute: str) -> None:
    wanted = sum(getattr(asked, attribute) for asked in pod.containers.values())
    if others + wanted > total:
        raise DpuError(
            Reason.EXHAUSTED,
            f"{wanted} of {name} for {pod.path} beside {others} of other pods is more than the node's {total}",
            field=f"resources.requests.{name}",
            remedy=f"ask for at most {max(0, total - others)}",
        )


def _check_memory(seen: Hierarchy, targets: Mapping[str, Mapping[Knob, int]]) -> None:
    for path, knobs in targets.items():
        group, limit = seen.groups[path], knobs.get(Knob.MEMORY, UNLIMITED)
        if limit == UNLIMITED or _height(limit) >= _height(group.memory_bytes):
            continue
        floor = lowest_limit(group.memory_used_bytes)
        if limit < floor:
            raise DpuError(
                Reason.IN_USE,
                f"{path} uses {group.memory_used_bytes} bytes; a limit of {limit} would kill it",
                field="resources.limits.memory",
                remedy=f"ask for at least {floor} bytes, or have it free memory first",
            )


def lowest_limit(used_bytes: int) -> int:
    """The smallest memory limit for what is in use: a margin above it, in whole pages."""
    wanted = used_bytes + max(int(used_bytes * MARGIN), MARGIN_BYTES)
    return -(-wanted // PAGE_BYTES) * PAGE_BYTES
