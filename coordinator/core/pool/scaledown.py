"""Which nodes are unneeded, which of them go now, and why all the others stay.

Source: cluster-autoscaler core/scaledown/planner/planner.go (1.36).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.cluster import Cluster
from coordinator.core.pool.deletion import DeletionPlanner
from coordinator.core.pool.drain_rules import DrainContext, is_daemon, is_mirror
from coordinator.core.pool.eligibility import ineligible
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.options import ScaleDownOptions
from coordinator.core.pool.removal import Removal, Unremovable
from coordinator.core.pool.removals import simulate_removals
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.state import PoolState
from coordinator.core.pool.watch import Limit, Watch

_LONG_TERM = {Unremovable.BLOCKED, Unremovable.NO_PLACE, Unremovable.ON_COMPLETION}


@dataclass(frozen=True, slots=True)
class ScaleDown:
    """What a scale-down decision found.

    Attributes:
        now: removals to carry out, each with a place for every pod.
        kept: every other node with its reason.
        state: timers and hints for the next loop.
    """

    now: tuple[Removal, ...]
    kept: tuple[Removal, ...]
    state: PoolState
    sentence: str


def plan_scale_down(
    snapshot: Snapshot,
    cluster: Cluster,
    state: PoolState,
    options: ScaleDownOptions,
    *,
    seed: int = 0,
    barred: str = "",
    watch: Watch | None = None,
) -> ScaleDown:
    """Find unneeded nodes, keep their timers, and choose those to delete.

    Args:
        snapshot: what was observed.
        cluster: its nodes with their pods seated; changed by the simulation.
        state: timers of earlier loops.
        options: settings.
        seed: for the orders tried in small clusters.
        barred: why nothing may be deleted in this loop; timers run on all the same.
        watch: asked after each node; once the time is up, the rest is not inspected.
    """
    kept: dict[str, Removal] = {}
    eligible: list[str] = []
    for node in snapshot.nodes:
        residents = cluster.arena.residents[cluster.arena.index[node.name]].values()
        refused = ineligible(snapshot, node, residents, state, options)
        if refused is None:
            eligible.append(node.name)
        else:
            kept[node.name] = refused
    context = DrainContext(BudgetTracker(snapshot.budgets), snapshot.now_s, options.drain, snapshot.controllers)
    watch = watch or Watch()
    found = _simulate(cluster, context, _in_order(cluster, eligible, state), state, options, seed, watch)
    removable = [one for one in found if one.removable]
    kept |= {one.node: one for one in found if not one.removable}
    inspected = {one.node for one in found}
    why = "the time was up" if Limit.SIMULATION.value in watch.cuts else "enough nodes were found"
    for name in eligible:
        if name not in inspected:
            sentence = f"{name} was not inspected in this loop, {why}"
            kept[name] = Removal(name, Unremovable.NOT_INSPECTED, sentence)
    after = _remember(snapshot, state, options, removable, found)
    now, waiting = DeletionPlanner(snapshot, after.unneeded_since, options).choose(removable)
    if barred:
        waiting += [replace(one, reason=Unremovable.NOT_INSPECTED, sentence=barred) for one in now]
        now = []
    kept |= {one.node: one for one in waiting}
    sentence = f"remove {', '.join(one.node for one in now)}" if now else barred or "no node is to go"
    return ScaleDown(tuple(now), tuple(kept[name] for name in sorted(kept)), after, sentence)


def _in_order(cluster: Cluster, eligible: Sequence[str], state: PoolState) -> list[str]:
    """Empty nodes first, then those found unneeded before, then the rest; each in the order of their names."""

    def rank(name: str) -> int:
        pods = cluster.arena.residents[cluster.arena.index[name]].values()
        empty = all(is_daemon(pod) or is_mirror(pod) for pod in pods)
        return 0 if empty else 1 if name in state.unneeded_since else 2

    return sorted(eligible, key=rank)


def _simulate(
    cluster: Cluster,
    context: DrainContext,
    candidates: Sequence[str],
    state: PoolState,
    options: ScaleDownOptions,
    seed: int,
    watch: Watch,
) -> list[Removal]:
    limit = _enough(len(state.unneeded_since), options)
    found: list[Removal] = []
    trials = simulate_removals(
        cluster.arena,
        cluster.predicates,
        context,
        candidates,
        hints=dict(state.hints),
        limit=limit if limit < len(candidates) else None,
        seed=seed,
        tight=options.packing is Packing.TIGHT,
    )
    for removal in trials:
        found.append(removal)
        if watch.over(Limit.SIMULATION):
            break
    return found


def _enough(known: int, options: ScaleDownOptions) -> int:
    """How many unneeded nodes are worth knowing, given how fast they can be deleted."""
    parallel = options.max_parallel
    by_time = int(parallel * (options.unneeded_s / options.loop_s)) + parallel
    return min(known + 2 * parallel, by_time)


def _remember(
    snapshot: Snapshot,
    state: PoolState,
    options: ScaleDownOptions,
    removable: Sequence[Removal],
    found: Sequence[Removal],
) -> PoolState:
    """Timers run on for nodes found unneeded again; those that cannot go are left alone for a while."""
    now_s = snapshot.now_s
    present = {node.name for node in snapshot.nodes}
    recheck = {name: at for name, at in state.recheck_after.items() if at > now_s and name in present}
    recheck |= {one.node: now_s + options.recheck_s for one in found if one.reason in _LONG_TERM}
    return replace(
        state,
        unneeded_since={one.node: state.unneeded_since.get(one.node, now_s) for one in removable},
        recheck_after=recheck,
        hints={move.pod.key: move.to for one in removable for move in one.moves},
    )
