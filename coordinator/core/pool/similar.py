"""Node groups that are alike but for where they are, and how to share a scale-up among them.

Source: cluster-autoscaler processors/nodegroupset (compare_nodegroups.go, balancing_processor.go).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.core.pool.model import HOSTNAME, ZONE, Node, NodeGroup
from coordinator.core.pool.volumes import REGION

MEMORY_TOLERANCE = 0.015
ALLOCATABLE_TOLERANCE = 0.05
_PLACE_LABELS = frozenset(
    {
        HOSTNAME,
        ZONE,
        REGION,
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "beta.kubernetes.io/fluentd-ds-ready",
        "kops.k8s.io/instancegroup",
    }
)


@dataclass(frozen=True, slots=True)
class Share:
    """How a group is to grow."""

    group: NodeGroup
    target: int

    @property
    def added(self) -> int:
        """Nodes beyond the present target."""
        return self.target - self.group.target


def are_similar(one: Node, other: Node) -> bool:
    """Whether two templates differ only in place and in rounding."""
    if one.capacity.keys() != other.capacity.keys():
        return False
    for resource, amount in one.capacity.items():
        tolerance = MEMORY_TOLERANCE if resource == "memory" else 0.0
        if not _close(amount, other.capacity[resource], tolerance):
            return False
    for resource in one.allocatable.keys() | other.allocatable.keys():
        if not _close(one.allocatable.get(resource, 0), other.allocatable.get(resource, 0), ALLOCATABLE_TOLERANCE):
            return False
    return _labels(one) == _labels(other)


def _close(one: int, other: int, tolerance: float) -> bool:
    return abs(one - other) <= max(one, other) * tolerance


def _labels(node: Node) -> dict[str, str]:
    return {key: value for key, value in node.labels.items() if key not in _PLACE_LABELS}


def balance(groups: Sequence[NodeGroup], nodes: int) -> list[Share]:
    """Share new nodes out, each to the smallest group that is not full; groups without change are left out."""
    targets = {group.name: group.target for group in groups}
    for _ in range(nodes):
        open_groups = [group for group in groups if targets[group.name] < group.maximum]
        if not open_groups:
            break
        smallest = min(open_groups, key=lambda group: (targets[group.name], group.name))
        targets[smallest.name] += 1
    return [Share(group, targets[group.name]) for group in groups if targets[group.name] != group.target]
