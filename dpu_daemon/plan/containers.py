"""Which groups a binding or a size speaks of: containers by id, by name, or all of a pod."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dpu_daemon.model.binding import BoundTo, ContainerName, HostBindings, PodSize
from dpu_daemon.model.cgroup import Group, Hierarchy, Layer
from dpu_daemon.plan.cpusets import Binding, WantedCpus
from dpu_daemon.plan.resources import PodResources, Resources
from proto.cpuset import parse
from proto.errors import DpuError
from proto.reasons import Reason

Names = Mapping[tuple[str, str], str]
"""Container ids by pod uid and container name, as the runtime tells."""


@dataclass(frozen=True, slots=True)
class Found:
    """A binding and the groups that it holds for; none while its container is not there."""

    bound: BoundTo
    groups: tuple[Group, ...]


def groups_of(who: ContainerName, seen: Hierarchy, names: Names) -> tuple[Group, ...]:
    """The groups of a container, or of all containers of a pod."""
    container_id = who.container_id or (names.get((who.pod_uid, who.container), "") if who.container else "")
    return tuple(
        group
        for group in seen.at(Layer.CONTAINER)
        if group.pod_uid == who.pod_uid
        and (group.container_id == container_id if container_id or who.container else True)
    )


def find_bindings(wanted: HostBindings, seen: Hierarchy, names: Names) -> list[Found]:
    """Every binding with its groups."""
    return [Found(bound, groups_of(bound.who, seen, names)) for bound in wanted.bindings]


def wanted_cpus(wanted: HostBindings, found: Iterable[Found]) -> WantedCpus:
    """The bindings by the paths of their groups."""
    return WantedCpus(
        shared=parse(wanted.shared, field="shared"),
        bindings={
            group.path: Binding(own=parse(each.bound.own), allowed=parse(each.bound.allowed))
            for each in found
            for group in each.groups
        },
    )


def held_cpus(wanted: HostBindings, cpus: WantedCpus, seen: Hierarchy) -> WantedCpus:
    """The same, while nobody can tell containers' names: those that may be meant by a name keep the CPUs they have.

    Otherwise a restart of this daemon, while the runtime is away, would take a running instance from its CPUs.
    """
    by_name = {each.who.pod_uid for each in wanted.bindings if each.who.container and not each.who.container_id}
    kept = {
        group.path: Binding(own=0, allowed=group.running_on)
        for group in seen.at(Layer.CONTAINER)
        if group.pod_uid in by_name and group.path not in cpus.bindings
    }
    return WantedCpus(shared=cpus.shared, bindings={**cpus.bindings, **kept})


def asked_cpus(wanted: HostBindings) -> WantedCpus:
    """The bindings as they were asked for, there or not: what `check_wanted` judges.

    Raises:
        DpuError: INVALID naming the field of a set that cannot be read.
    """
    bindings = {}
    for index, bound in enumerate(wanted.bindings):
        where = f"bindings[{index}]"
        own, allowed = parse(bound.own, field=f"{where}.own"), parse(bound.allowed, field=f"{where}.allowed")
        name = "/".join(filter(None, (bound.who.pod_uid, bound.who.container or bound.who.container_id)))
        if name in bindings:
            raise DpuError(
                Reason.INVALID, f"{name} is bound twice", field=where, remedy="send one binding for each container"
            )
        bindings[name] = Binding(own=own, allowed=allowed)
    return WantedCpus(shared=parse(wanted.shared, field="shared"), bindings=bindings)


def pod_resources(size: PodSize, seen: Hierarchy, names: Names) -> PodResources:
    """The sizes of a pod by the paths of its groups.

    Raises:
        DpuError: NOT_FOUND when the pod or one of its containers has no group.
    """
    pod = next((group for group in seen.at(Layer.POD) if group.pod_uid == size.pod_uid), None)
    if pod is None or pod.qos is None:
        raise _missing(f"pod {size.pod_uid}")
    containers = {}
    for asked in size.containers:
        groups = groups_of(asked.who, seen, names)
        if len(groups) != 1:
            name = asked.who.container or asked.who.container_id
            raise _missing(f"container {name} of pod {size.pod_uid}")
        containers[groups[0].path] = Resources(
            cpu_request_milli=asked.cpu_request_milli,
            cpu_limit_milli=asked.cpu_limit_milli,
            memory_request_bytes=asked.memory_request_bytes,
            memory_limit_bytes=asked.memory_limit_bytes,
        )
    return PodResources(path=pod.path, qos=pod.qos, containers=containers, pinned=size.pinned)


def _missing(what: str) -> DpuError:
    return DpuError(
        Reason.NOT_FOUND,
        f"{what} does not run on this host",
        field="pods",
        remedy="look the pod up again: it ended, moved or has not begun",
    )
