"""Chooses CPUs as Koordinator's nodenumaresource plug-in does, so that a site can switch without surprise.

Source: behaviour of Koordinator at 2026-07, recorded in tests/vectors/koordinator_*.json. A CPU may be sold
more than once (`max_refs`); whichever CPU is used least comes first in every order below.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from coordinator.core.cpu.topology import Cpu, Level, Topology
from proto.cpuset import Mask, members
from proto.errors import DpuError
from proto.reasons import Reason


class BindPolicy(Enum):
    """Whole physical cores, or one CPU per core first."""

    FULL_PCPUS = "FullPCPUs"
    SPREAD_BY_PCPUS = "SpreadByPCPUs"


class ExclusivePolicy(Enum):
    """What an instance would rather not share with another one of the same policy."""

    NONE = "None"
    PCPU_LEVEL = "PCPULevel"
    NUMA_LEVEL = "NUMANodeLevel"


class NumaStrategy(Enum):
    """Which NUMA node or socket is best: the fullest or the emptiest."""

    MOST_ALLOCATED = "MostAllocated"
    LEAST_ALLOCATED = "LeastAllocated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenancy:
    """Earlier use of one CPU: how often it is sold, and its tenant's exclusive policy."""

    cpu: int
    refs: int
    exclusive: ExclusivePolicy = ExclusivePolicy.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an instance asks for; `preferred` CPUs, such as a reservation's, are used up before others."""

    count: int
    bind: BindPolicy
    exclusive: ExclusivePolicy = ExclusivePolicy.NONE
    strategy: NumaStrategy = NumaStrategy.MOST_ALLOCATED
    max_refs: int = 1
    preferred: Mask = 0


def take_cpus(topology: Topology, available: Mask, tenancies: Iterable[Tenancy], request: Request) -> Mask:
    """Take the requested CPUs.

    Raises:
        DpuError: EXHAUSTED when fewer CPUs are available.
    """
    known = list(tenancies)
    first = available & request.preferred
    if not first:
        return _take(topology, available, known, request, request.count)
    part = min(first.bit_count(), request.count)
    taken = _take(topology, first, known, request, part)
    if part < request.count:
        taken |= _take(topology, available & ~first, known, request, request.count - part)
    return taken


def _take(topology: Topology, available: Mask, tenancies: list[Tenancy], request: Request, count: int) -> Mask:
    picker = _Picker(topology, available, tenancies, request, count)
    if available.bit_count() < count:
        raise DpuError(
            Reason.EXHAUSTED,
            "not enough cpus available to satisfy request",
            remedy=f"{count} were asked for and {available.bit_count()} are free; ask for fewer or release some",
        )
    if request.bind is BindPolicy.FULL_PCPUS or topology.average(Level.CORE) == 1:
        picker.take_whole_cores()
    if request.bind is not BindPolicy.FULL_PCPUS:
        picker.take_from_one_unit()
    picker.take_anywhere()
    return picker.taken


