"""What an exclusive instance asks of a node's CPUs, and what a picker sees of them."""

from dataclasses import dataclass
from enum import Enum

from coordinator.core.cpu.ioqueues import NO_QUEUES, QueueMap
from coordinator.core.cpu.topology import Topology
from proto.cpuset import Mask


class CpuPolicy(Enum):
    """How an exclusive instance sits on cores."""

    SPREAD = "Spread"
    """One CPU of each physical core before a second of any."""
    SAME_CORE_FIRST = "SameCoreFirst"
    """Whole cores, then what is left over on one core."""
    BIND_ALL_CPUS = "BindAllCPUs"
    """All CPUs that are neither reserved nor held by others; it follows the shared pool and holds none alone."""
    KUBELET_PACKED = "KubeletPacked"
    """As kubelet's static policy chooses."""
    KUBELET_DISTRIBUTED = "KubeletDistributed"
    """As kubelet's static policy with distribute-cpus-across-numa chooses."""
    KOORDINATOR_FULL_PCPUS = "KoordinatorFullPCPUs"
    KOORDINATOR_SPREAD_BY_PCPUS = "KoordinatorSpreadByPCPUs"


class NumaRule(Enum):
    """How an exclusive instance sits on NUMA nodes."""

    ANY = "Any"
    PREFER_ONE = "PreferOne"
    """Affinity: one node when one has room, else as ANY."""
    REQUIRE_ONE = "RequireOne"
    """Affinity: one node or nothing."""
    SPREAD = "Spread"
    """Anti-affinity: the same number from every node, as far as it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What an exclusive instance asks of a node's CPUs."""

    count: int
    policy: CpuPolicy = CpuPolicy.SPREAD
    numa: NumaRule = NumaRule.ANY
    avoid_numa: Mask = 0
    """CPUs of NUMA nodes to leave out while there is room elsewhere, such as those of a sibling instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The CPUs of a node as a picker sees them: `free` to take, `held` by exclusive instances."""

    topology: Topology
    free: Mask
    held: Mask = 0
    queues: QueueMap = NO_QUEUES
