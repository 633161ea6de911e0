"""Which unneeded nodes to delete now: waiting times, minimum sizes, cluster minimums and budgets.

Source: cluster-autoscaler core/scaledown/unneeded/nodes.go and budgets/budgets.go.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from coordinator.core.pool.model import Node, NodeGroup
from coordinator.core.pool.options import ScaleDownOptions
from coordinator.core.pool.quotas import may_lose, totals_of
from coordinator.core.pool.removal import Removal, Unremovable
from coordinator.core.pool.snapshot import Snapshot


class DeletionPlanner:
    """Chooses among nodes that could go, empty ones first and risky ones last.

    Args:
        snapshot: what was observed.
        since_s: per unneeded node, since when.
        options: settings.
    """

    def __init__(self, snapshot: Snapshot, since_s: Mapping[str, float], options: ScaleDownOptions) -> None:
        self._snapshot = snapshot
        self._since_s = since_s
        self._options = options
        self._nodes = {node.name: node for node in snapshot.nodes}
        self._groups = {group.name: group for group in snapshot.groups}
        self._present = totals_of(node for node in snapshot.nodes if node.name not in snapshot.deleting)
        self._left = {group.name: group.target for group in snapshot.groups}
        drained = sum(snapshot.deleting.values())
        self._budget = max(options.max_parallel - len(snapshot.deleting), 0)
        self._drain_budget = max(options.max_drain - drained, 0)

    def choose(self, removals: Sequence[Removal]) -> tuple[list[Removal], list[Removal]]:
        """Removals to carry out now, and those that wait, each with its reason."""
        now: list[Removal] = []
        waiting: list[Removal] = []
        ordered = sorted(removals, key=lambda one: (bool(one.moves), one.risky))
        atomic: dict[str, list[Removal]] = {}
        for removal in ordered:
            group = self._groups[self._nodes[removal.node].group]
            if group.options.zero_or_max:
                atomic.setdefault(group.name, []).append(removal)
                continue
            kept = self._too_early(removal, group) or self._too_few(removal, group) or self._over_budget(removal)
            if kept is None:
                self._spend(removal, group)
            (now if kept is None else waiting).append(kept or removal)
        for name, members in atomic.items():
            self._all_or_none(self._groups[name], members, now, waiting)
        return now, waiting

    def _all_or_none(
        self, group: NodeGroup, members: Sequence[Removal], now: list[Removal], waiting: list[Removal]
    ) -> None:
        """A group that exists whole or not at all goes whole; the first to go may overdraw the budgets."""
        early = [kept for kept in (self._too_early(one, group) for one in members) if kept is not None]
        if early or len(members) < self._left[group.name] or group.minimum:
            sentence = f"{group.name} goes as a whole or not at all, and {len(members)} of {group.target} nodes could"
            waiting.extend(_keep(one, Unremovable.ATOMIC_FAILED, sentence) for one in members)
        elif self._budget <= 0 or (len(members) > self._budget and now):
            sentence = f"too many deletions are under way for the {len(members)} nodes of {group.name}"
            waiting.extend(_keep(one, Unremovable.GROUP_DELETIONS, sentence) for one in members)
        else:
            for one in members:
                self._spend(one, group)
            now.extend(members)

    def _too_early(self, removal: Removal, group: NodeGroup) -> Removal | None:
        node = self._nodes[removal.node]
        own = group.options
        for_s = self._snapshot.now_s - self._since_s.get(node.name, self._snapshot.now_s)
        if node.ready:
            wait_s = self._options.unneeded_s if own.unneeded_s is None else own.unneeded_s
            reason, word = Unremovable.NOT_UNNEEDED_LONG, "unneeded"
        else:
            wait_s = self._options.unready_s if own.unready_s is None else own.unready_s
            reason, word = Unremovable.NOT_UNREADY_LONG, "unready and unneeded"
            if node.unready_since_s is not None:
                for_s = min(for_s, self._snapshot.now_s - node.unready_since_s)
        if for_s >= wait_s:
            return None
        return _keep(removal, reason, f"{node.name} has been {word} for {for_s:.0f} s of {wait_s:.0f} s")

    def _too_few(self, removal: Removal, group: NodeGroup) -> Removal | None:
        node: Node = self._nodes[removal.node]
        if self._left[group.name] <= group.minimum:
            sentence = f"{group.name} would fall below its minimum of {group.minimum} nodes"
            return _keep(removal, Unremovable.GROUP_MINIMUM, sentence)
        resource = may_lose(self._options.minimums, self._present, node)
        if resource:
            sentence = f"the cluster would fall below its minimum of {resource} without {node.name}"
            return _keep(removal, Unremovable.CLUSTER_MINIMUM, sentence)
        return None

    def _over_budget(self, removal: Removal) -> Removal | None:
        if self._budget > 0 and (not removal.moves or self._drain_budget > 0):
            return None
        kind = "deletions" if self._budget <= 0 else "drains"
        sentence = f"{removal.node} waits: as many {kind} as allowed are under way"
        return _keep(removal, Unremovable.GROUP_DELETIONS, sentence)

    def _spend(self, removal: Removal, group: NodeGroup) -> None:
        self._left[group.name] -= 1
        self._budget -= 1
        self._drain_budget -= bool(removal.moves)
        for resource, amount in self._nodes[removal.node].capacity.items():
            self._present[resource] -= amount


def _keep(removal: Removal, reason: Unremovable, sentence: str) -> Removal:
    return replace(removal, reason=reason, sentence=sentence)
