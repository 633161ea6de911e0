"""Ports: a NIC of the host, its representor here, its place on the switch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property


class PortState(Enum):
    """Where a port stands between what is wanted and what is seen."""

    CONVERGING = "converging"
    FORWARDING = "forwarding"
    DEGRADED = "degraded"
    UNPLUGGING = "unplugging"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A port as asked for; `addresses` carry their prefix length, `vlan` 0 is untagged, `mtu` 0 the default."""

    mac: str
    addresses: tuple[str, ...]
    network_id: str
    bridge: str
    vlan: int = 0
    mtu: int = 0
    machine_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port as journalled before its first step.

    Attributes:
        vf: index of the virtual function, kept for the port's whole life.
        representor: netdev here that stands for it.
        wanted: False once an unplug is journalled.
        force: the unplug does not wait for the host to let go.
        established: forwarded once; from then on a fault degrades it.
    """

    port_id: str
    generation: int
    spec: PortSpec
    vf: int
    representor: str
    wanted: bool = True
    force: bool = False
    established: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """What may leave the switch through a port, bits a second and bits; 0 is unlimited."""

    bps: int = 0
    burst_bits: int = 0


NO_LIMIT = Limit()


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchPortSeen:
    """A port of the switch as its database shows it now; `error` is the switch's own complaint.

    Attributes:
        pod: ``CONTAINER/INTERFACE`` of a pod's port that this daemon plugged; empty for every other port.
        installed: ovn-controller says that its flows are there.
        limit: that this daemon has set.
    """

    name: str
    bridge: str
    iface_id: str
    mac: str
    vlan: int
    ofport: int
    error: str = ""
    pod: str = ""
    installed: bool = False
    limit: Limit = NO_LIMIT


@dataclass(frozen=True, kw_only=True)
class SwitchSeen:
    """One look at the switch: bridges, and ports by netdev name.

    Attributes:
        secure: bridges that drop what no flow lets through.
        datapaths: datapath type by bridge.
        chassis: what is said to ovn-controller.
        loose_limits: names in the database of limits of ours that no port has.
    """

    bridges: frozenset[str] = frozenset()
    ports: Mapping[str, SwitchPortSeen] = field(default_factory=dict)
    secure: frozenset[str] = frozenset()
    datapaths: Mapping[str, str] = field(default_factory=dict)
    chassis: Mapping[str, str] = field(default_factory=dict)
    loose_limits: frozenset[str] = frozenset()

    @cached_property
    def pods(self) -> Mapping[str, tuple[SwitchPortSeen, ...]]:
        """Pods' ports by their id, those of one id by their names; of an id there should be one."""
        found: dict[str, tuple[SwitchPortSeen, ...]] = {}
        for _, port in sorted(self.ports.items()):
            if port.pod:
                found[port.iface_id] = (*found.get(port.iface_id, ()), port)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSeen:
    """A network device of this system; `up` is the administrative state."""

    name: str
    mac: str
    mtu: int
    up: bool
    carrier: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NicSeen:
    """A NIC function as the host's bus shows it now."""

    vf: int
    port_id: str
    representor: str
    mac: str
    present: bool
    pci_address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One attempt to reach an address through the switch."""

    attempt: int
    arp_answered: bool
    answered: bool
    round_trip_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortWorld:
    """One look at everything a port stands on; None where the other side did not answer and the look went on."""

    switch: SwitchSeen | None = None
    links: Mapping[str, LinkSeen] = field(default_factory=dict)
    nics: Mapping[int, NicSeen] | None = None
    host_on: bool = False
