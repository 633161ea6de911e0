"""Machines: what is wanted of them, and the phases, disks, ports and timeline that are reported."""

from enum import Enum

import msgspec

from coordinator.core.objects.fleet import PowerState
from coordinator.core.objects.meta import Condition, Metadata, Ref, Wire
from coordinator.core.objects.net import Limits
from coordinator.core.objects.storage import DeletionPolicy, DiskProtocol, Qos


class Phase(Enum):
    """Where a machine is in its life, in the order of a deployment."""

    PENDING = "Pending"
    ALLOCATING = "Allocating"
    CLONING = "Cloning"
    ATTACHING = "Attaching"
    PLUGGING = "Plugging"
    POWERING_ON = "PoweringOn"
    BOOTING = "Booting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    RESTARTING = "Restarting"
    DELETING = "Deleting"
    FAILED = "Failed"


class HostSelector(Wire, frozen=True, kw_only=True):
    match_labels: dict[str, str] = {}


class Resources(Wire, frozen=True, kw_only=True):
    """The least that the server must have; 0 is anything."""

    cpus: int = 0
    memory_mib: int = msgspec.field(default=0, name="memoryMiB")


class RootDisk(Wire, frozen=True, kw_only=True):
    size: str | int = ""
    protocol: DiskProtocol | None = None
    qos: Qos = Qos()
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE


class DataDisk(Wire, frozen=True, kw_only=True):
    name: str
    size: str | int = ""
    volume_ref: Ref | None = None
    protocol: DiskProtocol | None = None
    read_only: bool = False
    qos: Qos = Qos()


class Nic(Wire, frozen=True, kw_only=True):
    """A port; limits and groups are of networks with driver ``ovn``, directions as the machine sees them."""

    name: str
    subnet_ref: Ref
    mac: str = ""
    address: str = ""
    mtu: int = 0
    bandwidth: Limits = Limits()
    security_groups: list[str] = []


class MachineSpec(Wire, frozen=True, kw_only=True):
    image: str
    host_ref: Ref | None = None
    host_selector: HostSelector = HostSelector()
    resources: Resources = Resources()
    root_disk: RootDisk = RootDisk()
    disks: list[DataDisk] = []
    nics: list[Nic] = []
    user_data: str = ""
    user_data_secret_ref: Ref | None = None
    power: PowerState = PowerState.ON
    restarted_at: str = ""


class MachineAddress(Wire, frozen=True, kw_only=True):
    type: str
    address: str


class NicStatus(Wire, frozen=True, kw_only=True):
    name: str
    mac: str
    port_id: str = msgspec.field(default="", name="portID")
    addresses: list[str] = []
    gateway: str = ""
    subnet: str = ""
    state: str = ""
    representor: str = ""


class DiskStatus(Wire, frozen=True, kw_only=True):
    name: str
    volume: str = ""
    attachment: str = ""
    serial: str = ""
    slot: int | None = None
    state: str = ""


class TimelineEntry(Wire, frozen=True, kw_only=True):
    """One phase; `seconds` and `finished_at` come when it is left."""

    phase: Phase
    started_at: str
    finished_at: str = ""
    seconds: float | None = None
    attempts: int = 0
    message: str = ""


class Deployment(Wire, frozen=True, kw_only=True):
    """The first way to Running, in seconds."""

    total_seconds: float
    own_seconds: float


class MachineStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    phase: Phase | None = None
    message: str = ""
    host_ref: Ref | None = None
    power_state: PowerState | None = None
    addresses: list[MachineAddress] = []
    nics: list[NicStatus] = []
    disks: list[DiskStatus] = []
    restarted_at: str = ""
    timeline: list[TimelineEntry] = []
    deployment: Deployment | None = None


class Machine(Wire, frozen=True, kw_only=True):
    """A server of the pool that boots from a disk which its DPU gives it."""

    metadata: Metadata
    spec: MachineSpec
    status: MachineStatus = MachineStatus()
