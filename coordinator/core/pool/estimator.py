"""How many new nodes of one group would the pending pods need: first-fit decreasing, as upstream does it.

Source: cluster-autoscaler estimator/binpacking_estimator.go and decreasing_pod_orderer.go (1.36). Pods of one
shape are dealt out by counting where upstream tries them one by one; the answers are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from coordinator.core.pool.allowance import NodeAllowance
from coordinator.core.pool.arena import Amounts, Arena
from coordinator.core.pool.dealing import deal
from coordinator.core.pool.fast_path import pick_for_fast_path
from coordinator.core.pool.model import HOSTNAME, Node, Pod
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.scheduling import PodShape


class Packing(Enum):
    """Which estimator packs pods onto new nodes."""

    EXACT = "exact"
    TIGHT = "tight"


@dataclass(frozen=True, slots=True)
class Demand:
    """Pending pods of one equivalence group."""

    shape: PodShape
    count: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an estimate found.

    Attributes:
        nodes: new nodes with at least one pod.
        placed: per demand, in the order given, how many of its pods found room.
        capped: whether the allowance ended before the pods did.
    """

    nodes: int
    placed: tuple[int, ...]
    capped: bool = False


def packing_order(demands: Sequence[Demand], template: Node) -> list[int]:
    """Indices of the demands, largest first: share of the node's CPU plus share of its memory."""
    cpu, memory = template.allocatable.get("cpu", 0), template.allocatable.get("memory", 0)

    def score(at: int) -> float:
        packing = demands[at].shape.packing
        return (packing[0] / cpu if cpu > 0 else 0.0) + (packing[1] / memory if memory > 0 else 0.0)

    return sorted(range(len(demands)), key=lambda at: -score(at))


def estimate(
    arena: Arena,
    predicates: Predicates,
    template: Node,
    demands: Sequence[Demand],
    allowance: NodeAllowance,
    *,
    daemon_pods: Sequence[Pod] = (),
    fast_path: bool = False,
) -> Estimate:
    """New nodes like the template that the demands need.

    Args:
        arena: the cluster the nodes would join; left as it was found.
        predicates: the filters over that arena.
        template: what a new node looks like.
        demands: pending pods by group.
        allowance: how many nodes may be added.
        daemon_pods: what each new node starts with.
        fast_path: pack one group by division instead of trial, as upstream's option of that name.
    """
    order = packing_order(demands, template)
    last = pick_for_fast_path([(demands[at].shape, demands[at].count) for at in order], template) if fast_path else -1
    if last >= 0:
        order.append(order.pop(last))
    mark = arena.mark()
    try:
        packer = _Packer(arena, predicates, template, allowance, daemon_pods)
        placed = [0] * len(demands)
        for turn, at in enumerate(order):
            divide = last >= 0 and turn == len(order) - 1
            placed[at] = packer.pack(demands[at], divide=divide)
        return Estimate(packer.used_nodes, tuple(placed), packer.capped)
    finally:
        arena.back_to(mark)


