"""All that a decision about a machine looks at, and what it says to do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from coordinator.core.ipam.allocate import NO_PODS, Lease, Ledgers, Pods
from coordinator.core.machine.steps import Step, Steps
from coordinator.core.objects.fleet import Dpu, Host, PowerState
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Machine, Phase
from coordinator.core.objects.meta import Json
from coordinator.core.objects.network import Network, Subnet
from coordinator.core.objects.storage import Attachment, Image, Volume
from proto.errors import DpuError


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look.

    Attributes:
        host: the server that the machine's claim is written on; None when it has none.
        dpu: of that server, or of the one that the machine had when that is lost; None when its object is gone.
        attachments: by name, all that belong to this machine or are named as its own would be.
        volumes: by name, likewise, and those that its disks refer to.
        hosts, dpus, machines: all there are.
        pods: what pods hold of the subnets.
        steps: of this machine, since this process started.
    """

    machine: Machine
    now: datetime
    host: Host | None = None
    dpu: Dpu | None = None
    image: Image | None = None
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    attachments: Mapping[str, Attachment] = field(default_factory=dict)
    subnets: Mapping[str, Subnet] = field(default_factory=dict)
    networks: Mapping[str, Network] = field(default_factory=dict)
    leases: Mapping[str, Lease] = field(default_factory=dict)
    hosts: tuple[Host, ...] = ()
    dpus: Mapping[str, Dpu] = field(default_factory=dict)
    machines: Iterable[Machine] = ()
    pods: Pods = NO_PODS
    steps: Steps = field(default_factory=dict)

    @property
    def leaving(self) -> frozenset[str]:
        """Networks that are being deleted."""
        return frozenset(name for name, one in self.networks.items() if one.metadata.deleting)

    @property
    def power(self) -> PowerState:
        """What is known of the server's power."""
        return self.host.status.power_state if self.host else PowerState.UNKNOWN

    @property
    def phase(self) -> Phase:
        """The phase that is written down."""
        return self.machine.status.phase or Phase.PENDING

    @property
    def resumed(self) -> Phase:
        """The phase to go on from: the one written down, or the one that a failed machine failed in."""
        if self.phase is not Phase.FAILED:
            return self.phase
        before = [entry.phase for entry in self.machine.status.timeline if entry.phase is not Phase.FAILED]
        return before[-1] if before else Phase.PENDING

    @property
    def lost_host(self) -> str:
        """Name of the server that the machine had and no longer holds; empty when it holds one or never had any."""
        had = self.machine.status.host_ref
        return had.name if had and self.host is None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Write the machine on the first of these hosts that is still free."""

    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaim:
    """Give the host back."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLedgers:
    """Write these lines into the subnets' ledgers."""

    ledgers: Ledgers


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create an object."""

    kind: Kind
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Amend:
    """Merge a patch into an object's spec or metadata."""

    kind: Kind
    name: str
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete an object."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalizer:
    """Put the machine's finalizer on, or take it off, which ends the machine."""

    present: bool


Change = Claim | Unclaim | WriteLedgers | Create | Amend | Delete | Finalizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One aspect of a machine: whether it is as it should be, and what would make it so.

    Attributes:
        says: sentence: how it stands or what it waits for.
        problem: why it cannot go on, or did not at the last try.
        wake_s: seconds until a look is worth while, when nothing else calls for one.
    """

    ready: bool
    says: str
    changes: tuple[Change, ...] = ()
    steps: tuple[Step, ...] = ()
    problem: DpuError | None = None
    attempts: int = 1
    wake_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now, and where that leaves the machine.

    Attributes:
        problem: set when the phase is Failed, and when something is wrong with a machine that runs.
        restarted: the machine's wish for a restart counts as fulfilled.
        forget_host: the status no longer names a server: the claim goes next.
        left: sentence: what could not be cleaned up; empty when all was.
        areas: how each aspect stands, for the conditions.
    """

    phase: Phase
    says: str
    changes: tuple[Change, ...] = ()
    steps: tuple[Step, ...] = ()
    problem: DpuError | None = None
    attempts: int = 1
    wake_s: float | None = None
    restarted: bool = False
    forget_host: bool = False
    left: str = ""
    areas: Mapping[str, Area] = field(default_factory=dict)


def soonest(*times: float | None) -> float | None:
    """The shortest of the waits that are there."""
    known = [time for time in times if time is not None]
    return min(known) if known else None
