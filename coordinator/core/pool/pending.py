"""Pending pods: which of them already have room somewhere, and which belong together."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from coordinator.core.pool.arena import Mask
from coordinator.core.pool.cluster import Cluster
from coordinator.core.pool.dealing import deal
from coordinator.core.pool.drain_rules import is_daemon
from coordinator.core.pool.model import Pod
from coordinator.core.pool.scheduling import PodShape

MOST_GROUPS_PER_CONTROLLER = 10


@dataclass(frozen=True, slots=True)
class PendingGroup:
    """Pods that the scheduler cannot tell apart and that one controller made, or a single pod."""

    shape: PodShape
    pods: tuple[Pod, ...]


def equivalence_groups(pods: Iterable[Pod]) -> list[PendingGroup]:
    """Group pods by controller and shape, in order of first appearance.

    Pods without controller and daemon-set pods stand alone; so do the pods of a controller beyond its tenth shape.

    Source: cluster-autoscaler core/scaleup/equivalence/groups.go.
    """
    groups: dict[tuple[str, str, str, PodShape], list[Pod]] = {}
    shapes: Counter[tuple[str, str, str]] = Counter()
    alone: list[tuple[int, PendingGroup]] = []
    first: dict[tuple[str, str, str, PodShape], int] = {}
    for turn, pod in enumerate(pods):
        owner = pod.owner
        if owner is None or is_daemon(pod):
            alone.append((turn, PendingGroup(pod.shape, (pod,))))
            continue
        controller = pod.namespace, owner.kind, owner.uid or owner.name
        key = (*controller, pod.shape)
        if key not in groups:
            if shapes[controller] >= MOST_GROUPS_PER_CONTROLLER:
                alone.append((turn, PendingGroup(pod.shape, (pod,))))
                continue
            shapes[controller] += 1
            groups[key], first[key] = [], turn
        groups[key].append(pod)
    found = [(first[key], PendingGroup(key[3], tuple(members))) for key, members in groups.items()]
    return [group for _, group in sorted(found + alone, key=lambda one: one[0])]


def by_shape(groups: Iterable[PendingGroup]) -> list[PendingGroup]:
    """Groups of the same shape joined: what fits does not depend on who made the pod."""
    joined: dict[PodShape, list[Pod]] = {}
    for group in groups:
        joined.setdefault(group.shape, []).extend(group.pods)
    return [PendingGroup(shape, tuple(pods)) for shape, pods in joined.items()]


def without_room(cluster: Cluster, pods: Sequence[Pod]) -> tuple[list[Pod], dict[str, str]]:
    """Pods that fit no present or upcoming node; the others take their room in the arena.

    Higher priority first, as upstream. Among equals the larger come first, onto nodes in use, and only then onto empty
    ones, one after the other: as the estimate reckoned that has asked for these nodes, so that what it found to
    suffice suffices in the next loop, too.

    Returns:
        The pods left over, and the node found for each of the others by pod key.
    """
    left: list[Pod] = []
    placed: dict[str, str] = {}
    used = np.array(
        [any(not is_daemon(pod) for pod in seats.values()) for seats in cluster.arena.residents], dtype=bool
    )
    for shape, members in _largest_first(cluster, pods):
        local = cluster.predicates.is_local(shape)
        seats = _fill(cluster, shape, len(members), used) if local else _one_by_one(cluster, shape, len(members))
        used[seats] = True
        for pod, at in zip(members, seats, strict=False):
            placed[pod.key] = cluster.arena.names[at]
        left += members[len(seats) :]
    return left, placed


def _largest_first(cluster: Cluster, pods: Sequence[Pod]) -> Iterator[tuple[PodShape, list[Pod]]]:
    """Pods of one priority and shape, the more important first, then those that take a larger share of the cluster."""
    runs: dict[tuple[int, PodShape], list[Pod]] = {}
    for pod in pods:
        runs.setdefault((pod.priority, pod.shape), []).append(pod)
    rooms = [max(sum(node.allocatable.get(name, 0) for node in cluster.arena.nodes), 1) for name in ("cpu", "memory")]

    def rank(run: tuple[int, PodShape]) -> tuple[int, float]:
        return -run[0], -sum(takes / room for takes, room in zip(run[1].packing, rooms, strict=True))

    for run in sorted(runs, key=rank):
        yield run[1], runs[run]


def _fill(cluster: Cluster, shape: PodShape, pods: int, used: Mask) -> list[int]:
    room = cluster.predicates.room(shape)
    dealt = deal(np.where(used, room, 0), pods)
    rest = pods - int(dealt.sum())
    for at in np.flatnonzero(~used & (room > 0)):
        if not rest:
            break
        dealt[at] = min(rest, int(room[at]))
        rest -= int(dealt[at])
    for at in np.flatnonzero(dealt):
        cluster.arena.put(shape, int(at), int(dealt[at]))
    return [int(at) for at in np.repeat(np.arange(len(dealt)), dealt)]


def _one_by_one(cluster: Cluster, shape: PodShape, pods: int) -> list[int]:
    seats: list[int] = []
    while len(seats) < pods:
        mask = cluster.predicates.feasible(shape)
        if not mask.any():
            break
        at = int(mask.argmax())
        cluster.arena.put(shape, at)
        seats.append(at)
    return seats
