"""CPUs of a host."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuPlace:
    """Where a logical CPU sits; -1 for what is not known of one that is offline."""

    cpu: int
    core: int
    uncore_cache: int
    numa_node: int
    socket: int
    online: bool
