"""A snapshot laid out for simulation: nodes with their pods, and the nodes that are on their way."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.core.pool.arena import Arena
from coordinator.core.pool.model import Node, NodeGroup, Phase, Pod
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.snapshot import Snapshot

_ENDED = {Phase.SUCCEEDED, Phase.FAILED}


@dataclass(slots=True)
class Cluster:
    """Arena and filters over one snapshot.

    Attributes:
        upcoming: nodes per group that were asked for and have not joined yet.
    """

    arena: Arena
    predicates: Predicates
    upcoming: Mapping[str, int] = field(default_factory=dict)


def lay_out(snapshot: Snapshot, *, expendable_below: int, upcoming: bool) -> Cluster:
    """Seat the scheduled pods on the ready nodes.

    Args:
        snapshot: what was observed.
        expendable_below: pods of lower priority take no room, since others would displace them.
        upcoming: add an empty node for each one that a group still waits for.
    """
    arena = Arena()
    for node in snapshot.nodes:
        at = arena.add(node)
        if node.name in snapshot.deleting:
            arena.close(at)
    for pod in snapshot.pods:
        at = arena.index.get(pod.node, -1)
        if at >= 0 and pod.phase not in _ENDED and pod.priority >= expendable_below:
            arena.seat(pod, at)
    coming = _add_upcoming(arena, snapshot) if upcoming else {}
    return Cluster(arena, Predicates(arena), coming)


def _add_upcoming(arena: Arena, snapshot: Snapshot) -> dict[str, int]:
    coming = {}
    for group in snapshot.groups:
        if group.template is None:
            continue
        coming[group.name] = missing(snapshot, group)
        for number in range(coming[group.name]):
            add_fresh(arena, group, group.template, f"upcoming-{number}.{group.name}")
    return coming


def add_fresh(arena: Arena, group: NodeGroup, template: Node, name: str) -> int:
    """Add an empty node of a group, with its daemon-set pods; returns its index."""
    at = arena.add(template, name)
    for pod in group.daemon_pods:
        arena.put(pod.shape, at)
    return at


def missing(snapshot: Snapshot, group: NodeGroup) -> int:
    """How many nodes the group was told to have that are not there yet."""
    present = sum(node.group == group.name and node.name not in snapshot.deleting for node in snapshot.nodes)
    return max(group.target - present, 0)


def ready_nodes(snapshot: Snapshot) -> list[Node]:
    """Nodes that are ready and stay."""
    return [node for node in snapshot.nodes if node.ready and node.name not in snapshot.deleting]


def needs_room(pod: Pod, expendable_below: int) -> bool:
    """Whether a pending pod may cause a scale-up."""
    return not pod.node and pod.deleted_s is None and pod.phase not in _ENDED and pod.priority >= expendable_below
