"""Networks, and subnets with their ledger of addresses."""

from coordinator.core.objects.meta import Condition, Metadata, Ref, Wire


class NetworkSpec(Wire, frozen=True, kw_only=True):
    bridge: str = "br-int"
    vlan: int = 0
    mtu: int = 1500


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


class SubnetSpec(Wire, frozen=True, kw_only=True):
    network_ref: Ref
    cidr: str
    gateway: str = ""
    dns: list[str] = []
    reserved: list[str] = []
    probe_address: str = ""


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