class _Packer:
    """Adds nodes to the arena as the pods demand them."""

    def __init__(
        self,
        arena: Arena,
        predicates: Predicates,
        template: Node,
        allowance: NodeAllowance,
        daemon_pods: Sequence[Pod],
    ) -> None:
        self._arena = arena
        self._predicates = predicates
        self._template = template
        self._allowance = allowance
        self._daemon_pods = daemon_pods
        self._first = arena.size
        self._used: set[int] = set()
        self._divided = 0
        self._pointer = 0
        self.capped = False

    @property
    def used_nodes(self) -> int:
        return len(self._used) + self._divided

    @property
    def _last(self) -> int:
        return self._arena.size - 1 if self._arena.size > self._first else -1

    def pack(self, demand: Demand, *, divide: bool) -> int:
        """Place as many pods of the demand as possible; returns how many."""
        self._pointer = self._first
        local = self._predicates.is_local(demand.shape)
        fill = self._fill_counted if local else self._fill_one_by_one
        placed = fill(demand.shape, demand.count) if self._last >= 0 else 0
        rest = demand.count - placed
        if self.capped or not rest:
            return placed
        if divide:
            return placed + self._divide(demand.shape, rest)
        grow = self._grow_counted if local else self._grow_one_by_one
        return placed + grow(demand.shape, rest)

    def _put(self, shape: PodShape, at: int, pods: int = 1) -> None:
        self._arena.put(shape, at, pods)
        self._used.add(at)

    def _added(self) -> Amounts:
        """Added nodes in the order in which a group of pods meets them.

        Upstream begins after the last match of the previous group, in the order of a hash map; each group
        beginning at the oldest node is one of the orders it may take, and the same on every run.
        """
        return np.arange(self._first, self._arena.size)

    def _fill_counted(self, shape: PodShape, pods: int) -> int:
        nodes = self._added()
        dealt = deal(self._predicates.room_among(shape, nodes), pods)
        for at in np.flatnonzero(dealt):
            self._put(shape, int(nodes[at]), int(dealt[at]))
        return int(dealt.sum())

    def _fill_one_by_one(self, shape: PodShape, pods: int) -> int:
        for placed in range(pods):
            if self._out_of_time():
                return placed
            mask = self._predicates.feasible(shape)
            mask[: self._first] = False
            if not self._put_on_next(shape, mask):
                return placed
        return pods

    def _put_on_next(self, shape: PodShape, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bool:
        """Use the first allowed node after the last match."""
        allowed = np.flatnonzero(mask)
        if not len(allowed):
            return False
        at = int(allowed[int(np.searchsorted(allowed, self._pointer)) % len(allowed)])
        self._put(shape, at)
        self._pointer = (at + 1) % self._arena.size
        return True

    def _add_node(self) -> int:
        at = self._arena.add(self._template, f"e-{self._arena.size - self._first}.{self._template.name}")
        for pod in self._daemon_pods:
            self._arena.put(pod.shape, at)
        return at

    def _may_grow(self) -> bool:
        if self._last >= 0 and self._last not in self._used:
            return False  # a new node would be like the empty one that just refused
        self.capped = not self._allowance.take()
        return not self.capped

    def _out_of_time(self) -> bool:
        """Whether to stop; pods that look at others take long each, so that each of them asks."""
        late = self._allowance.out_of_time()
        self.capped |= late
        return late

    def _grow_counted(self, shape: PodShape, rest: int) -> int:
        left = rest
        while left and self._may_grow():
            at = self._add_node()
            pods = min(left, int(self._predicates.room_among(shape, np.array([at]))[0]))
            if not pods:
                break
            self._put(shape, at, pods)
            left -= pods
            more = self._allowance.take(-(-left // pods))
            for _ in range(more):
                taken = min(left, pods)
                self._put(shape, self._add_node(), taken)
                left -= taken
        return rest - left

    def _grow_one_by_one(self, shape: PodShape, rest: int) -> int:
        for placed in range(rest):
            if self._out_of_time():
                return placed
            if self._last >= 0 and self._predicates.fits(shape, self._last):
                self._put(shape, self._last)
                continue
            if self._last >= 0 and self._spread_back(shape):
                continue
            if not self._may_grow():
                return placed
            at = self._add_node()
            if not self._predicates.fits(shape, at):
                return placed
            self._put(shape, at)
        return rest

    def _spread_back(self, shape: PodShape) -> bool:
        """A pod that only its spread over host names keeps off the newest node may go to any other node.

        Upstream counts a node that was there before, once used here, among the new ones; so does this.
        """
        if not any(constraint.topology_key == HOSTNAME for constraint in shape.spread):
            return False
        if not self._predicates.only_spread_objects(shape, self._last):
            return False
        mask = self._predicates.feasible(shape)
        mask[self._last] = False
        return self._put_on_next(shape, mask)

    def _divide(self, shape: PodShape, rest: int) -> int:
        """Fill one node by trial and reckon with equal ones for the rest."""
        if not self._allowance.take():
            return 0
        at, each = self._add_node(), 0
        while each < rest and self._predicates.fits(shape, at):
            self._put(shape, at)
            each += 1
        if not each:
            return 0
        wanted = -(-rest // each) - 1
        granted = self._allowance.take(wanted)
        self.capped = granted < wanted
        self._divided = granted
        return min(rest, each * (granted + 1))
