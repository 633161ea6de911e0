"""Where each logical CPU of a server sits: core, uncore cache, NUMA node, socket, I/O queue."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from proto.cpuset import Mask, mask_of
from proto.errors import DpuError
from proto.reasons import Reason


class Level(Enum):
    """A kind of unit that shares something."""

    CORE = "core"
    UNCORE = "uncore"
    NUMA = "numa"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """One logical CPU and the units it belongs to; ids are unique within the server."""

    cpu: int
    core: int
    numa: int
    socket: int
    uncore: int = 0


@dataclass(frozen=True)
class Topology:
    """All CPUs of a server.

    Raises:
        DpuError: INVALID when a CPU stands twice or a core spans two NUMA nodes or sockets.
    """

    cpus: tuple[Cpu, ...]

    def __post_init__(self) -> None:
        seen: set[int] = set()
        home: dict[int, tuple[int, int]] = {}
        for cpu in self.cpus:
            place = (cpu.numa, cpu.socket)
            if cpu.cpu in seen:
                raise _wrong(f"CPU {cpu.cpu} stands twice")
            if home.setdefault(cpu.core, place) != place:
                raise _wrong(f"core {cpu.core} spans two NUMA nodes or sockets")
            seen.add(cpu.cpu)

    @cached_property
    def all(self) -> Mask:
        """Every CPU."""
        return mask_of(cpu.cpu for cpu in self.cpus)

    @cached_property
    def units(self) -> Mapping[Level, Mapping[int, Mask]]:
        """CPUs of every unit, by level and id; ids rise."""
        pick: dict[Level, Callable[[Cpu], int]] = {
            Level.CORE: lambda cpu: cpu.core,
            Level.UNCORE: lambda cpu: cpu.uncore,
            Level.NUMA: lambda cpu: cpu.numa,
            Level.SOCKET: lambda cpu: cpu.socket,
        }
        return {level: _group(self.cpus, key) for level, key in pick.items()}

    @cached_property
    def by_cpu(self) -> Mapping[int, Cpu]:
        """Where each CPU sits."""
        return {cpu.cpu: cpu for cpu in self.cpus}

    def within(self, inner: Level, outer: Mask) -> list[int]:
        """Ids of the units of `inner` that touch `outer`, rising."""
        return [unit for unit, mask in self.units[inner].items() if mask & outer]

    def average(self, level: Level) -> int:
        """CPUs per unit of a level, rounded down, as upstream counts a whole unit; 0 for an empty server."""
        count = len(self.units[level])
        return len(self.cpus) // count if count else 0


def _group(cpus: Iterable[Cpu], key: Callable[[Cpu], int]) -> dict[int, Mask]:
    groups: dict[int, Mask] = {}
    for cpu in cpus:
        unit = key(cpu)
        groups[unit] = groups.get(unit, 0) | 1 << cpu.cpu
    return dict(sorted(groups.items()))


def _wrong(what: str) -> DpuError:
    return DpuError(Reason.INVALID, what, field="topology", remedy="report what /sys/devices/system/cpu shows")
