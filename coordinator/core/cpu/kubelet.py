"""Chooses CPUs as kubelet's static policy does, so that a site can switch without surprise.

Source: behaviour of Kubernetes v1.36 cpumanager, recorded in tests/vectors/cpumanager_*.json. Two ways:
`take_packed` fills the most used units first; `take_distributed` spreads evenly over NUMA nodes.
"""

from collections.abc import Iterable
from enum import Enum

from coordinator.core.cpu.topology import Level, Topology
from proto.cpuset import Mask, lowest, mask_of, members
from proto.errors import DpuError
from proto.reasons import Reason


class SortStrategy(Enum):
    """Order in which single CPUs are taken once no whole unit fits."""

    PACKED = "packed"
    SPREAD = "spread"


def take_packed(
    topology: Topology,
    available: Mask,
    count: int,
    strategy: SortStrategy = SortStrategy.PACKED,
    *,
    align_uncore: bool = False,
) -> Mask:
    """Take `count` CPUs, whole units first, the most used ones before others.

    Raises:
        DpuError: EXHAUSTED when fewer CPUs are available.
    """
    picker = Picker(topology, available, count, strategy)
    picker.require_room()
    for level in picker.outer_levels:
        picker.take_whole(level)
    if align_uncore:
        picker.take_uncore()
    if strategy is SortStrategy.PACKED:
        picker.take_whole(Level.CORE)
    picker.take_singles()
    return picker.taken


class Picker:
    """CPUs free and taken while one request is being served."""

    def __init__(self, topology: Topology, available: Mask, count: int, strategy: SortStrategy) -> None:
        self.topology = topology
        self.free = available & topology.all
        self.needed = count
        self.taken: Mask = 0
        self._strategy = strategy
        units = topology.units
        numa_outside = len(units[Level.SOCKET]) >= len(units[Level.NUMA])
        self.outer_levels = (Level.NUMA, Level.SOCKET) if numa_outside else (Level.SOCKET, Level.NUMA)

    def require_room(self) -> None:
        """Refuse a request that is larger than what is free."""
        if self.free.bit_count() < self.needed:
            raise DpuError(
                Reason.EXHAUSTED,
                f"not enough cpus available to satisfy request: requested={self.needed}, "
                f"available={self.free.bit_count()}",
                remedy="ask for fewer CPUs or release some on this node",
            )

    def take(self, mask: Mask) -> None:
        """Move CPUs from free to taken."""
        self.free &= ~mask
        self.taken |= mask
        self.needed -= mask.bit_count()

    def take_whole(self, level: Level) -> None:
        """Take units of a level that are wholly free and no larger than what is still needed."""
        if not self.needed:
            return
        units, whole = self.topology.units[level], self.topology.average(level)
        for unit in self.ordered(level):
            mask = units[unit]
            if (self.free & mask).bit_count() == whole and mask.bit_count() <= self.needed:
                self.take(mask)

    def take_uncore(self) -> None:
        """Take whole caches while they fit, then one cache that covers the rest exactly."""
        for unit in self.ordered(Level.UNCORE):
            if self.needed >= self.topology.average(Level.UNCORE):
                self._take_whole_caches()
            if self.needed:
                self._take_rest_of_cache(unit)
            if not self.needed:
                return

    def take_singles(self) -> None:
        """Take what is still needed CPU by CPU."""
        level = Level.CORE if self._strategy is SortStrategy.PACKED else Level.SOCKET
        for unit in self.ordered(level):
            if not self.needed:
                return
            self.take(lowest(self.free & self.topology.units[level][unit], self.needed))

    def ordered(self, level: Level) -> list[int]:
        """Units of a level that have free CPUs: outer units first by use, fewest free CPUs then id within each."""
        outer, inner = self.outer_levels
        if level is outer:
            return self._sorted(outer, self.free)
        parents = [self.topology.units[outer][unit] for unit in self._sorted(outer, self.free)]
        if level is not inner:
            parents = [self.topology.units[inner][u] for mask in parents for u in self._sorted(inner, mask & self.free)]
        return list(dict.fromkeys(unit for mask in parents for unit in self._sorted(level, mask & self.free)))

    def _sorted(self, level: Level, scope: Mask) -> list[int]:
        units = self.topology.units[level]
        touched = [unit for unit, mask in units.items() if mask & scope]
        return sorted(touched, key=lambda unit: ((units[unit] & self.free).bit_count(), unit))

    def _take_whole_caches(self) -> None:
        units = self.topology.units[Level.UNCORE]
        for unit in self.ordered(Level.UNCORE):
            mask = units[unit]
            if self.free & mask == mask and mask.bit_count() <= self.needed:
                self.take(mask)

    def _take_rest_of_cache(self, uncore: int) -> None:
        threads = self.topology.average(Level.CORE)
        cores = self.topology.units[Level.CORE]
        inside = self.free & self.topology.units[Level.UNCORE][uncore]
        wanted_cores = -(-self.needed // threads)
        chosen = [unit for unit in cores if cores[unit] & inside][:wanted_cores]
        cpus = self.free & _union(cores[unit] for unit in chosen)
        odd = self.needed % 2 and threads > 1
        if odd and cpus.bit_count() > self.needed:
            cpus &= ~mask_of([max(members(cpus))])
        if cpus.bit_count() == self.needed:
            self.take(cpus)


def _union(masks: Iterable[Mask]) -> Mask:
    union = 0
    for mask in masks:
        union |= mask
    return union
