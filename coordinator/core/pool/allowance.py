"""How many nodes an estimate may still add."""

from collections.abc import Callable, Iterable


class NodeAllowance:
    """Hands out permissions to add nodes until the tightest limit is reached.

    Args:
        limits: numbers of nodes; 0 sets no limit, a negative one allows nothing.
        out_of_time: asked before each permission; once true, no more is given.

    Source: cluster-autoscaler estimator/threshold_based_limiter.go.
    """

    def __init__(self, limits: Iterable[int] = (), out_of_time: Callable[[], bool] = lambda: False) -> None:
        given = list(limits)
        self.out_of_time = out_of_time
        positive = [limit for limit in given if limit > 0]
        self._left: int | None = min(positive) if positive else None
        if any(limit < 0 for limit in given):
            self._left = 0

    def take(self, nodes: int = 1) -> int:
        """Ask for some nodes; returns how many of them may be added."""
        if nodes and self.out_of_time():
            self._left = 0
        if self._left is None:
            return nodes
        granted = min(nodes, self._left)
        self._left -= granted
        return granted
