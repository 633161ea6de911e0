"""Pools of servers: the claim on the stock, the machine that each server becomes, and what is seen of them."""

from datetime import datetime
from enum import Enum

import msgspec

from coordinator.core.objects.meta import Condition, Metadata, Ref, Wire

POOL_LABEL = "dpupool.io/pool"
"""On machines and nodes: the pool that they belong to."""

POOL_FINALIZER = "dpupool.io/pool"
"""Keeps a deleted pool until its machines are gone and its servers are given back."""

PROVIDER_SCHEME = "dpupool://"


class PoolUse(Enum):
    """What a pool's servers are used as."""

    VIRTUAL_MACHINES = "vm"
    CONTAINERS = "container"
    BARE_METAL = "baremetal"


class Autoscaler(Enum):
    """Who writes replicas and removals of a pool."""

    INTERNAL = "Internal"
    EXTERNAL = "External"
    OFF = "Off"


class NodeState(Enum):
    """Where a machine of a pool is."""

    CREATING = "Creating"
    RUNNING = "Running"
    DELETING = "Deleting"
    FAILED = "Failed"


class Rule(Wire, frozen=True, kw_only=True):
    """Fits a server when every field that is given does; 0 is any."""

    models: list[str] = []
    minimum_cpus: int = msgspec.field(default=0, name="minimumCPUs")
    maximum_cpus: int = msgspec.field(default=0, name="maximumCPUs")
    minimum_memory_mib: int = msgspec.field(default=0, name="minimumMemoryMiB")
    maximum_memory_mib: int = msgspec.field(default=0, name="maximumMemoryMiB")
    match_labels: dict[str, str] = {}


class RemovalEntry(Wire, frozen=True, kw_only=True):
    """A machine that is to go."""

    machine: str
    reason: str = ""
    drain: bool = True
    since: datetime | None = None


class TaintSpec(Wire, frozen=True, kw_only=True):
    """A taint of new nodes."""

    key: str
    effect: str
    value: str = ""


class PoolTemplate(Wire, frozen=True, kw_only=True):
    """The machine that a server becomes, and its node; quantities by resource."""

    image: str
    namespace: str = "default"
    root_disk_size: str | int = ""
    subnet: str = ""
    user_data_secret_ref: Ref | None = None
    labels: dict[str, str] = {}
    taints: list[TaintSpec] = []
    reserved: dict[str, str] = {}
    resources: dict[str, str] = {}
    max_pods: int = 110


class PoolOptions(Wire, frozen=True, kw_only=True):
    """What a pool does otherwise than the settings say; None as they say."""

    utilisation_threshold: float | None = None
    gpu_utilisation_threshold: float | None = None
    unneeded_seconds: float | None = None
    unready_seconds: float | None = None
    zero_or_max: bool | None = None
    ignore_daemon_sets: bool | None = None

    def overrides(self) -> dict[str, float | bool]:
        """Those that are given, by the names that the decisions know them by."""
        named = {
            "utilisation_threshold": self.utilisation_threshold,
            "gpu_utilisation_threshold": self.gpu_utilisation_threshold,
            "unneeded_s": self.unneeded_seconds,
            "unready_s": self.unready_seconds,
            "zero_or_max": self.zero_or_max,
            "ignore_daemon_sets": self.ignore_daemon_sets,
        }
        return {name: value for name, value in named.items() if value is not None}


class PoolSpec(Wire, frozen=True, kw_only=True):
    kind: PoolUse
    template: PoolTemplate
    maximum: int
    rules: list[Rule] = []
    minimum: int = 0
    priority: int = 0
    lends: bool = True
    autoscaler: Autoscaler = Autoscaler.INTERNAL
    replicas: int = 0
    removals: list[RemovalEntry] = []
    provision_timeout_seconds: int = 1800
    price_per_hour: float | None = None
    options: PoolOptions = PoolOptions()


class PoolNode(Wire, frozen=True, kw_only=True):
    """A machine of a pool."""

    machine: str
    server: str
    state: NodeState
    node: str = ""
    provider_id: str = msgspec.field(default="", name="providerID")
    message: str = ""


class PoolStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    machines: int = 0
    ready: int = 0
    owned: int = 0
    lent: int = 0
    borrowed: int = 0
    message: str = ""
    nodes: list[PoolNode] = []
    conditions: list[Condition] = []


class Pool(Wire, frozen=True, kw_only=True):
    """A claim on the stock of servers."""

    metadata: Metadata
    spec: PoolSpec
    status: PoolStatus = PoolStatus()

    @property
    def autoscaled(self) -> bool:
        """Whether the coordinator's own decisions change its size."""
        return self.spec.kind is PoolUse.CONTAINERS and self.spec.autoscaler is Autoscaler.INTERNAL

    @property
    def leaving(self) -> set[str]:
        """Names of the machines that are to go."""
        return {entry.machine for entry in self.spec.removals}


def provider_id(namespace: str, machine: str) -> str:
    """The provider ID of a machine's node."""
    return f"{PROVIDER_SCHEME}{namespace}/{machine}"
