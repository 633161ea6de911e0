"""One loop's decision: what to add, what to remove, and why nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coordinator.core.pool.cluster import Cluster, lay_out, needs_room, ready_nodes
from coordinator.core.pool.drain_rules import REMEDIES
from coordinator.core.pool.expanders import GPU_SUFFIX
from coordinator.core.pool.health import HealthOptions
from coordinator.core.pool.model import Node, Pod
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.pending import by_shape, equivalence_groups, without_room
from coordinator.core.pool.removal import Removal, Unremovable
from coordinator.core.pool.scaledown import ScaleDown, plan_scale_down
from coordinator.core.pool.scaleup import GROUP_REMEDIES, ScaleUp, ScaleUpPlanner
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.state import PoolState, forget_old_failures
from coordinator.core.pool.watch import Watch


@dataclass(frozen=True)
class Growth:
    """A group's new target size."""

    group: str
    add: int
    target: int


@dataclass(frozen=True)
class Departure:
    """A node to delete, and where its pods have room (pod key to node)."""

    node: str
    group: str
    moves: Mapping[str, str] = field(default_factory=dict)
    risky: bool = False
    sentence: str = ""


@dataclass(frozen=True)
class Verdict:
    """Why something is not done, and the smallest change that would let it happen."""

    reason: str
    sentence: str
    remedy: str = ""


@dataclass(frozen=True)
class Decision:
    """All that one loop decided, plain enough to be written down and compared.

    Attributes:
        sentence: the log line, the event and the condition message.
        grow, remove: what to do.
        fits: node found for each pending pod that needs no new one.
        helped: pending pods for which the new nodes are meant.
        pods: why a pending pod cannot be helped, a sentence per node group.
        nodes: why a node stays.
        groups: why a group was no option.
        left_out: objects with errors.
        state: what the next loop must be given.
    """

    now_s: float
    sentence: str
    grow: tuple[Growth, ...] = ()
    remove: tuple[Departure, ...] = ()
    fits: Mapping[str, str] = field(default_factory=dict)
    helped: tuple[str, ...] = ()
    pods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    nodes: Mapping[str, Verdict] = field(default_factory=dict)
    groups: Mapping[str, Verdict] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    state: PoolState = field(default_factory=PoolState)


def decide(
    snapshot: Snapshot,
    state: PoolState,
    options: PoolOptions,
    watch: Watch | None = None,
) -> Decision:
    """Decide one loop.

    Args:
        snapshot: what was observed; the order in which it arrived does not matter.
        state: what the last decision returned, updated with what became of its actions.
        options: settings.
        watch: says when a part has taken too long; the decision is then made from what is known by then.
    """
    watch = watch or Watch()
    left_out = tuple(str(one) for one in snapshot.bad)
    state = forget_old_failures(state, snapshot.now_s, options.up)
    unready = options.health.unready(snapshot.nodes, snapshot.now_s)
    if options.health.too_many(unready, len(snapshot.nodes)):
        sentence = f"{unready} of {len(snapshot.nodes)} nodes are not ready: nothing is added or removed"
        calm = replace(state, unneeded_since={})
        return Decision(snapshot.now_s, sentence, left_out=left_out, state=calm)
    snapshot = with_health(snapshot, options.health)
    below = options.up.expendable_below
    cluster = lay_out(snapshot, expendable_below=below, upcoming=True)
    pending = [pod for pod in snapshot.pending if needs_room(pod, below)]
    left, fits = without_room(cluster, pending)
    too_new = _too_new(snapshot, options)
    planner = ScaleUpPlanner(snapshot, cluster, state, options.up, seed=options.seed, watch=watch)
    up = _scale_up(planner, snapshot, left, options, too_new=too_new)
    barred = "pending pods may still grow in number" if too_new else _cooling(state, up, snapshot.now_s, options)
    down = _scale_down(snapshot, fits, state, options, barred, watch) if options.down.enabled else None
    return _conclude(snapshot, up, down, fits, left_out, state)


def with_health(snapshot: Snapshot, health: HealthOptions) -> Snapshot:
    """Groups with too many unready nodes do not grow."""
    of: dict[str, list[Node]] = {group.name: [] for group in snapshot.groups}
    for node in snapshot.nodes:
        of.setdefault(node.group, []).append(node)
    ill = {name for name, own in of.items() if health.too_many(health.unready(own, snapshot.now_s), len(own))}
    if not ill:
        return snapshot
    groups = tuple(replace(one, healthy=False) if one.name in ill else one for one in snapshot.groups)
    return replace(snapshot, groups=groups)


