"""Images, volumes, snapshots and attachments."""

from enum import Enum

import msgspec

from coordinator.core.objects.meta import Condition, Metadata, Ref, UidRef, Wire


class ImagePhase(Enum):
    """State of an image."""

    PENDING = "Pending"
    READY = "Ready"
    FAILED = "Failed"
    DELETING = "Deleting"


class VolumePhase(Enum):
    """State of a volume."""

    PENDING = "Pending"
    CREATING = "Creating"
    AVAILABLE = "Available"
    BOUND = "Bound"
    RESIZING = "Resizing"
    FAILED = "Failed"
    DELETING = "Deleting"


class SnapshotPhase(Enum):
    """State of a snapshot."""

    PENDING = "Pending"
    READY = "Ready"
    FAILED = "Failed"
    DELETING = "Deleting"


class AttachmentPhase(Enum):
    """State of an attachment."""

    PENDING = "Pending"
    EXPORTING = "Exporting"
    ATTACHING = "Attaching"
    ATTACHED = "Attached"
    DEGRADED = "Degraded"
    DETACHING = "Detaching"
    FAILED = "Failed"


class DeletionPolicy(Enum):
    """What happens to the bytes."""

    DELETE = "Delete"
    SHRED = "Shred"
    RETAIN = "Retain"


class DiskProtocol(Enum):
    """How the host sees a disk."""

    VIRTIO_BLK = "virtio-blk"
    NVME = "nvme"


class Qos(Wire, frozen=True, kw_only=True):
    """Limits per second; 0 is unlimited."""

    iops: int = 0
    bytes_per_second: int = 0
    read_iops: int = 0
    write_iops: int = 0
    read_bytes_per_second: int = 0
    write_bytes_per_second: int = 0


class QosWish(Wire, frozen=True, kw_only=True):
    """Limits of an attachment: what is not said is None, and 0 says unlimited."""

    iops: int | None = None
    bytes_per_second: int | None = None
    read_iops: int | None = None
    write_iops: int | None = None
    read_bytes_per_second: int | None = None
    write_bytes_per_second: int | None = None

    @property
    def said(self) -> bool:
        """Whether anything is said, so that it goes before the volume's limits."""
        return self != QosWish()

    @property
    def limits(self) -> Qos:
        """These limits, with what is not said unlimited."""
        return Qos(**{name: value or 0 for name, value in msgspec.structs.asdict(self).items()})


class ImageSpec(Wire, frozen=True, kw_only=True):
    source: str
    backend: str = "file"
    format: str = "qcow2"
    firmware: str = "any"


class ImageStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    phase: ImagePhase = ImagePhase.PENDING
    size_bytes: int = 0
    clones: int = 0


class Image(Wire, frozen=True, kw_only=True):
    """A disk image that volumes are cloned from."""

    metadata: Metadata
    spec: ImageSpec
    status: ImageStatus = ImageStatus()


class VolumeSource(Wire, frozen=True, kw_only=True):
    image_ref: Ref | None = None
    snapshot_ref: Ref | None = None
    volume_ref: Ref | None = None


class Encryption(Wire, frozen=True, kw_only=True):
    secret_ref: Ref


class VolumeSpec(Wire, frozen=True, kw_only=True):
    size: str | int
    source: VolumeSource = VolumeSource()
    backend: str = "file"
    deletion_policy: DeletionPolicy = DeletionPolicy.DELETE
    qos: Qos = Qos()
    encryption: Encryption | None = None
    parameters: dict[str, str] = {}

    @property
    def secret(self) -> str:
        """Name of the Secret that it is encrypted with; empty for none."""
        return self.encryption.secret_ref.name if self.encryption else ""


class VolumeHealth(Wire, frozen=True, kw_only=True):
    abnormal: bool = False
    message: str = ""


class VolumeRequest(Wire, frozen=True, kw_only=True):
    size_bytes: int = 0
    source_kind: str = ""
    source_handle: str = ""


class VolumeStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    phase: VolumePhase = VolumePhase.PENDING
    handle: str = ""
    size_bytes: int = 0
    requested_bytes: int = 0
    request: VolumeRequest | None = None
    allocated_bytes: int = 0
    attach_generation: int = 0
    attachment_ref: UidRef | None = None
    clone_seconds: float | None = None
    context: dict[str, str] = {}
    condition: VolumeHealth = VolumeHealth()


class Volume(Wire, frozen=True, kw_only=True):
    """A volume at a storage backend."""

    metadata: Metadata
    spec: VolumeSpec
    status: VolumeStatus = VolumeStatus()

    @property
    def usable(self) -> bool:
        """Whether its bytes are there."""
        return bool(self.status.handle)


class SnapshotSpec(Wire, frozen=True, kw_only=True):
    volume_ref: Ref
    group_id: str = ""
    group_size: int = 0


class SnapshotStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    phase: SnapshotPhase = SnapshotPhase.PENDING
    ready_to_use: bool = False
    size_bytes: int = 0
    created_at: str = ""
    backend: str = ""
    handle: str = ""
    volume_uid: str = ""
    encryption_secret: str = ""


class Snapshot(Wire, frozen=True, kw_only=True):
    """The content of a volume at one instant."""

    metadata: Metadata
    spec: SnapshotSpec
    status: SnapshotStatus = SnapshotStatus()

    @property
    def cut(self) -> bool:
        """Whether its bytes are there."""
        return bool(self.status.handle)


class AttachmentSpec(Wire, frozen=True, kw_only=True):
    volume_ref: Ref
    host_ref: Ref
    protocol: DiskProtocol | None = None
    read_only: bool = False
    boot_order: int = 0
    qos: QosWish = QosWish()
    machine_ref: UidRef | None = None


class AttachmentStatus(Wire, frozen=True, kw_only=True):
    observed_generation: int = 0
    conditions: list[Condition] = []
    phase: AttachmentPhase = AttachmentPhase.PENDING
    generation: int = 0
    dpu: str = ""
    slot: int | None = None
    serial: str = ""
    nguid: str = ""
    pci_address: str = ""
    protocol: str = ""
    size_bytes: int = 0
    live_resize: bool = False
    qos: Qos = Qos()


class Attachment(Wire, frozen=True, kw_only=True):
    """A volume shown to a host."""

    metadata: Metadata
    spec: AttachmentSpec
    status: AttachmentStatus = AttachmentStatus()

    @property
    def ready(self) -> bool:
        """Whether the host has the disk, or will find it at its next start."""
        return self.status.phase in {AttachmentPhase.ATTACHED, AttachmentPhase.DEGRADED}
