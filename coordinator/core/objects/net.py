"""Ports of pods, security groups, and the nodes whose daemons give ports to containers."""

from enum import Enum

from coordinator.core.objects.meta import Condition, Metadata, Ref, UidRef, Wire


class PortPhase(Enum):
    """How far a port is. RELEASING: it is off its node, and its rows are leaving OVN; until then they stay."""

    PENDING = "Pending"
    ALLOCATED = "Allocated"
    ASSIGNED = "Assigned"
    READY = "Ready"
    FAILED = "Failed"
    RELEASING = "Releasing"


class Limits(Wire, frozen=True, kw_only=True):
    """Bits a second and bits; 0 is unlimited; directions as the pod or machine sees them."""

    ingress_bps: int = 0
    ingress_burst_bits: int = 0
    egress_bps: int = 0
    egress_burst_bits: int = 0


class PortAddress(Wire, frozen=True, kw_only=True):
    """An address with its prefix length, and the gateway of its family; empty for none."""

    cidr: str
    gateway: str = ""


class PortRoute(Wire, frozen=True, kw_only=True):
    """A route by a gateway."""

    dst: str
    via: str


class PortSpec(Wire, frozen=True, kw_only=True):
    """A NIC of a pod: the one ledger line of its address, MAC and place.

    Attributes:
        pod_ref: the very pod.
        interface: in the pod, such as ``eth0``; empty: whichever the runtime says.
        node: Kubernetes node of the pod.
        attachment: NAMESPACE/NAME of the NetworkAttachmentDefinition; empty for the pod's own network.
        epoch: milliseconds since 1970 when it was given; tells it from an earlier port of its name.
        routes: of a node's own port; a pod's come from its subnet.
    """

    pod_ref: UidRef
    node: str
    network_ref: Ref
    subnet_ref: Ref
    mac: str
    addresses: list[PortAddress]
    interface: str = ""
    attachment: str = ""
    default_network: bool = False
    mtu: int = 0
    bandwidth: Limits = Limits()
    security_groups: list[str] = []
    epoch: int = 0
    routes: list[PortRoute] = []


class PortStatus(Wire, frozen=True, kw_only=True):
    phase: PortPhase = PortPhase.PENDING
    observed_generation: int = 0
    representor: str = ""
    message: str = ""
    conditions: list[Condition] = []


class Port(Wire, frozen=True, kw_only=True):
    """A pod's port; its id on switches and in OVN is ``NAMESPACE.NAME``."""

    metadata: Metadata
    spec: PortSpec
    status: PortStatus = PortStatus()

    @property
    def port_id(self) -> str:
        """The same on the node's switch (iface-id), in OVN (logical port) and in assignments."""
        return f"{self.metadata.namespace}.{self.metadata.name}"


class NodeSpec(Wire, frozen=True, kw_only=True):
    """The daemon that owns a node's switch.

    Attributes:
        node_name: Kubernetes node; the object's name when empty.
        address: ``address:port`` of the daemon: of the node itself, or of its DPU.
        server_name: that its certificate carries; the object's name when empty.
        chassis: name of its OVN chassis; the server name when empty.
        dpu_ref: its DPU, for messages; absent when the node has a switch of its own.
        node_port: the node itself has a port of the default network, by which it reaches its pods.
    """

    address: str
    node_name: str = ""
    server_name: str = ""
    chassis: str = ""
    dpu_ref: Ref | None = None
    node_port: bool = True


class NodeStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    ports: int | None = None
    conditions: list[Condition] = []


class NetworkNode(Wire, frozen=True, kw_only=True):
    """A node whose pods get ports."""

    metadata: Metadata
    spec: NodeSpec
    status: NodeStatus = NodeStatus()

    @property
    def node(self) -> str:
        """The Kubernetes node."""
        return self.spec.node_name or self.metadata.name


class LabelRequirement(Wire, frozen=True, kw_only=True):
    """One expression of a label selector."""

    key: str
    operator: str
    values: list[str] = []


class Selector(Wire, frozen=True, kw_only=True):
    """A label selector; empty selects all."""

    match_labels: dict[str, str] = {}
    match_expressions: list[LabelRequirement] = []


class GroupPort(Wire, frozen=True, kw_only=True):
    """A protocol and ports; port 0 is all of them."""

    protocol: str = "TCP"
    port: int = 0
    end_port: int = 0


class GroupPeer(Wire, frozen=True, kw_only=True):
    """Who is at the other end: addresses, or the members of another group of the namespace."""

    cidr: str = ""
    excluded: list[str] = []
    group: str = ""


class GroupRule(Wire, frozen=True, kw_only=True):
    """Traffic that is let through; no peers is everybody, no ports is everything."""

    peers: list[GroupPeer] = []
    ports: list[GroupPort] = []


class SecurityGroupSpec(Wire, frozen=True, kw_only=True):
    """Who is a member, and what members may receive and send; None leaves that direction open.

    Attributes:
        pod_selector, machine_selector: of this namespace, besides those that name the group themselves.
    """

    pod_selector: Selector | None = None
    machine_selector: Selector | None = None
    ingress: list[GroupRule] | None = None
    egress: list[GroupRule] | None = None


class SecurityGroupStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    members: int | None = None
    conditions: list[Condition] = []


class SecurityGroup(Wire, frozen=True, kw_only=True):
    """What may reach its members, and what they may reach; traffic must pass groups and NetworkPolicies both."""

    metadata: Metadata
    spec: SecurityGroupSpec
    status: SecurityGroupStatus = SecurityGroupStatus()
