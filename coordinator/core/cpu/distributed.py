"""Chooses CPUs evenly over NUMA nodes, as kubelet's distribute-cpus-across-numa option does.

Source: behaviour of Kubernetes v1.36 cpumanager, recorded in tests/vectors/cpumanager_*.json.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import pstdev

from coordinator.core.cpu.kubelet import Picker, SortStrategy, take_packed
from coordinator.core.cpu.topology import Level, Topology
from proto.cpuset import Mask


@dataclass(frozen=True, slots=True)
class _Share:
    """A way to split a request: `each` CPUs from every node of `nodes`, the rest in groups from `extra`."""

    nodes: tuple[int, ...]
    each: int
    extra: tuple[int, ...]
    imbalance: float


def take_distributed(
    topology: Topology,
    available: Mask,
    count: int,
    group: int = 1,
    strategy: SortStrategy = SortStrategy.PACKED,
) -> Mask:
    """Take `count` CPUs in groups of `group`, evenly over the fewest NUMA nodes that can give them so.

    Falls back to `take_packed` where no even split exists or `count` is no multiple of `group`.

    Raises:
        DpuError: EXHAUSTED when fewer CPUs are available.
    """
    if count % group:
        return take_packed(topology, available, count, strategy)
    picker = Picker(topology, available, count, strategy)
    picker.require_room()
    if not count:
        return 0
    free = {node: (picker.free & topology.units[Level.NUMA][node]).bit_count() for node in picker.ordered(Level.NUMA)}
    for size in range(_fewest_nodes(topology, count, group), len(free) + 1):
        share = _best_share(free, size, count, group)
        if share is not None:
            return _hand_out(picker, share, group, strategy)
    return take_packed(topology, available, count, strategy)


def _fewest_nodes(topology: Topology, count: int, group: int) -> int:
    nodes = len(topology.units[Level.NUMA])
    groups_per_node = _ceil(_ceil(len(topology.cpus), nodes), group)
    return _ceil(_ceil(count, group), groups_per_node)


def _best_share(free: Mapping[int, int], size: int, count: int, group: int) -> _Share | None:
    best: _Share | None = None
    for nodes in combinations(free, size):
        if best is not None and best.imbalance == 0:
            break
        for share in _shares(free, nodes, count, group):
            if best is None or share.imbalance < best.imbalance:
                best = share
    return best


def _shares(free: Mapping[int, int], nodes: tuple[int, ...], count: int, group: int) -> Iterator[_Share]:
    each = count // len(nodes) // group * group
    if sum(free[node] // group for node in nodes) * group < count or any(free[node] < each for node in nodes):
        return
    left = {node: cpus - each * (node in nodes) for node, cpus in free.items()}
    rest = count - each * len(nodes)
    if not rest:
        yield _Share(nodes, each, (), _imbalance(left))
        return
    givers = [node for node in nodes if left[node] >= group]
    for size in range(len(givers), 0, -1):
        for extra in combinations(givers, size):
            after = _round_robin(left, extra, rest, group)
            if after is not None:
                yield _Share(nodes, each, extra, _imbalance(after))


def _round_robin(left: Mapping[int, int], nodes: Sequence[int], rest: int, group: int) -> dict[int, int] | None:
    if sum(left[node] // group for node in nodes) * group < rest:
        return None
    after = dict(left)
    while rest:
        for node in nodes:
            if rest and after[node] >= group:
                after[node] -= group
                rest -= group
    return after


def _hand_out(picker: Picker, share: _Share, group: int, strategy: SortStrategy) -> Mask:
    numa = picker.topology.units[Level.NUMA]
    for node in share.nodes:
        picker.take(take_packed(picker.topology, picker.free & numa[node], share.each, strategy))
    while picker.needed:
        for node in share.extra:
            here = picker.free & numa[node]
            if picker.needed and here.bit_count() >= group:
                picker.take(take_packed(picker.topology, here, group, strategy))
    return picker.taken


def _imbalance(left: Mapping[int, int]) -> float:
    return round(pstdev(left.values()), 3)


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
