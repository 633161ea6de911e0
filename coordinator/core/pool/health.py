"""When so much is not ready that nothing should be changed.

Source: cluster-autoscaler clusterstate/clusterstate.go: the same two numbers judge the cluster and each group.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from coordinator.core.pool.model import Node


@dataclass(frozen=True, slots=True)
class HealthOptions:
    """What is tolerated.

    Attributes:
        ok_unready: so many nodes may be unready whatever their share (``ok-total-unready-count``).
        max_unready_share: beyond this share of all nodes too many are (``max-total-unready-percentage``).
        startup_s: a node that is younger and not ready is starting, and tells nothing (``max-node-startup-time``).
    """

    ok_unready: int = 3
    max_unready_share: float = 0.45
    startup_s: float = 900.0

    def too_many(self, unready: int, nodes: int) -> bool:
        """Whether so many unready ones of so many nodes are more than both limits allow."""
        return unready > self.ok_unready and unready > self.max_unready_share * nodes

    def unready(self, nodes: Iterable[Node], now_s: float) -> int:
        """How many of these nodes are not ready and had the time to become so."""
        return sum(not node.ready and not self._starting(node, now_s) for node in nodes)

    def _starting(self, node: Node, now_s: float) -> bool:
        return node.created_s is not None and now_s < node.created_s + self.startup_s
