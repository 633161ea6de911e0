"""A tighter estimator: fills one new node after the other with what suits its remaining room best.

Several rules of choice are tried, and the exact estimate too; the least nodes for the most pods win.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coordinator.core.pool.allowance import NodeAllowance
from coordinator.core.pool.arena import Arena
from coordinator.core.pool.estimator import Demand, Estimate, estimate
from coordinator.core.pool.model import Node, Pod
from coordinator.core.pool.predicates import Predicates

Vectors = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Score = Callable[[Vectors, Vectors], Vectors]


@dataclass(frozen=True, slots=True)
class _Fresh:
    """An empty node and the pods that want one.

    Attributes:
        amounts, free: what a pod of each demand takes and what the node has, per resource in use.
        most: how many pods of each demand fit the empty node.
    """

    amounts: Whole
    most: Whole
    free: Whole

    @property
    def scale(self) -> Vectors:
        return np.maximum(self.free, 1).astype(np.float64)


def _dot(requests: Vectors, rest: Vectors) -> Vectors:
    """Pods that want most of what the node has most of."""
    return np.asarray(requests @ rest)


def _nearest(requests: Vectors, rest: Vectors) -> Vectors:
    """Pods after which least is left in any dimension."""
    return -np.asarray(((rest - requests) ** 2).sum(axis=1))


def _balanced(requests: Vectors, rest: Vectors) -> Vectors:
    """Large pods that keep the remaining dimensions even."""
    left = rest - requests
    return np.asarray(requests.sum(axis=1) - (left.max(axis=1) - left.min(axis=1)))


_RULES: tuple[tuple[Score, bool], ...] = (
    (_dot, False),
    (_dot, True),
    (_nearest, False),
    (_nearest, True),
    (_balanced, False),
    (_balanced, True),
)


def estimate_tightly(
    arena: Arena,
    predicates: Predicates,
    template: Node,
    demands: Sequence[Demand],
    allowance: NodeAllowance | None = None,
    *,
    daemon_pods: Sequence[Pod] = (),
) -> Estimate:
    """As ``estimate``, with fewer nodes where better packing finds them; never more.

    Pods whose place depends on other nodes (spread, affinity) are packed by the exact estimator.
    """
    allowance = allowance or NodeAllowance()
    exact = estimate(arena, predicates, template, demands, allowance, daemon_pods=daemon_pods)
    fresh = _fresh_room(arena, predicates, template, demands, daemon_pods)
    if fresh is None or exact.capped:
        return exact
    wanted = np.array(exact.placed, dtype=np.int64)
    best = exact.nodes
    for score, weighted in _RULES:
        if allowance.out_of_time():
            break
        weights = _weights(fresh, wanted) if weighted else np.ones(len(fresh.free))
        best = min(best, _pack(fresh, wanted, weights, score, best))
    return Estimate(best, exact.placed)


def _fresh_room(
    arena: Arena, predicates: Predicates, template: Node, demands: Sequence[Demand], daemon_pods: Sequence[Pod]
) -> _Fresh | None:
    """An empty node of the template; None when pods interact."""
    shapes = [demand.shape for demand in demands]
    if any(shape.ports or shape.anti_affinity or not predicates.is_local(shape) for shape in shapes):
        return None
    mark = arena.mark()
    try:
        at = arena.add(template, f"{template.name}.tight")
        for pod in daemon_pods:
            arena.put(pod.shape, at)
        if any(arena.counters.blockers(shape) for shape in shapes):
            return None
        most = np.array([predicates.room_among(shape, np.array([at]))[0] for shape in shapes], dtype=np.int64)
        amounts = np.zeros((len(shapes), arena.free.shape[1]), dtype=np.int64)
        for row, shape in enumerate(shapes):
            columns, wanted = arena.request(shape)
            amounts[row, list(columns)] = wanted
        used = np.flatnonzero(amounts.any(axis=0))
        return _Fresh(amounts[:, used], most, arena.free[at].copy()[used])
    finally:
        arena.back_to(mark)


def _weights(fresh: _Fresh, wanted: Whole) -> Vectors:
    """Scarce dimensions count more: the share of a node's room that the demand asks for."""
    total = (fresh.amounts / fresh.scale * wanted[:, None]).sum(axis=0)
    return np.asarray(total / max(float(total.max()), 1e-12))


def _pack(fresh: _Fresh, wanted: Whole, weights: Vectors, score: Score, enough: int) -> int:
    """Nodes that one rule needs; stops counting at ``enough``."""
    left, nodes = wanted.copy(), 0
    root = np.sqrt(weights) / fresh.scale
    while left.any() and nodes < enough:
        content = _fill_one(fresh, np.minimum(left, fresh.most), root, score)
        chosen = content > 0
        if not chosen.any():
            return enough
        times = int((left[chosen] // content[chosen]).min())
        left -= content * times
        nodes += times
    return enough if left.any() else nodes


def _fill_one(fresh: _Fresh, left: Whole, root: Vectors, score: Score) -> Whole:
    """What one node gets: the best scored pod that still fits, again and again."""
    content, rest = np.zeros_like(left), fresh.free.copy()
    scaled = fresh.amounts * root
    while True:
        fitting = np.flatnonzero((left > content) & (fresh.amounts <= rest).all(axis=1))
        if not len(fitting):
            return content
        best = int(fitting[int(np.argmax(score(scaled[fitting], rest * root)))])
        content[best] += 1
        rest -= fresh.amounts[best]
