"""Why a node stays: every reason at once, and the smallest change against each."""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.cluster import Cluster, lay_out
from coordinator.core.pool.decide import remedy_of
from coordinator.core.pool.drain import pods_to_move
from coordinator.core.pool.drain_rules import REMEDIES, DrainContext, default_rules
from coordinator.core.pool.eligibility import reasons_against
from coordinator.core.pool.model import Pod
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.removal import Removal, Unremovable
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.state import PoolState
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why the node stays, and what would lift it."""

    reason: str
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class NodeExplanation:
    """All obstacles, and a place for each pod that has one.

    Attributes:
        moves: pod key to node, for the pods that would have to move and can.
    """

    node: str
    obstacles: tuple[Obstacle, ...]
    moves: dict[str, str]
    sentence: str


def explain_node(snapshot: Snapshot, name: str, options: PoolOptions) -> NodeExplanation:
    """Look at everything that could keep a node; timers are left out, since they pass by themselves.

    Raises:
        DpuError: NOT_FOUND when the snapshot has no such node.
    """
    node = next((one for one in snapshot.nodes if one.name == name), None)
    if node is None:
        raise DpuError(Reason.NOT_FOUND, f"no node {name}", field="node", remedy="list the nodes")
    cluster = lay_out(snapshot, expendable_below=options.up.expendable_below, upcoming=False)
    at = cluster.arena.index[name]
    pods = list(cluster.arena.residents[at].values())
    obstacles = [_obstacle(one) for one in reasons_against(snapshot, node, pods, PoolState(), options.down)]
    context = DrainContext(BudgetTracker(snapshot.budgets), snapshot.now_s, options.down.drain, snapshot.controllers)
    movable, blocked = _judged(pods, context)
    moves, homeless = _places(cluster, movable, at)
    obstacles += [*blocked, *homeless]
    if obstacles:
        others = f" (and {len(obstacles) - 1} more)" if len(obstacles) > 1 else ""
        sentence = f"{name} stays: {obstacles[0].sentence}{others}"
    else:
        sentence = f"{name} can go: {len(moves)} pods fit elsewhere"
    return NodeExplanation(name, tuple(obstacles), moves, sentence)


def _judged(pods: Sequence[Pod], context: DrainContext) -> tuple[list[Pod], list[Obstacle]]:
    """Pods that would have to move, and an obstacle for each pod that forbids it."""
    rules = default_rules(context.options)
    movable: list[Pod] = []
    obstacles: list[Obstacle] = []
    for pod in pods:
        found = pods_to_move([pod], rules, context)
        movable += found.move
        if found.blocked is not None:
            blocker = found.blocked.blocker
            obstacles.append(Obstacle(blocker.value, found.blocked.sentence, REMEDIES[blocker]))
        for awaited in found.awaited:
            sentence, reason = f"{awaited.key} is to complete first", Unremovable.ON_COMPLETION.value
            obstacles.append(Obstacle(reason, sentence, "wait until it has completed"))
    return movable, obstacles


def _places(cluster: Cluster, pods: Sequence[Pod], at: int) -> tuple[dict[str, str], list[Obstacle]]:
    """A node for each pod in turn, the first with room, and an obstacle for each pod without."""
    arena, predicates = cluster.arena, cluster.predicates
    mark = arena.mark()
    arena.evacuate(pods, at)
    arena.close(at)
    moves: dict[str, str] = {}
    obstacles: list[Obstacle] = []
    for pod in pods:
        fitting = predicates.feasible(pod.shape).nonzero()[0]
        if len(fitting):
            arena.seat(pod, int(fitting[0]))
            moves[pod.key] = arena.names[int(fitting[0])]
        else:
            obstacles.append(_homeless(cluster, pod, at))
    arena.back_to(mark)
    return moves, obstacles


def _homeless(cluster: Cluster, pod: Pod, at: int) -> Obstacle:
    arena = cluster.arena
    others = [other for other in range(arena.size) if other != at and arena.open[other]]
    if not others:
        return Obstacle(Unremovable.NO_PLACE.value, f"there is no other node for {pod.key}", "add a node")
    refused = [(cluster.predicates.refusals(pod.shape, other), arena.names[other]) for other in others]
    closest, name = min(refused, key=lambda pair: (len(pair[0]), sum(one.lack for one in pair[0]), pair[1]))
    sentence = f"no other node has room for {pod.key}; closest is {name}: {closest[0].sentence}"
    return Obstacle(Unremovable.NO_PLACE.value, sentence, "; ".join(refusal.remedy for refusal in closest))


def _obstacle(kept: Removal) -> Obstacle:
    reason = kept.reason or Unremovable.NO_REASON
    return Obstacle(reason.value, kept.sentence, remedy_of(kept))
