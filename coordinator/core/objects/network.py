"""Networks, and subnets with their ledger of addresses."""

from enum import Enum

import msgspec

from coordinator.core.objects.meta import Condition, Metadata, Ref, Wire
from coordinator.core.objects.net import Selector


class NetworkDriver(Enum):
    """Who forwards: the bridges themselves by VLAN, or OVN by a logical router and its switches."""

    BRIDGE = "bridge"
    OVN = "ovn"


class EgressGateway(Wire, frozen=True, kw_only=True):
    """The way out of an OVN network.

    Attributes:
        physical_network: as in a chassis' bridge mappings.
        address: of the router there, with its prefix length; `address_v6` likewise.
        next_hop: default route of that network.
        nodes: NetworkNodes whose chassis may be the gateway, the preferred first.
    """

    physical_network: str
    address: str
    next_hop: str
    address_v6: str = msgspec.field(default="", name="addressV6")
    next_hop_v6: str = msgspec.field(default="", name="nextHopV6")
    vlan: int = 0
    nodes: list[str] = []


class NetworkSpec(Wire, frozen=True, kw_only=True):
    """An Ethernet segment, or with driver ``ovn`` a router and the switches of its subnets.

    Attributes:
        default: the network of pods that ask for none; at most one has it.
        egress_nat: pods leave through the gateway with its address.
    """

    bridge: str = "br-int"
    vlan: int = 0
    mtu: int = 1500
    driver: NetworkDriver = NetworkDriver.BRIDGE
    default: bool = False
    gateway: EgressGateway | None = None
    egress_nat: bool = msgspec.field(default=False, name="egressNAT")


class NetworkStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    ports: int | None = None


class Network(Wire, frozen=True, kw_only=True):
    """An Ethernet segment."""

    metadata: Metadata
    spec: NetworkSpec = NetworkSpec()
    status: NetworkStatus = NetworkStatus()


class Allocation(Wire, frozen=True, kw_only=True):
    """One line of a subnet's ledger: who has which address."""

    address: str
    mac: str
    uid: str
    nic: str
    namespace: str = ""
    machine: str = ""


class AddressPool(Wire, frozen=True, kw_only=True):
    """A part of a subnet, for who asks for it or lives in its namespaces; others get none of it."""

    name: str
    ranges: list[str]
    namespaces: list[str] = []


class Dhcp(Wire, frozen=True, kw_only=True):
    """DHCP for machines of an OVN network."""

    enabled: bool = True
    lease_seconds: int = 3600
    domain: str = ""


class SubnetRoute(Wire, frozen=True, kw_only=True):
    """A route that pods get besides the default one."""

    dst: str
    via: str


class SubnetSpec(Wire, frozen=True, kw_only=True):
    """The addresses.

    Attributes:
        cidr_v6, gateway_v6: of a dual-stack subnet, whose `cidr` is of IPv4.
        namespaces, namespace_selector: whose pods get addresses here; neither: all that no other subnet claims.
    """

    network_ref: Ref
    cidr: str
    gateway: str = ""
    dns: list[str] = []
    reserved: list[str] = []
    probe_address: str = ""
    cidr_v6: str = msgspec.field(default="", name="cidrV6")
    gateway_v6: str = msgspec.field(default="", name="gatewayV6")
    namespaces: list[str] = []
    namespace_selector: Selector | None = None
    pools: list[AddressPool] = []
    dhcp: Dhcp = Dhcp()
    routes: list[SubnetRoute] = []


class SubnetStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    total: int | None = None
    used: int | None = None
    probe_address: str = ""
    allocations: list[Allocation] = []


class Subnet(Wire, frozen=True, kw_only=True):
    """Addresses of a network, and who has them."""

    metadata: Metadata
    spec: SubnetSpec
    status: SubnetStatus = SubnetStatus()
