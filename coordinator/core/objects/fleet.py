"""Servers and the DPUs in them."""

from datetime import datetime
from enum import Enum

import msgspec

from coordinator.core.objects.meta import Condition, Metadata, Ref, SecretRef, Wire


class PowerState(Enum):
    """What a BMC says of its server."""

    ON = "On"
    OFF = "Off"
    UNKNOWN = "Unknown"


class HostPhase(Enum):
    """State of a server of the pool."""

    PENDING = "Pending"
    AVAILABLE = "Available"
    CLAIMED = "Claimed"
    RELEASING = "Releasing"
    UNHEALTHY = "Unhealthy"


class DpuPhase(Enum):
    """State of a DPU."""

    PENDING = "Pending"
    ONLINE = "Online"
    DEGRADED = "Degraded"
    OFFLINE = "Offline"


class BmcAccess(Wire, frozen=True, kw_only=True):
    """How a management controller is reached."""

    address: str
    credentials_secret_ref: SecretRef
    ca_secret_ref: SecretRef | None = None
    disable_certificate_verification: bool = False


class Hardware(Wire, frozen=True, kw_only=True):
    model: str = ""
    cpus: int = 0
    memory_mib: int = msgspec.field(default=0, name="memoryMiB")


class ClaimRef(Wire, frozen=True, kw_only=True):
    """The machine that holds a server."""

    namespace: str
    name: str
    uid: str


class ServerLease(Wire, frozen=True, kw_only=True):
    """A server's line in the ledger of pools; pools by name, empty for none."""

    pool: str = ""
    generation: int = 0
    recalled_for: str = ""
    reserved_for: str = ""
    failed_at: datetime | None = None


class HostSpec(Wire, frozen=True, kw_only=True):
    dpu_ref: Ref
    bmc: BmcAccess
    hardware: Hardware = Hardware()
    unschedulable: bool = False
    pool_ref: Ref | None = None
    lease: ServerLease = ServerLease()
    claim_ref: ClaimRef | None = None


class HostStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    phase: HostPhase = HostPhase.PENDING
    power_state: PowerState = PowerState.UNKNOWN
    bmc_vendor: str = ""
    system_uuid: str = msgspec.field(default="", name="systemUUID")


class Host(Wire, frozen=True, kw_only=True):
    """A server with its DPU and its BMC."""

    metadata: Metadata
    spec: HostSpec
    status: HostStatus = HostStatus()

    @property
    def holder(self) -> str:
        """UID of the machine that claims it; empty for none."""
        return self.spec.claim_ref.uid if self.spec.claim_ref else ""


class Slots(Wire, frozen=True, kw_only=True, omit_defaults=False):
    total: int = 0
    used: int = 0


class SocUsage(Wire, frozen=True, kw_only=True, omit_defaults=False):
    cpu_percent: float = 0.0
    memory_available_bytes: int = 0
    daemon_rss_bytes: int = msgspec.field(default=0, name="daemonRSSBytes")


class DpuSpec(Wire, frozen=True, kw_only=True):
    address: str
    server_name: str = ""


class DpuStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    phase: DpuPhase = DpuPhase.PENDING
    version: str = ""
    instance_id: str = msgspec.field(default="", name="instanceID")
    host_nqn: str = msgspec.field(default="", name="hostNQN")
    last_seen: str = ""
    drivers: dict[str, str] = {}
    disk_slots: Slots | None = None
    nic_slots: Slots | None = None
    queue_depth: int = 0
    usage: SocUsage | None = None


class Dpu(Wire, frozen=True, kw_only=True):
    """A DPU and the daemon on it."""

    metadata: Metadata
    spec: DpuSpec
    status: DpuStatus = DpuStatus()

    @property
    def server_name(self) -> str:
        """Name that its certificate must carry."""
        return self.spec.server_name or self.metadata.name
