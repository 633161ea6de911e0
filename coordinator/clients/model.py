"""What the clients carry: values of our own, so that no wire format reaches the controllers."""

from dataclasses import dataclass, field
from enum import Enum

import msgspec

from coordinator.clients.storage import TargetAddress
from coordinator.core.objects.storage import DiskProtocol, Qos


class LinkState(Enum):
    """Where a disk or port stands on its DPU."""

    UNSPECIFIED = "Unspecified"
    CONVERGING = "Converging"
    READY = "Ready"
    DEGRADED = "Degraded"
    LEAVING = "Leaving"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """A disk as asked of a DPU."""

    volume_id: str
    size_bytes: int
    target: TargetAddress
    serial: str
    nguid: str
    protocol: DiskProtocol | None = None
    read_only: bool = False
    boot_order: int = 0
    qos: Qos = Qos()  # noqa: RUF009  (immutable)
    machine_id: str = ""
    encryption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk as a DPU shows it."""

    attachment_id: str
    generation: int
    state: LinkState
    slot: int
    serial: str
    nguid: str
    protocol: DiskProtocol | None
    size_bytes: int
    volume_id: str = ""
    machine_id: str = ""
    pci_address: str = ""
    live_resize: bool = False
    message: str = ""
    qos: Qos = Qos()  # noqa: RUF009  (immutable)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """A port as asked of a DPU; `addresses` carry their prefix length."""

    mac: str
    addresses: tuple[str, ...]
    network_id: str
    machine_id: str
    bridge: str = ""
    vlan: int = 0
    mtu: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port as a DPU shows it."""

    port_id: str
    generation: int
    state: LinkState
    representor: str
    machine_id: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSpec:
    """What goes on a seed disk."""

    machine_id: str
    generation: int
    user_data: str = field(repr=False)
    meta_data: str
    network_config: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """One attempt to get an answer from a machine."""

    attempt: int
    arp_answered: bool
    answered: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonInfo:
    """What a daemon says of itself."""

    version: str
    instance_id: str
    ready: bool
    message: str
    drivers: dict[str, str] = field(default_factory=dict)
    disk_slots: int = 0
    disk_slots_used: int = 0
    nic_slots: int = 0
    nic_slots_used: int = 0
    queue_depth: int = 0
    event_sequence: int = 0
    host_nqn: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonUsage:
    """What a daemon's system is doing."""

    cpu_percent: float
    memory_available_bytes: int
    daemon_rss_bytes: int


class EventSubject(Enum):
    """What an event of a daemon is about."""

    ATTACHMENT = "attachment"
    PORT = "port"
    SEED = "seed"
    DRIVER = "driver"
    DAEMON = "daemon"
    VOLUME = "volume"
    OTHER = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonEvent:
    """Something that happened on a daemon."""

    sequence: int
    subject: EventSubject
    id: str
    reason: str
    message: str
    warning: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Name and password of a management controller."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BmcEndpoint:
    """A management controller and all that is needed to talk to it.

    Attributes:
        field: path of the field that names the Secret, for messages.
        ca: PEM text that verifies its certificate; empty for the system's authorities.
    """

    address: str
    credentials: Credentials
    secret: str
    ca: str = ""
    verify: bool = True


class PowerAction(Enum):
    """What a management controller can be told."""

    ON = "On"
    SHUT_DOWN = "GracefulShutdown"
    FORCE_OFF = "ForceOff"


@dataclass(frozen=True, slots=True, kw_only=True)
class BmcIdentity:
    """What a management controller says of its server."""

    vendor: str = ""
    system_uuid: str = ""


class DiskCounters(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a disk has moved since it was connected; latencies are sums over all operations."""

    read_ops: int = 0
    read_bytes: int = 0
    write_ops: int = 0
    write_bytes: int = 0
    flush_ops: int = 0
    unmap_ops: int = 0
    unmap_bytes: int = 0
    failed_ops: int = 0
    read_latency_us: int = 0
    write_latency_us: int = 0
