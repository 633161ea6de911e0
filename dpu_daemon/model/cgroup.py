"""Control groups of a host's pods: what is seen of them, and the single writes that change them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from proto.cpuset import Mask


class QosClass(Enum):
    """Kubernetes' class of a pod; it decides under which group the pod's group lies."""

    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


class Layer(Enum):
    """How deep a group lies: all pods, those of a class, a pod, a container."""

    ROOT = "root"
    QOS = "qos"
    POD = "pod"
    CONTAINER = "container"


DEPTH = {layer: depth for depth, layer in enumerate(Layer)}


class CgroupVersion(Enum):
    """Version of the kernel's interface."""

    V1 = "v1"
    V2 = "v2"


class Knob(Enum):
    """A setting of a group. Both versions of cgroups have them, under other names and in other units."""

    CPUSET = "cpuset"
    """CPUs as a mask."""
    CPU_QUOTA = "cpu-quota"
    """Thousandths of a CPU; UNLIMITED for none."""
    CPU_SHARES = "cpu-shares"
    """Weight as version 1 counts it, from 2 to 262144."""
    MEMORY = "memory"
    """Bytes; UNLIMITED for none."""


UNLIMITED = -1


MIN_SHARES, MAX_SHARES = 2, 262_144
PAGE_BYTES = 4096


def weight_of(shares: int) -> int:
    """Version 2's weight for version 1's shares, as Kubernetes converts them (KEP-2254)."""
    return 1 + (shares - MIN_SHARES) * 9999 // (MAX_SHARES - MIN_SHARES)


def shares_of_weight(weight: int) -> int:
    """The fewest shares that give a weight."""
    return MIN_SHARES + -(-(weight - 1) * (MAX_SHARES - MIN_SHARES) // 9999)


def settable(knob: Knob, value: int, version: CgroupVersion) -> int:
    """What the kernel shows after `value` was written: it keeps whole pages, and version 2 keeps weights."""
    if knob is Knob.MEMORY and value != UNLIMITED:
        return value // PAGE_BYTES * PAGE_BYTES
    if knob is Knob.CPU_SHARES and version is CgroupVersion.V2:
        return shares_of_weight(weight_of(value))
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group as it is now.

    Attributes:
        path: below the root of the hierarchy, such as ``kubepods/burstable/pod7/c1``.
        parent: path of the group above; empty for the ROOT.
        cpuset: as configured; 0 where it inherits.
        effective: CPUs that its tasks may really use.
        memory_used_bytes: what it holds now and the kernel cannot drop.
        qos: class of the pods below; None for the ROOT.
        pod_uid: of a POD or CONTAINER.
        container_id: of a CONTAINER.
    """

    path: str
    layer: Layer
    parent: str = ""
    cpuset: Mask = 0
    effective: Mask = 0
    quota_milli: int = UNLIMITED
    shares: int = 1024
    memory_bytes: int = UNLIMITED
    memory_used_bytes: int = 0
    qos: QosClass | None = None
    pod_uid: str = ""
    container_id: str = ""

    @property
    def running_on(self) -> Mask:
        """CPUs that its tasks may use, as far as is known."""
        return self.effective or self.cpuset

    def value(self, knob: Knob) -> int:
        """What a knob is set to."""
        return {
            Knob.CPUSET: self.cpuset,
            Knob.CPU_QUOTA: self.quota_milli,
            Knob.CPU_SHARES: self.shares,
            Knob.MEMORY: self.memory_bytes,
        }[knob]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One file of one group gets another value; `before` undoes it."""

    path: str
    knob: Knob
    value: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """All groups of a host's pods, by path; parents stand before their children."""

    groups: Mapping[str, Group] = field(default_factory=dict)
    version: CgroupVersion = CgroupVersion.V1

    def at(self, layer: Layer) -> list[Group]:
        """Groups of a layer, in path order."""
        return sorted((group for group in self.groups.values() if group.layer is layer), key=lambda group: group.path)

    def children(self, path: str) -> list[Group]:
        """Groups right below one."""
        return [group for group in self.groups.values() if group.parent == path]
