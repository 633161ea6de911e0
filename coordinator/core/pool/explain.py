"""Why a pod is pending: every reason on every node and group, and the smallest change that would help."""

from dataclasses import dataclass

from coordinator.core.pool.cluster import Cluster, add_fresh, lay_out
from coordinator.core.pool.decide import with_health
from coordinator.core.pool.model import NodeGroup, Pod
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.predicates import Filter, Refusal
from coordinator.core.pool.scaleup import GROUP_REMEDIES, ScaleUpPlanner, SkippedGroup
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.state import PoolState
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class Place:
    """A node, or a new node of a group, and its reasons against the pod; none means that the pod fits."""

    name: str
    new: bool
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class PodExplanation:
    """All places looked at, and the one that needs least change.

    Attributes:
        closest: place with the fewest reasons against the pod, of these the one that lacks least.
        remedies: what would have to be changed there.
    """

    pod: str
    places: tuple[Place, ...]
    closest: str
    remedies: tuple[str, ...]
    sentence: str


def _distance(place: Place) -> tuple[int, float, bool, str]:
    """Fewest reasons first, then the least that is lacking, then nodes that are there already."""
    return len(place.refusals), sum(refusal.lack for refusal in place.refusals), place.new, place.name


def explain_pod(snapshot: Snapshot, key: str, options: PoolOptions) -> PodExplanation:
    """Look at every node and every group for one pod.

    Raises:
        DpuError: NOT_FOUND when the snapshot has no such pod.
    """
    pod = next((one for one in snapshot.pods if one.key == key), None)
    if pod is None:
        raise DpuError(Reason.NOT_FOUND, f"no pod {key}", field="pod", remedy="write it as namespace/name")
    if pod.node:
        return PodExplanation(key, (), pod.node, (), f"{key} runs on {pod.node}")
    snapshot = with_health(snapshot, options.health)
    cluster = lay_out(snapshot, expendable_below=options.up.expendable_below, upcoming=False)
    arena, predicates = cluster.arena, cluster.predicates
    places = [
        Place(name, new=False, refusals=tuple(predicates.refusals(pod.shape, at)))
        for at, name in enumerate(arena.names)
    ]
    planner = ScaleUpPlanner(snapshot, cluster, PoolState(), options.up, seed=options.seed)
    places += [_new_node(cluster, group, pod, planner.skip(group)) for group in snapshot.groups]
    if not places:
        return PodExplanation(key, (), "", ("add a node group",), f"{key} waits: there are no nodes and no groups")
    best = min(places, key=_distance)
    remedies = tuple(refusal.remedy for refusal in best.refusals)
    where = f"a new node of {best.name}" if best.new else best.name
    if not best.refusals:
        return PodExplanation(key, tuple(places), best.name, (), f"{key} fits {where}")
    sentence = f"{key} fits none of {len(places)} places; closest is {where}: {best.refusals[0].sentence}"
    return PodExplanation(key, tuple(places), best.name, remedies, sentence)


def _new_node(cluster: Cluster, group: NodeGroup, pod: Pod, skipped: SkippedGroup | None) -> Place:
    """A new node of a group: what the scheduler would have against it, and what keeps it from coming at all."""
    found: list[Refusal] = []
    if skipped is not None:
        found.append(Refusal(Filter.GROUP, skipped.sentence, GROUP_REMEDIES[skipped.reason]))
    if group.template is not None:
        mark = cluster.arena.mark()
        at = add_fresh(cluster.arena, group, group.template, f"new node of {group.name}")
        found += cluster.predicates.refusals(pod.shape, at)
        cluster.arena.back_to(mark)
    return Place(group.name, new=True, refusals=tuple(found))
