"""Ports of pods: what the coordinator assigned ahead, who holds it, what is asked and granted."""

from dataclasses import dataclass
from enum import Enum

NO_VF = -1
"""In the place of a function's index: a veth pair, whose other end is the representor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Limits of a container, bits a second and bits; 0 is unlimited; directions as the container sees them."""

    ingress_bps: int = 0
    ingress_burst_bits: int = 0
    egress_bps: int = 0
    egress_burst_bits: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAddress:
    """An address with its prefix length, and the gateway of its family; empty for none."""

    cidr: str
    gateway: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRoute:
    """A route besides the default one; an empty `via` is on the link."""

    dst: str
    via: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A port that one pod of one node may have, as the coordinator pushed it; fields as in proto/dpu/v1/pods.proto.

    Attributes:
        wanted: False once the coordinator took it back; kept while a container holds it.
    """

    port_id: str
    generation: int
    node: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    interface: str
    network: str
    mac: str
    addresses: tuple[PodAddress, ...]
    default_network: bool = False
    routes: tuple[PodRoute, ...] = ()
    mtu: int = 0
    dns: tuple[str, ...] = ()
    bandwidth: Bandwidth = Bandwidth()
    attachment: str = ""
    bridge: str = ""
    vlan: int = 0
    wait_for_ovn: bool = False
    wanted: bool = True

    @property
    def pod(self) -> str:
        """``NAMESPACE/NAME``."""
        return f"{self.pod_namespace}/{self.pod_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPort:
    """A port that a container holds, as journalled before its first step on the switch.

    Attributes:
        port_id: of its assignment.
        container_id, interface: the CNI attachment that holds it.
        node: who asked; the peer's certificate, or this node itself.
        vf: function that the container has, or NO_VF.
        representor: netdev on the side of the switch.
        wanted: False once its release is journalled.
        established: forwarded once; from then on a fault degrades it.
        pod_uid: of the assignment when it was granted; another one there now means that the pod was made anew.
    """

    port_id: str
    container_id: str
    interface: str
    node: str
    vf: int
    representor: str
    wanted: bool = True
    established: bool = False
    pod_uid: str = ""

    @property
    def holder(self) -> "Holder":
        """Who holds it."""
        return Holder(self.container_id, self.interface)


class GrantStage(Enum):
    """How far a grant is."""

    ASSIGNED = "assigned"
    FORWARDING = "forwarding"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPod:
    """A pod that gets no port for now, and why; an empty uid is any pod of that name."""

    pod_namespace: str
    pod_name: str
    pod_uid: str
    message: str
    field: str = ""
    remedy: str = ""

    @property
    def pod(self) -> str:
        """``NAMESPACE/NAME``."""
        return f"{self.pod_namespace}/{self.pod_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortAsk:
    """What a container's runtime asks for; `pod_uid` is empty where it does not tell, `network` for the default.

    Attributes:
        vf: function that the runtime has chosen; None leaves the choice to the side of the switch.
        addresses, mac: asked for by the runtime; refused unless they are those of the assignment.
    """

    container_id: str
    interface: str
    pod_namespace: str
    pod_name: str
    pod_uid: str = ""
    network: str = ""
    vf: int | None = None
    addresses: tuple[str, ...] = ()
    mac: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortGrant:
    """An answer to a PortAsk; the first comes when intent is journalled, the second when the port forwards."""

    stage: GrantStage
    assignment: Assignment
    representor: str
    vf: int = NO_VF
    ofport: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """A CNI attachment: this, and not the pod's name, is who holds a port."""

    container_id: str
    interface: str

    def __str__(self) -> str:
        return f"{self.container_id}/{self.interface}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The container's side of a CNI attachment, as journalled on the node before its first step.

    Attributes:
        container_id, interface: its identity.
        netns: path that the runtime gave, such as ``/run/netns/cni-1``.
        pod_uid, pod: whose it is; ``NAMESPACE/NAME``, empty until granted.
        network: name of the netconf.
        vf: function that was moved into it, or NO_VF for a veth.
        device: name that the function has outside of containers; empty for a veth.
        device_mac: MAC that it had there.
        device_id: by which the runtime named the function, as kubelet counts it; empty when it was chosen here.
        representor: other end of the veth; empty for a function.
        assignment: what it was given; None until granted.
        wanted: False once its removal is journalled.
        ready: its ADD was answered.
        mtu: that its interface got.
        netns_inode: of the namespace that was at `netns`; 0 when unknown.
        device_info: file that tells others about the function; empty for none.
    """

    container_id: str
    interface: str
    netns: str
    network: str
    pod: str = ""
    pod_uid: str = ""
    vf: int = NO_VF
    device: str = ""
    device_mac: str = ""
    device_mtu: int = 0
    device_id: str = ""
    representor: str = ""
    assignment: Assignment | None = None
    wanted: bool = True
    ready: bool = False
    mtu: int = 0
    netns_inode: int = 0
    device_info: str = ""

    @property
    def holder(self) -> Holder:
        """Its identity."""
        return Holder(self.container_id, self.interface)

    @property
    def sandbox_id(self) -> str:
        """Identity as one text; neither part can hold a slash."""
        return f"{self.container_id}/{self.interface}"
