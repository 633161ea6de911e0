"""The kinds that the controllers read and write."""

from enum import Enum

from coordinator.core.objects.cpu import CpuNode, Placement, Policy
from coordinator.core.objects.fleet import Dpu, Host
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.net import NetworkNode, SecurityGroup
from coordinator.core.objects.net import Port as PodPort
from coordinator.core.objects.network import Network, Subnet
from coordinator.core.objects.pool import Pool
from coordinator.core.objects.resize import ResizePolicy
from coordinator.core.objects.storage import Attachment, Image, Snapshot, Volume


class Kind(Enum):
    """Kinds by the name that manifests use."""

    MACHINE = "BareMetalMachine"
    HOST = "BareMetalHost"
    IMAGE = "Image"
    VOLUME = "Volume"
    SNAPSHOT = "Snapshot"
    ATTACHMENT = "VolumeAttachment"
    DPU = "Dpu"
    NETWORK = "Network"
    SUBNET = "Subnet"
    POOL = "ServerPool"
    CPU_NODE = "CpuNode"
    CPU_PLACEMENT = "CpuPlacement"
    PLACEMENT_POLICY = "PlacementPolicy"
    RESIZE_POLICY = "ResizePolicy"
    PORT = "Port"
    NETWORK_NODE = "NetworkNode"
    SECURITY_GROUP = "SecurityGroup"

    @property
    def plural(self) -> str:
        """Name in URLs."""
        name = self.value.lower()
        return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"

    @property
    def namespaced(self) -> bool:
        """Whether its objects live in namespaces."""
        return self in _NAMESPACED


_NAMESPACED = {
    Kind.MACHINE,
    Kind.VOLUME,
    Kind.SNAPSHOT,
    Kind.ATTACHMENT,
    Kind.CPU_PLACEMENT,
    Kind.RESIZE_POLICY,
    Kind.PORT,
    Kind.SECURITY_GROUP,
}

Typed = (
    Machine
    | Host
    | Image
    | Volume
    | Snapshot
    | Attachment
    | Dpu
    | Network
    | Subnet
    | Pool
    | CpuNode
    | Placement
    | Policy
    | ResizePolicy
    | PodPort
    | NetworkNode
    | SecurityGroup
)

TYPES: dict[Kind, type[Typed]] = {
    Kind.MACHINE: Machine,
    Kind.HOST: Host,
    Kind.IMAGE: Image,
    Kind.VOLUME: Volume,
    Kind.SNAPSHOT: Snapshot,
    Kind.ATTACHMENT: Attachment,
    Kind.DPU: Dpu,
    Kind.NETWORK: Network,
    Kind.SUBNET: Subnet,
    Kind.POOL: Pool,
    Kind.CPU_NODE: CpuNode,
    Kind.CPU_PLACEMENT: Placement,
    Kind.PLACEMENT_POLICY: Policy,
    Kind.RESIZE_POLICY: ResizePolicy,
    Kind.PORT: PodPort,
    Kind.NETWORK_NODE: NetworkNode,
    Kind.SECURITY_GROUP: SecurityGroup,
}
