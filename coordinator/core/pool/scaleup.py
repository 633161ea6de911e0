"""Which nodes to add for pods that fit nowhere, and why others were not.

Source: cluster-autoscaler core/scaleup/orchestrator/orchestrator.go (1.36).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from coordinator.core.pool.allowance import NodeAllowance
from coordinator.core.pool.cluster import Cluster, add_fresh
from coordinator.core.pool.estimator import Demand, Estimate, Packing, estimate
from coordinator.core.pool.expanders import (
    ExpanderContext,
    ExpanderName,
    Option,
    at_random,
    chain_of,
    choose,
)
from coordinator.core.pool.model import Node, NodeGroup, Pod
from coordinator.core.pool.options import ScaleUpOptions
from coordinator.core.pool.pending import PendingGroup
from coordinator.core.pool.quotas import nodes_within, totals_of
from coordinator.core.pool.seeds import SplitMix
from coordinator.core.pool.similar import Share, are_similar, balance
from coordinator.core.pool.snapshot import Snapshot
from coordinator.core.pool.state import PoolState
from coordinator.core.pool.tight import estimate_tightly
from coordinator.core.pool.watch import Limit, Watch


class Skipped(Enum):
    """Why a node group cannot grow now."""

    UNHEALTHY = "NotHealthy"
    BACKOFF = "InBackoff"
    AT_MAXIMUM = "MaxSizeReached"
    NO_TEMPLATE = "NoTemplate"
    QUOTA = "MaxResourceLimitReached"
    NO_POD_FITS = "NoPodFits"
    OUT_OF_TIME = "OutOfTime"


GROUP_REMEDIES: dict[Skipped, str] = {
    Skipped.UNHEALTHY: "repair its nodes that are not ready",
    Skipped.BACKOFF: "wait, and see why its machines did not come",
    Skipped.AT_MAXIMUM: "raise its maximum, or add servers that its rules fit",
    Skipped.NO_TEMPLATE: "add a server with known hardware that its rules fit, or correct its template",
    Skipped.QUOTA: "raise the cluster's quota",
    Skipped.NO_POD_FITS: "change the pods or the pool's machines",
    Skipped.OUT_OF_TIME: "raise the limits of time",
}
"""The smallest change that would let a group grow."""


@dataclass(frozen=True, slots=True)
class SkippedGroup:
    """A group that was no option, with the reason in a sentence."""

    group: str
    reason: Skipped
    sentence: str


@dataclass(frozen=True, slots=True)
class ScaleUp:
    """What a scale-up decision found.

    Attributes:
        shares: groups and their new targets; empty when nothing is to be added.
        helped: keys of the pods that will find room.
        refused: per pod key that no group helps, why, in sentences.
    """

    shares: tuple[Share, ...] = ()
    helped: tuple[str, ...] = ()
    skipped: tuple[SkippedGroup, ...] = ()
    options: tuple[tuple[str, int, int], ...] = ()
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sentence: str = "no pending pod needs a new node"


class ScaleUpPlanner:
    """Plans one scale-up for groups of pods without room.

    Args:
        snapshot: what was observed.
        cluster: its nodes, with the pods that have room already seated.
        state: back-offs.
        options: settings.
        seed: decides between options that are equally good.
        watch: asked before each estimate, and in it before each node; late ones are cut short.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        cluster: Cluster,
        state: PoolState,
        options: ScaleUpOptions,
        *,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._cluster = cluster
        self._state = state
        self._options = options
        self._seed = seed
        self._watch = watch or Watch()
        self._present = totals_of(snapshot.nodes)
        for group in snapshot.groups:
            self._count_upcoming(group)

    def _count_upcoming(self, group: NodeGroup) -> None:
        coming = self._cluster.upcoming.get(group.name, 0)
        for resource, amount in (group.template.capacity if group.template else {}).items():
            self._present[resource] = self._present.get(resource, 0) + amount * coming

    def plan(self, pending: Sequence[PendingGroup]) -> ScaleUp:
        """Pick the best group for these pods and say how far it should grow."""
        if not pending:
            return ScaleUp()
        skipped: list[SkippedGroup] = []
        fitting: dict[str, list[int]] = {}
        for group in self._snapshot.groups:
            skip = self.skip(group)
            if skip is None:
                fitting[group.name] = self._members(group, pending)
                if not fitting[group.name]:
                    sentence = f"no pending pod fits a new node of {group.name}"
                    skip = SkippedGroup(group.name, Skipped.NO_POD_FITS, sentence)
            if skip is not None:
                skipped.append(skip)
        found: list[tuple[Option, Estimate, list[int]]] = []
        for group in self._snapshot.groups:
            members = fitting.get(group.name)
            if not members:
                continue
            if self._watch.over(Limit.ESTIMATES):
                sentence = f"{group.name} was not estimated, the time was up"
                skipped.append(SkippedGroup(group.name, Skipped.OUT_OF_TIME, sentence))
                continue
            estimated = self._estimate(group, [pending[at] for at in members], fitting)
            if estimated.nodes:
                demands = tuple((pending[at].shape, n) for at, n in zip(members, estimated.placed, strict=True) if n)
                found.append((Option(group, estimated.nodes, demands), estimated, members))
        return self._conclude(pending, found, skipped, fitting)

    def _conclude(
        self,
        pending: Sequence[PendingGroup],
        found: list[tuple[Option, Estimate, list[int]]],
        skipped: list[SkippedGroup],
        fitting: Mapping[str, list[int]],
    ) -> ScaleUp:
        refused = self._refusals(pending, fitting, skipped)
        tried = tuple((option.group.name, option.nodes, option.pods) for option, _, _ in found)
        chosen = self._choose([option for option, _, _ in found])
        if chosen is None:
            pods = sum(len(group.pods) for group in pending)
            sentence = f"{pods} pending pods, and no node group can help"
            return ScaleUp(skipped=tuple(skipped), options=tried, refused=refused, sentence=sentence)
        shares = self._share(chosen, fitting)
        _, estimated, members = next(one for one in found if one[0] is chosen)
        helped = [pod.key for at, n in zip(members, estimated.placed, strict=True) for pod in pending[at].pods[:n]]
        grown = ", ".join(f"{share.group.name} by {share.added} to {share.target}" for share in shares)
        sentence = f"grow {grown} for {len(helped)} pending pods" if shares else "quotas allow no more nodes"
        return ScaleUp(shares, tuple(helped) if shares else (), tuple(skipped), tried, refused, sentence)

    def skip(self, group: NodeGroup) -> SkippedGroup | None:
        """Why a group cannot grow, whatever the pods; None when it can."""
        name = group.name
        if not group.healthy:
            return SkippedGroup(name, Skipped.UNHEALTHY, f"{name} is not healthy: too many of its nodes are not ready")
        if self._state.backing_off(name, self._snapshot.now_s):
            return SkippedGroup(name, Skipped.BACKOFF, f"{name} failed to grow lately and is in back-off")
        if group.target >= group.maximum:
            return SkippedGroup(name, Skipped.AT_MAXIMUM, f"{name} has reached its maximum of {group.maximum} nodes")
        if group.template is None:
            return SkippedGroup(name, Skipped.NO_TEMPLATE, f"{name} has no template: its nodes are unknown")
        least = group.maximum - group.target if group.options.zero_or_max else 1
        allowed, resource = nodes_within(self._options.quotas, self._present, group.template, least)
        if allowed < least:
            return SkippedGroup(name, Skipped.QUOTA, f"one more node of {name} exceeds the cluster's {resource} quota")
        return None

    def _members(self, group: NodeGroup, pending: Sequence[PendingGroup]) -> list[int]:
        """Pods groups whose first pod fits an empty node of the group."""
        if group.template is None:
            return []
        arena = self._cluster.arena
        mark = arena.mark()
        try:
            at = add_fresh(arena, group, group.template, f"template-{group.name}")
            return [n for n, one in enumerate(pending) if self._cluster.predicates.fits(one.shape, at)]
        finally:
            arena.back_to(mark)

    def _estimate(
        self, group: NodeGroup, pending: Sequence[PendingGroup], fitting: Mapping[str, list[int]]
    ) -> Estimate:
        template = group.template
        if template is None:
            return Estimate(0, ())
        room = sum(one.maximum - one.target for one in [group, *self._similar(group, fitting)])
        limits = [self._options.max_nodes_per_step, self._room_in_cluster(), room]
        demands = [Demand(one.shape, len(one.pods)) for one in pending]
        arena, predicates = self._cluster.arena, self._cluster.predicates
        allowance = NodeAllowance(limits, lambda: self._watch.over(Limit.ESTIMATE, group.name))
        if self._options.packing is Packing.TIGHT:
            return estimate_tightly(arena, predicates, template, demands, allowance, daemon_pods=group.daemon_pods)
        return estimate(
            arena,
            predicates,
            template,
            demands,
            allowance,
            daemon_pods=group.daemon_pods,
            fast_path=self._options.fast_path,
        )

    def _room_in_cluster(self) -> int:
        """Nodes that the cluster may still gain: 0 without a limit, negative when there is no room."""
        if not self._options.max_nodes:
            return 0
        return self._options.max_nodes - len(self._snapshot.nodes) - sum(self._cluster.upcoming.values()) or -1

    def _choose(self, options: Sequence[Option]) -> Option | None:
        names = [name for name in self._options.expanders if isinstance(name, ExpanderName)]
        size = len(self._snapshot.nodes)
        context = ExpanderContext(size, self._options.priorities, self._options.prices)
        return choose(options, chain_of(names), context, at_random(SplitMix(self._seed)))

    def _similar(self, group: NodeGroup, fitting: Mapping[str, list[int]]) -> list[NodeGroup]:
        if not self._options.balance or group.options.zero_or_max or group.template is None:
            return []
        return [
            other
            for other in self._snapshot.groups
            if other.name != group.name
            and other.template is not None
            and not other.options.zero_or_max
            and self.skip(other) is None
            and are_similar(group.template, other.template)
            and set(fitting.get(group.name, ())) <= set(fitting.get(other.name, ()))
        ]

    def _share(self, chosen: Option, fitting: Mapping[str, list[int]]) -> tuple[Share, ...]:
        group, template = chosen.group, chosen.group.template
        nodes = chosen.nodes
        if group.options.zero_or_max:
            nodes = group.maximum - group.target
        if template is not None:
            nodes = nodes_within(self._options.quotas, self._present, template, nodes)[0]
        room = self._room_in_cluster()
        nodes = min(nodes, max(room, 0)) if room else nodes
        if group.options.zero_or_max and group.target + nodes < group.maximum:
            return ()
        return tuple(balance([group, *self._similar(group, fitting)], nodes))

    def _refusals(
        self, pending: Sequence[PendingGroup], fitting: Mapping[str, list[int]], skipped: Sequence[SkippedGroup]
    ) -> dict[str, tuple[str, ...]]:
        """For pods that no group helps: why each group does not."""
        helped = {at for members in fitting.values() for at in members}
        reasons = {one.group: one.sentence for one in skipped}
        refused: dict[str, tuple[str, ...]] = {}
        for at, group in enumerate(pending):
            if at in helped:
                continue
            why = tuple(self._why_not(one, group.pods[0], reasons) for one in self._snapshot.groups)
            refused |= {pod.key: why for pod in group.pods}
        return refused

    def _why_not(self, group: NodeGroup, pod: Pod, reasons: Mapping[str, str]) -> str:
        template: Node | None = group.template
        if template is None or self.skip(group) is not None:
            return reasons.get(group.name, f"{group.name} cannot grow")
        arena = self._cluster.arena
        mark = arena.mark()
        try:
            at = add_fresh(arena, group, template, f"template-{group.name}")
            found = self._cluster.predicates.refusals(pod.shape, at)
        finally:
            arena.back_to(mark)
        return f"{group.name}: " + "; ".join(refusal.sentence for refusal in found)
