"""Flow offload: what a look at the switch shows, and what follows from it for each flow and port."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    """Where a flow, or what enters a port, is forwarded."""

    HARDWARE = "hardware"
    PARTIAL = "partial"
    SOFTWARE = "software"
    NOT_ASKED = "not-asked"
    UNKNOWN = "unknown"


class Layer(Enum):
    """Who has a flow: the datapath itself, the kernel's traffic control, or DPDK."""

    OVS = "ovs"
    TC = "tc"
    DPDK = "dpdk"
    OTHER = "other"
    """It says a word that is not among these."""


class Mark(Enum):
    """What the switch says of a flow; OTHER is a word that is not among these."""

    NONE = ""
    PARTIAL = "partial"
    FULL = "yes"
    OTHER = "other"


class Way(Enum):
    """How flows could get into hardware."""

    TC = "tc"
    DPDK = "dpdk"
    DUMMY = "dummy"
    NONE = "none"


class Feature(Enum):
    """``hw-tc-offload`` of a netdev; `FIXED` is off for good, `UNKNOWN` could not be asked."""

    ON = "on"
    OFF = "off"
    FIXED = "fixed"
    UNKNOWN = "unknown"


class Why(Enum):
    """Why a flow is where it is. The value is a word for metrics."""

    IN_HARDWARE = "in-hardware"
    MARKED = "marked"
    OFF = "off"
    NOT_IN_EFFECT = "not-in-effect"
    NOT_TOLD = "not-told"
    NOT_KNOWN = "unknown-mark"
    USERSPACE = "userspace-datapath"
    NOT_DPDK = "not-a-dpdk-port"
    INTERNAL = "internal-port"
    UPCALL = "upcall"
    SAMPLED = "sampled"
    INCAPABLE = "incapable-port"
    FEATURE_OFF = "feature-off"
    TUNNEL = "tunnel"
    CONNTRACK = "conntrack"
    REFUSED = "driver-refused"
    NOT_TAKEN = "not-taken"
    IDLE = "idle"

    @property
    def avoidable(self) -> bool:
        """Whether settings, driver or kernel could have had such a flow in hardware."""
        return self in _AVOIDABLE


_AVOIDABLE = frozenset(
    {Why.NOT_IN_EFFECT, Why.FEATURE_OFF, Why.TUNNEL, Why.CONNTRACK, Why.REFUSED, Why.NOT_TAKEN, Why.NOT_DPDK}
)


class FlowSeen(NamedTuple):
    """A flow of the datapath; a plain tuple, as there may be tens of thousands in a look.

    `thread` is the one of the userspace datapath that has it: several may have a flow of the same ufid, each its own
    counters.
    """

    ufid: str
    in_port: str
    match: str
    actions: str
    packets: int
    bytes: int
    layer: Layer
    mark: Mark
    thread: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSeen:
    """A port of the switch that frames can enter by.

    Attributes:
        kind: type of the interface; empty for a netdev of the system.
        port_id: ``iface-id``.
        taps: whether the switch put its ingress hook of traffic control on it.
        filters: rules there; `filters_in_hw` of them the driver took.
    """

    netdev: str
    kind: str = ""
    port_id: str = ""
    driver: str = ""
    feature: Feature = Feature.UNKNOWN
    taps: bool = False
    filters: int = 0
    filters_in_hw: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadSeen:
    """One look.

    Attributes:
        enabled: ``other_config:hw-offload``.
        in_effect: whether ovs-vswitchd goes by it; None where it does not tell.
        datapath: ``system``, ``netdev`` or ``dummy``; empty when there is none yet.
        hits_partial: packets that came with a mark of the hardware's, since ovs-vswitchd started.
        inserted: rules that its offload threads have put into hardware now; None where it does not tell.
        skb_ext: whether the kernel has NET_TC_SKB_EXT; None where its configuration is not to be read.
        unread: lines among the flows that are none that can be read; `unread_line` is the first of them.
    """

    enabled: bool
    in_effect: bool | None
    datapath: str
    flows: tuple[FlowSeen, ...] = ()
    ports: tuple[PortSeen, ...] = ()
    hits_partial: int = 0
    inserted: int | None = None
    skb_ext: bool | None = None
    unread: int = 0
    unread_line: str = ""


class Judged(NamedTuple):
    """A flow, where it is forwarded, and why."""

    flow: FlowSeen
    verdict: Verdict
    why: Why


@dataclass(slots=True, kw_only=True)
class Sums:
    """Flows that are there now, and what they have carried."""

    flows: int = 0
    flows_in_hardware: int = 0
    flows_partial: int = 0
    flows_unknown: int = 0
    packets: int = 0
    packets_in_hardware: int = 0
    bytes: int = 0
    bytes_in_hardware: int = 0

    def add(self, judged: Judged) -> None:
        """One more flow."""
        flow = judged.flow
        self.flows += 1
        self.packets += flow.packets
        self.bytes += flow.bytes
        if judged.verdict is Verdict.HARDWARE:
            self.flows_in_hardware += 1
            self.packets_in_hardware += flow.packets
            self.bytes_in_hardware += flow.bytes
        elif judged.verdict is Verdict.PARTIAL:
            self.flows_partial += 1
        elif judged.verdict is Verdict.UNKNOWN:
            self.flows_unknown += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PortReport:
    """What enters a port: asked for, in hardware, in software, and why."""

    port: PortSeen
    asked: bool
    flow_api: str
    capable: bool
    verdict: Verdict
    sums: Sums
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadReport:
    """What one look means."""

    enabled: bool
    restart_needed: bool
    datapath: str
    way: Way
    abilities: tuple[str, ...]
    sums: Sums
    ports: tuple[PortReport, ...]
    flows: tuple[Judged, ...]
    sentence: str
    counts: Mapping[tuple[Verdict, Why], int]
    """Flows by where they are and why."""
    skb_ext: bool | None = None
    unread: int = 0
    unread_line: str = ""
    advice: tuple[str, ...] = field(default=())
    """What is wrong with settings or ports, whatever the traffic."""
