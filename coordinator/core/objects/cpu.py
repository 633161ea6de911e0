"""Nodes whose CPUs are sold, the instances on them, and the pipelines by which these find their node."""

from enum import Enum

import msgspec

from coordinator.core.cpu.admission import InstanceKind, NodeMode
from coordinator.core.cpu.asks import CpuPolicy, NumaRule
from coordinator.core.objects.meta import Condition, Json, Metadata, Ref, Wire

PLACEMENT_ANNOTATION = "dpupool.io/placement"
"""On a pod: NAMESPACE/NAME of the CpuPlacement that it is the instance of."""

OWN_CLUSTER = "default"
"""The cluster of the coordinator's own API."""


class CpuPhase(Enum):
    """How far a placement is."""

    PENDING = "Pending"
    ASSUMED = "Assumed"
    PROCESSING = "Processing"
    READY = "Ready"
    FAILED = "Failed"
    RELEASED = "Released"


class BoundState(Enum):
    """What a host's daemon found of a binding."""

    PENDING = "Pending"
    BOUND = "Bound"
    DIFFERS = "Differs"


class CpuNodeSpec(Wire, frozen=True, kw_only=True):
    """What a node sells; `reserved` is a list of CPUs such as ``0-3``, `oversell` a decimal number."""

    address: str
    cluster: str = OWN_CLUSTER
    node_name: str = ""
    server_name: str = ""
    mode: NodeMode = NodeMode.MIXED
    reserved: str = ""
    oversell: str = "2"
    reserved_memory_bytes: int = 0
    machine_max: dict[str, int] = {}
    unschedulable: bool = False


class Core(Wire, frozen=True, kw_only=True, omit_defaults=False):
    """A core and its logical CPUs; ids are unique on the host."""

    core: int
    cpus: str
    numa_node: int = 0
    socket: int = 0
    uncore_cache: int = 0


class NodeTopology(Wire, frozen=True, kw_only=True):
    """A host's CPUs as its kernel shows them."""

    cores: list[Core] = []
    offline: str = ""


class BoundContainer(Wire, frozen=True, kw_only=True):
    """A binding on the host, and what its kernel shows."""

    placement: str
    state: BoundState
    pod_uid: str = msgspec.field(default="", name="podUID")
    container: str = ""
    cpuset: str = ""
    message: str = ""


class CpuNodeStatus(Wire, frozen=True, kw_only=True):
    """What the daemon reports; `io_queues` is the map in force, CPUs by queue."""

    observed_generation: int = 0
    conditions: list[Condition] = []
    topology: NodeTopology = NodeTopology()
    memory_bytes: int = 0
    share_pool: str = ""
    generation: int = 0
    cgroups: str = ""
    driver: str = ""
    io_queues: dict[str, str] = {}
    bindings: list[BoundContainer] = []
    warnings: list[str] = []
    last_seen: str = ""


class CpuNode(Wire, frozen=True, kw_only=True):
    """A node of a Kubernetes cluster, and the daemon on it."""

    metadata: Metadata
    spec: CpuNodeSpec
    status: CpuNodeStatus = CpuNodeStatus()

    @property
    def node_name(self) -> str:
        """The Kubernetes node."""
        return self.spec.node_name or self.metadata.name

    @property
    def server_name(self) -> str:
        """Name that the daemon's certificate must carry."""
        return self.spec.server_name or self.node_name

    @property
    def place_key(self) -> str:
        """CLUSTER/NODE, as placements name it."""
        return f"{self.spec.cluster}/{self.node_name}"


class InstanceSpec(Wire, frozen=True, kw_only=True):
    """What is placed."""

    application: str
    mode: InstanceKind
    cpus: int
    memory_bytes: int = 0
    policy: CpuPolicy = CpuPolicy.SPREAD
    numa: NumaRule = NumaRule.ANY


class PodRef(Wire, frozen=True, kw_only=True):
    """A pod in the cluster of the placement's node; `containers` are those bound, all when empty."""

    namespace: str
    name: str
    uid: str = ""
    containers: list[str] = []


class ProcessItem(Wire, frozen=True, kw_only=True):
    """An object of the placement's namespace that must be ready; `template` is the spec to make it with."""

    kind: str
    name: str
    template: Json | None = None


class CpuBinding(Wire, frozen=True, kw_only=True):
    """Where an instance went: the ledger's line. `node` is CLUSTER/NODE, `cpuset` what is its alone."""

    node: str
    cpuset: str = ""
    lifted: bool = False
    move_id: str = msgspec.field(default="", name="moveID")
    why: str = ""


class PlacementSpec(Wire, frozen=True, kw_only=True):
    instance: InstanceSpec
    clusters: list[str] = []
    selector: dict[str, str] = {}
    policy_ref: Ref | None = None
    pod_ref: PodRef | None = None
    process: list[ProcessItem] = []
    process_seconds: int = 300
    binding: CpuBinding | None = None


class PlacementStatus(Wire, frozen=True, kw_only=True):
    """`cpuset` is what the host's kernel shows; the ledger's is in the spec's binding."""

    observed_generation: int = 0
    conditions: list[Condition] = []
    phase: CpuPhase = CpuPhase.PENDING
    cpuset: str = ""
    pod_uid: str = msgspec.field(default="", name="podUID")


class Placement(Wire, frozen=True, kw_only=True):
    """An instance and the CPUs that it holds; its name is the id of the request."""

    metadata: Metadata
    spec: PlacementSpec
    status: PlacementStatus = PlacementStatus()

    @property
    def node(self) -> str:
        """CLUSTER/NODE where it is; empty for nowhere."""
        return self.spec.binding.node if self.spec.binding else ""


class RankerRef(Wire, frozen=True, kw_only=True):
    name: str
    weight: float = 1.0


class PolicySpec(Wire, frozen=True, kw_only=True):
    filters: list[str] = []
    rankers: list[RankerRef] = []


class PolicyStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []


class Policy(Wire, frozen=True, kw_only=True):
    """A pipeline by which instances of a business find their node."""

    metadata: Metadata
    spec: PolicySpec
    status: PolicyStatus = PolicyStatus()
