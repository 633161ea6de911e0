"""Objects of the OPI network API (evpn-gw): what a client wants of each. Fields are called as on the wire."""

from dataclasses import dataclass
from enum import Enum


class NetKind(Enum):
    """Collections; the value is the collection's part of a resource name."""

    LOGICAL_BRIDGE = "logicalBridges"
    BRIDGE_PORT = "bridgePorts"
    VRF = "vrfs"
    SVI = "svis"


class PortType(Enum):
    """What a port carries: one bridge untagged, or several tagged."""

    ACCESS = "access"
    TRUNK = "trunk"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalBridge:
    """A VLAN; with a `vni` an overlay whose tunnels begin at `vtep_ip_prefix`, empty for the configured address."""

    vlan_id: int
    vni: int | None = None
    vtep_ip_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePort:
    """A function of the host.

    Attributes:
        mac_address: of the function.
        ptype: what it carries.
        logical_bridges: names; none in a trunk are all that there are.
        netdev: its representor; chosen by the daemon and kept.
    """

    mac_address: str
    ptype: PortType
    logical_bridges: tuple[str, ...] = ()
    netdev: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vrf:
    """A routing domain, with an address of its own."""

    loopback_ip_prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Svi:
    """A routing domain's gateway in a bridge; each address with the length of its network."""

    vrf: str
    logical_bridge: str
    mac_address: str
    gw_ip_prefix: tuple[str, ...]


NetSpec = LogicalBridge | BridgePort | Vrf | Svi

NET_SPECS: dict[NetKind, type[NetSpec]] = {
    NetKind.LOGICAL_BRIDGE: LogicalBridge,
    NetKind.BRIDGE_PORT: BridgePort,
    NetKind.VRF: Vrf,
    NetKind.SVI: Svi,
}

NET_RANKS: tuple[frozenset[NetKind], ...] = (
    frozenset({NetKind.LOGICAL_BRIDGE, NetKind.VRF}),
    frozenset({NetKind.BRIDGE_PORT, NetKind.SVI}),
)
"""Each rank stands on those before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetObject:
    """An object as journalled before its first step.

    Attributes:
        name: resource name.
        kind: its collection.
        handle: from which its devices are named.
        generation: grows with each update.
        spec: with everything that the server chose filled in.
        wanted: False once its deletion is journalled.
        established: was whole once.
    """

    name: str
    kind: NetKind
    handle: str
    generation: int
    spec: NetSpec
    wanted: bool = True
    established: bool = False

    @property
    def parent(self) -> str:
        """Resource name of the object that this one lives in: none of these lives in another."""
        return ""

    @property
    def own_id(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]
