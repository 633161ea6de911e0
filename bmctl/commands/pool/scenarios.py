"""Scenarios out of what the command line names: a dump, or a trace's pods and machines."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from coordinator.core.pool.model import Node, NodeGroup, Phase, Pod
from coordinator.core.pool.simulate import Arrival, Scenario
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.traces import GIB, GPU, TraceMachine, TracePod
from proto.errors import DpuError
from proto.reasons import Reason

PODS_A_NODE = 110
HOLD_S = 3600.0
"""How long pods that arrive all at once are watched: long enough for the machines to come and be judged."""
_ENDED = {Phase.SUCCEEDED, Phase.FAILED}


@dataclass(frozen=True)
class Window:
    """The part of a trace that is played, in seconds since it began; pods alive at its start arrive then.

    Attributes:
        at_once: forget the times: all pods arrive together and stay.
    """

    from_s: float = 0.0
    until_s: float | None = None
    at_once: bool = False

    def __post_init__(self) -> None:
        if self.until_s is not None and self.until_s <= self.from_s:
            message = f"the end, {self.until_s:.0f} s, is not after the start, {self.from_s:.0f} s"
            raise DpuError(Reason.INVALID, message, field="--until", remedy="give a later time")

    def arrivals(self, pods: Iterable[TracePod], *, gpus: bool) -> list[Arrival]:
        """The pods that play a part."""
        found = []
        for pod in pods:
            shape = pod.shape(gpus=gpus)
            if self.at_once:
                found.append(Arrival(pod.name, shape, 0.0))
                continue
            start_s, end_s = pod.created_s or 0.0, pod.deleted_s
            if (end_s is not None and end_s <= self.from_s) or (self.until_s is not None and start_s > self.until_s):
                continue
            begin_s = max(start_s, self.from_s)
            found.append(Arrival(pod.name, shape, begin_s, None if end_s is None else max(end_s - begin_s, 0.0)))
        return found


def from_trace(
    pods: Sequence[TracePod], groups: Sequence[NodeGroup], base: Scenario, window: Window, *, gpus: bool
) -> Scenario:
    """A trace's pods, arriving at the pools; the machines of the pools are all to be added.

    Raises:
        DpuError: INVALID when no pod is left in the window.
    """
    arrivals = window.arrivals(pods, gpus=gpus)
    if not arrivals:
        remedy = "widen --from, --until or --role"
        raise DpuError(Reason.INVALID, "no pod of the trace is left to be simulated", field="--pods", remedy=remedy)
    until_s = window.until_s or HOLD_S if window.at_once else window.until_s
    return replace(base, arrivals=arrivals, groups=groups, until_s=until_s)


def from_dump(snapshot: Snapshot, base: Scenario, window: Window, *, repack: bool) -> Scenario:
    """A dump's cluster, played on from the moment of the dump, which becomes time 0.

    Args:
        snapshot: the dump with its pools.
        base: options and times.
        window: only its end counts.
        repack: start without machines: every pod that is not a machine's own waits for one.
    """
    pods = [_rebased(pod, snapshot.now_s) for pod in snapshot.pods if pod.phase not in _ENDED]
    if repack:
        pods = [replace(pod, node="", phase=Phase.PENDING) for pod in pods if not _is_machines_own(pod)]
        groups = [replace(group, target=0) for group in snapshot.groups]
        start = replace(snapshot, nodes=(), pods=tuple(pods), groups=(), bad=())
    else:
        groups = list(snapshot.groups)
        nodes = tuple(_node_rebased(node, snapshot.now_s) for node in snapshot.nodes)
        start = replace(snapshot, nodes=nodes, pods=tuple(pods), groups=(), bad=())
    return replace(base, groups=groups, start=start, until_s=window.until_s)


def groups_of(machines: Iterable[TraceMachine], *, gpus: bool) -> list[NodeGroup]:
    """A pool for each shape of machine in a trace, with as many machines as there are."""
    shapes = Counter(_shape_of(machine, gpus=gpus) for machine in machines)
    return [_group(machine, count) for machine, count in sorted(shapes.items(), key=lambda pair: pair[0].name)]


def nodes_of(machines: Iterable[TraceMachine], *, gpus: bool) -> list[Node]:
    """A trace's machines as empty nodes."""
    return [_node(machine if gpus else replace(machine, gpus=0)) for machine in machines]


def _shape_of(machine: TraceMachine, *, gpus: bool) -> TraceMachine:
    name = f"{machine.cpu_milli / 1000:g}c-{machine.memory_bytes / GIB:g}Gi"
    if not gpus or not machine.gpus:
        return TraceMachine(name, machine.cpu_milli, machine.memory_bytes)
    model = f"-{machine.gpus}x{machine.model or 'GPU'}"
    return replace(machine, name=name + model)


def _group(machine: TraceMachine, count: int) -> NodeGroup:
    template = replace(_node(machine), name=f"template-{machine.name}", group=machine.name)
    return NodeGroup(machine.name, 0, count, 0, template)


def _node(machine: TraceMachine) -> Node:
    amounts = {"cpu": machine.cpu_milli, "memory": machine.memory_bytes, "pods": PODS_A_NODE}
    if machine.gpus:
        amounts[GPU] = machine.gpus
    return Node(machine.name, amounts, amounts, {"model": machine.model} if machine.model else {})


def _is_machines_own(pod: Pod) -> bool:
    return pod.owner is not None and pod.owner.kind in {"DaemonSet", "Node"}


def _rebased(pod: Pod, now_s: float) -> Pod:
    created = None if pod.created_s is None else pod.created_s - now_s
    return replace(pod, created_s=created, deleted_s=None if pod.deleted_s is None else pod.deleted_s - now_s)


def _node_rebased(node: Node, now_s: float) -> Node:
    since, created = node.unready_since_s, node.created_s
    return replace(
        node,
        created_s=None if created is None else created - now_s,
        unready_since_s=None if since is None else since - now_s,
    )