@dataclass(slots=True)
class _Picker:
    topology: Topology
    free: Mask
    tenancies: list[Tenancy]
    request: Request
    rest: int
    taken: Mask = 0
    _refs: Mapping[int, int] = field(default_factory=dict)
    _avoided: Mask = 0

    def __post_init__(self) -> None:
        self._refs = {tenancy.cpu: tenancy.refs for tenancy in self.tenancies}
        for tenancy in self.tenancies:
            if tenancy.exclusive is self.request.exclusive:
                self._avoid(tenancy.cpu)

    def take_whole_cores(self) -> None:
        """Rules a to c: one NUMA node, else one socket, else sockets and then single cores."""
        if not self.rest:
            return
        numa_exclusive = self.request.exclusive is ExclusivePolicy.NUMA_LEVEL
        tries = [(Level.NUMA, True)] if numa_exclusive else []
        for level, avoid in [*tries, (Level.NUMA, False), (Level.SOCKET, False)]:
            if self.rest <= self.topology.average(level) and self._take_first(self._cores_by(level, avoid=avoid)):
                return
        self._take_socket_by_socket()

    def take_from_one_unit(self) -> None:
        """Rule d: the best NUMA node, else the best socket, with room for all that is needed."""
        for level in (Level.NUMA, Level.SOCKET):
            if self.rest > self.topology.average(level):
                continue
            for avoid in (True, False):
                if self.rest and self._take_first(self._singles_by(level, avoid=avoid)):
                    return

    def take_anywhere(self) -> None:
        """Rule e: whatever is free, one CPU per core, round by round."""
        for avoid in (True, False):
            if self.rest:
                pool = self._allowed(avoid=avoid)
                ordered = self._one_per_core(pool, self._cores_anywhere(pool))
                self._take(ordered[: self.rest])

    def _take(self, cpus: Iterable[int]) -> None:
        for cpu in cpus:
            self.free &= ~(1 << cpu)
            self.taken |= 1 << cpu
            self.rest -= 1
            self._avoid(cpu)

    def _avoid(self, cpu: int) -> None:
        place = self.topology.by_cpu.get(cpu)
        if place is None or self.request.exclusive is ExclusivePolicy.NONE:
            return
        numa = self.request.exclusive is ExclusivePolicy.NUMA_LEVEL
        units = self.topology.units[Level.NUMA if numa else Level.CORE]
        self._avoided |= units[place.numa if numa else place.core]

    def _allowed(self, *, avoid: bool) -> Mask:
        return self.free & ~self._avoided if avoid else self.free

    def _take_first(self, candidates: Iterable[list[int]]) -> bool:
        for cpus in candidates:
            if len(cpus) >= self.rest:
                self._take(cpus[: self.rest])
                return True
        return False

    def _take_socket_by_socket(self) -> None:
        leftovers: list[list[int]] = []
        threads = self.topology.average(Level.CORE)
        for cpus in sorted(self._cores_by(Level.SOCKET, avoid=False), key=len, reverse=True):
            if len(cpus) <= self.rest:
                self._take(cpus)
            else:
                leftovers.append(cpus)
        for cpus in sorted(leftovers, key=len):
            for start in range(0, len(cpus), threads):
                if self.rest >= threads:
                    self._take(cpus[start : start + threads])

    def _cores_by(self, level: Level, *, avoid: bool) -> list[list[int]]:
        pool = self._allowed(avoid=avoid)
        threads = self.topology.average(Level.CORE)
        cores = self.topology.units[Level.CORE]
        found = []
        for unit in self._best_first(level, pool):
            here = pool & self.topology.units[level][unit]
            whole = [
                core for core in self.topology.within(Level.CORE, here) if (here & cores[core]).bit_count() == threads
            ]
            whole.sort(key=lambda core: (self._use(cores[core]), core))
            found.append([cpu for core in whole for cpu in self._least_used(cores[core])])
        return found

    def _singles_by(self, level: Level, *, avoid: bool) -> list[list[int]]:
        pool = self._allowed(avoid=avoid)
        found = []
        for unit in self._best_first(level, pool):
            here = pool & self.topology.units[level][unit]
            cores = self.topology.within(Level.CORE, here)
            ordered = self._one_per_core(here, cores)
            found.append(ordered[: len(cores)] if avoid else ordered)
        return found

    def _best_first(self, level: Level, pool: Mask) -> list[int]:
        sign = 1 if self.request.strategy is NumaStrategy.MOST_ALLOCATED else -1
        units = self.topology.units[level]
        touched = [unit for unit, mask in units.items() if mask & pool]

        def key(unit: int) -> tuple[int, ...]:
            size = (units[unit] & pool).bit_count()
            around = self._around(units[unit], pool) if level is Level.NUMA else 0
            return (self._use(units[unit] & pool), sign * size, sign * around, unit)

        return sorted(touched, key=key)

    def _around(self, mask: Mask, pool: Mask) -> int:
        sockets = self.topology.units[Level.SOCKET]
        return sum((sockets[unit] & pool).bit_count() for unit in self.topology.within(Level.SOCKET, mask))

    def _cores_anywhere(self, pool: Mask) -> list[int]:
        sign = 1 if self.request.strategy is NumaStrategy.MOST_ALLOCATED else -1
        units = self.topology.units

        def key(core: int) -> tuple[int, ...]:
            place = self._place(units[Level.CORE][core])
            socket, numa = units[Level.SOCKET][place.socket], units[Level.NUMA][place.numa]
            return (
                -(self.taken & socket).bit_count(),
                self._use(units[Level.CORE][core] & pool),
                sign * (pool & socket).bit_count(),
                sign * (pool & numa).bit_count(),
                (pool & units[Level.CORE][core]).bit_count(),
                place.socket,
                core,
            )

        return sorted(self.topology.within(Level.CORE, pool), key=key)

    def _one_per_core(self, pool: Mask, cores: list[int]) -> list[int]:
        queues = [self._least_used(pool & self.topology.units[Level.CORE][core]) for core in cores]
        rounds = max(map(len, queues), default=0)
        return [queue[turn] for turn in range(rounds) for queue in queues if turn < len(queue)]

    def _least_used(self, mask: Mask) -> list[int]:
        return sorted(members(mask), key=lambda cpu: (self._refs.get(cpu, 0), cpu))

    def _use(self, mask: Mask) -> int:
        if self.request.max_refs <= 1:
            return 0
        return sum(self._refs.get(cpu, 0) for cpu in members(mask))

    def _place(self, core: Mask) -> Cpu:
        return self.topology.by_cpu[(core & -core).bit_length() - 1]