def _too_new(snapshot: Snapshot, options: PoolOptions) -> bool:
    """Whether even the oldest pending pod, or the oldest with an accelerator, is so new that more may come."""
    born: dict[bool, list[float]] = {False: [], True: []}
    for pod in snapshot.pending:
        if pod.created_s is not None:
            born[any(name.endswith(GPU_SUFFIX) for name, _ in pod.shape.requests)].append(pod.created_s)
    limits = ((born[False] + born[True], options.up.new_pod_age_s), (born[True], options.up.new_gpu_pod_age_s))
    return any(times and snapshot.now_s - min(times) < age_s for times, age_s in limits)


def _scale_up(
    planner: ScaleUpPlanner, snapshot: Snapshot, left: list[Pod], options: PoolOptions, *, too_new: bool
) -> ScaleUp:
    if too_new:
        return ScaleUp(sentence="waiting for pending pods to come together")
    most = options.up.max_nodes
    if left and most and len(ready_nodes(snapshot)) >= most:
        return ScaleUp(sentence=f"{len(left)} pending pods, and the cluster has its maximum of {most} nodes")
    return planner.plan(by_shape(equivalence_groups(left)))


def _cooling(state: PoolState, up: ScaleUp, now_s: float, options: PoolOptions) -> str:
    """Why nothing may be deleted now; empty when it may."""
    if up.shares:
        return "nodes are being added in this loop"
    down = options.down
    waits = (
        (state.added_s, down.delay_after_add_s, "nodes were added"),
        (state.add_failed_s, down.delay_after_failure_s, "adding nodes failed"),
        (state.deleted_s, down.delay_after_delete_s, "a node was deleted"),
    )
    for since_s, wait_s, what in waits:
        if since_s is not None and now_s < since_s + wait_s:
            return f"{what} {now_s - since_s:.0f} s ago, nothing is removed for {wait_s:.0f} s"
    return ""


def _scale_down(
    snapshot: Snapshot,
    fits: Mapping[str, str],
    state: PoolState,
    options: PoolOptions,
    barred: str,
    watch: Watch,
) -> ScaleDown:
    cluster = lay_out(snapshot, expendable_below=options.up.expendable_below, upcoming=False)
    _reserve(cluster, snapshot, fits)
    return plan_scale_down(snapshot, cluster, state, options.down, seed=options.seed, barred=barred, watch=watch)


def _reserve(cluster: Cluster, snapshot: Snapshot, fits: Mapping[str, str]) -> None:
    """Room that pending pods will take is not free for the pods of leaving nodes."""
    for pod in snapshot.pending:
        at = cluster.arena.index.get(fits.get(pod.key, ""), -1)
        if at >= 0:
            cluster.arena.put(pod.shape, at)


def _conclude(
    snapshot: Snapshot,
    up: ScaleUp,
    down: ScaleDown | None,
    fits: Mapping[str, str],
    left_out: tuple[str, ...],
    state: PoolState,
) -> Decision:
    groups = {node.name: node.group for node in snapshot.nodes}
    now = down.now if down is not None else ()
    return Decision(
        now_s=snapshot.now_s,
        sentence="; ".join([up.sentence, *([down.sentence] if down is not None else [])]),
        grow=tuple(Growth(share.group.name, share.added, share.target) for share in up.shares),
        remove=tuple(
            Departure(one.node, groups[one.node], {m.pod.key: m.to for m in one.moves}, one.risky, one.sentence)
            for one in now
        ),
        fits=dict(sorted(fits.items())),
        helped=tuple(sorted(up.helped)),
        pods=dict(sorted(up.refused.items())),
        nodes={one.node: _verdict(one) for one in (down.kept if down is not None else ())},
        groups={one.group: Verdict(one.reason.value, one.sentence, GROUP_REMEDIES[one.reason]) for one in up.skipped},
        left_out=left_out,
        state=down.state if down is not None else state,
    )


def _verdict(kept: Removal) -> Verdict:
    reason = kept.reason or Unremovable.NO_REASON
    return Verdict(reason.value, kept.sentence, remedy_of(kept))


def remedy_of(kept: Removal) -> str:
    """The smallest change that would let the node go."""
    if kept.blocked is not None:
        return REMEDIES[kept.blocked.blocker]
    remedies = {
        Unremovable.DISABLED_ANNOTATION: "remove the annotation",
        Unremovable.NOT_AUTOSCALED: "add the node to a pool",
        Unremovable.NOT_UNDERUTILISED: "raise the utilisation threshold, or move pods away",
        Unremovable.UNEXPECTED: "correct the object that was left out",
        Unremovable.GROUP_MINIMUM: "lower the group's minimum",
        Unremovable.CLUSTER_MINIMUM: "lower the cluster's minimum",
        Unremovable.NO_PLACE: "free room on other nodes, or lower the pods' requests",
        Unremovable.GROUP_DELETIONS: "wait for the deletions under way, or raise max_parallel or max_drain",
        Unremovable.ATOMIC_FAILED: "free the group's other nodes too",
    }
    return remedies.get(kept.reason or Unremovable.NO_REASON, "wait")
