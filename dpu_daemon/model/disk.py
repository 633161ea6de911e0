"""Disks: what is wanted of them, and what a look at the block layer and the host's bus finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class DiskProtocol(Enum):
    """How the host sees a disk."""

    VIRTIO_BLK = "virtio-blk"
    NVME = "nvme"


class AttachmentState(Enum):
    """Where an attachment stands between what is wanted and what is seen."""

    CONVERGING = "converging"
    ATTACHED = "attached"
    DEGRADED = "degraded"
    DETACHING = "detaching"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPath:
    """One more way to a target."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAddress:
    """Where a volume is reached on the storage network.

    Attributes:
        transport: ``nbd+tcp``, ``nvme+tcp``, ``nvme+rdma`` or ``rbd``.
        host: numeric address.
        port: of the host.
        export: NBD export name, NVMe subsystem NQN, or POOL/IMAGE of rbd.
        credentials: name of the set to authenticate with; empty for none.
        paths: besides host and port: multipath.
        nsid: namespace of the subsystem; 0 is its only one.
    """

    transport: str
    host: str
    port: int
    export: str
    credentials: str = ""
    paths: tuple[TargetPath, ...] = ()
    nsid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFile:
    """A file of this DPU that is shown as a disk: the machine's NoCloud seed."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Qos:
    """Limits of one disk, per second; 0 is unlimited. Totals exclude split limits."""

    iops: int = 0
    bytes_per_s: int = 0
    read_iops: int = 0
    write_iops: int = 0
    read_bytes_per_s: int = 0
    write_bytes_per_s: int = 0


UNLIMITED = Qos()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentSpec:
    """A disk as asked for; `source` is a remote volume or the seed file.

    `encryption` names the credentials whose volume key encrypts the disk on this DPU; empty for none.
    """

    volume_id: str
    size_bytes: int
    source: TargetAddress | SeedFile
    protocol: DiskProtocol
    serial: str
    nguid: str
    read_only: bool = False
    boot_order: int = 0
    qos: Qos = UNLIMITED
    machine_id: str = ""
    encryption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An attachment as journalled before its first step: all that the host will ever see of it is fixed here.

    Attributes:
        handle: name of the disk in the block layer, at most 20 characters, begins with a letter.
        slot: index of the PCIe function.
        wanted: False once a detach is journalled.
        force: the detach does not wait for the host to let go.
        established: was whole once; from then on a fault degrades it and is never a reason to take it away.
        shown_bytes: size that the host was told last; 0 before the first plug.
    """

    attachment_id: str
    generation: int
    spec: AttachmentSpec
    handle: str
    slot: int
    wanted: bool = True
    force: bool = False
    established: bool = False
    shown_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSeen:
    """A disk of ours as the block layer shows it now.

    Attributes:
        handle: of the disk.
        source: None where the block layer does not tell; credentials are never told.
        size_bytes: what the host would see.
        read_only: as the host would see it.
        qos: limits that hold now.
        exposed: something of it faces the bus.
        whole: nothing is missing that putting it up again would add.
        encrypted: on this DPU.
        trouble: why requests wait although nothing is missing, as a sentence; empty when they do not.
    """

    handle: str
    source: TargetAddress | SeedFile | None
    size_bytes: int
    read_only: bool
    qos: Qos
    exposed: bool
    whole: bool = True
    encrypted: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSeen:
    """A PCIe disk function as the host's bus shows it now."""

    slot: int
    handle: str
    protocol: DiskProtocol
    serial: str
    nguid: str
    read_only: bool
    boot_order: int
    present: bool
    pci_address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskStats:
    """Counters since the disk was connected; 64 bit. Latencies are sums over all requests of the kind."""

    read_ops: int = 0
    read_bytes: int = 0
    write_ops: int = 0
    write_bytes: int = 0
    flush_ops: int = 0
    failed_ops: int = 0
    read_latency_us: int = 0
    write_latency_us: int = 0
    unmap_ops: int = 0
    unmap_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSeen:
    """One look at the block layer; keys are handles."""

    disks: Mapping[str, DiskSeen] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWorld:
    """One look at everything a disk stands on; None where the other side did not answer and the look went on."""

    block: BlockSeen | None = None
    functions: Mapping[int, FunctionSeen] | None = None
    host_on: bool = False
