"""What the pool decides about: nodes, pods, budgets, controllers and node groups."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from coordinator.core.pool.scheduling import PodShape, Taint
from coordinator.core.pool.selectors import Selector

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
NONE: Mapping[str, str] = MappingProxyType({})


def _nothing() -> Mapping[str, str]:
    return NONE


class Phase(Enum):
    """Where a pod is in its life."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class Restart(Enum):
    """When the kubelet restarts a pod's containers."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller that a pod names as its owner."""

    api_version: str
    kind: str
    name: str
    uid: str = ""

    @property
    def api_group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as far as placing and draining it goes.

    Attributes:
        shape: all that the scheduler looks at; pods of one shape are interchangeable.
        node: name of its node, empty while pending.
        local_volumes: names of volumes whose data lives on the node.
        created_s, deleted_s: seconds since the epoch; None when unknown or not set.
        grace_s: termination grace period in seconds, None for the default.
    """

    namespace: str
    name: str
    shape: PodShape
    node: str = ""
    uid: str = ""
    annotations: Mapping[str, str] = field(default_factory=_nothing)
    owner: Owner | None = None
    priority: int = 0
    phase: Phase = Phase.RUNNING
    restart: Restart = Restart.ALWAYS
    created_s: float | None = None
    deleted_s: float | None = None
    grace_s: float | None = None
    local_volumes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Namespace and name, as people write it."""
        return f"{self.namespace}/{self.name}"

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels, kept with the shape since selectors look at them."""
        return self.shape.label_map


@dataclass(frozen=True, slots=True)
class Node:
    """A server of the cluster, or the template of one.

    Attributes:
        allocatable, capacity: per resource; CPU in thousandths, memory in bytes, others whole.
        group: id of its node group, empty when it belongs to none.
        ready: the Ready condition; unready_since_s: when it last turned false.
    """

    name: str
    allocatable: Mapping[str, int]
    capacity: Mapping[str, int]
    labels: Mapping[str, str] = field(default_factory=_nothing)
    annotations: Mapping[str, str] = field(default_factory=_nothing)
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    provider_id: str = ""
    group: str = ""
    ready: bool = True
    created_s: float | None = None
    unready_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget: how many of the selected pods may go now."""

    namespace: str
    name: str
    selector: Selector
    allowed: int


@dataclass(frozen=True, slots=True)
class Controller:
    """A workload controller that the API server still knows; replicas where it has a count."""

    kind: str
    namespace: str
    name: str
    replicas: int | None = None
    uid: str = ""
    owner: Owner | None = None


@dataclass(frozen=True, slots=True)
class GroupOptions:
    """What one node group overrides; None keeps the default of the whole pool. Times in seconds."""

    utilisation_threshold: float | None = None
    gpu_utilisation_threshold: float | None = None
    unneeded_s: float | None = None
    unready_s: float | None = None
    zero_or_max: bool = False
    ignore_daemon_sets: bool | None = None


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Servers that are alike and may be added or taken away.

    Attributes:
        target: wanted number of nodes, those on their way included and those that leave not.
        template: an empty node of the group; None when nobody can say what it would look like.
        daemon_pods: pods that every new node starts with.
        price_per_hour: for the price expander; None when unknown.
        priority: for the priority expander, the larger the better; None when it has none.
        exists: false for a group that would have to be created first.
    """

    name: str
    minimum: int
    maximum: int
    target: int
    template: Node | None = None
    daemon_pods: tuple[Pod, ...] = ()
    options: GroupOptions = field(default_factory=GroupOptions)
    price_per_hour: float | None = None
    healthy: bool = True
    exists: bool = True
    priority: int | None = None
