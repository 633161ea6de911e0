"""What is asked for a volume on this node, and what is remembered of it; pure."""

from enum import Enum

import msgspec


class AccessType(Enum):
    """What a workload gets: a file system, or the disk itself."""

    MOUNT = "mount"
    BLOCK = "block"


class AccessMode(Enum):
    """As CSI numbers them."""

    SINGLE_NODE_WRITER = 1
    SINGLE_NODE_READER_ONLY = 2
    MULTI_NODE_READER_ONLY = 3
    MULTI_NODE_SINGLE_WRITER = 4
    MULTI_NODE_MULTI_WRITER = 5
    SINGLE_NODE_SINGLE_WRITER = 6
    SINGLE_NODE_MULTI_WRITER = 7

    @property
    def reader_only(self) -> bool:
        """Nobody may write."""
        return self in {AccessMode.SINGLE_NODE_READER_ONLY, AccessMode.MULTI_NODE_READER_ONLY}

    @property
    def many_targets(self) -> bool:
        """The volume may be published at several places of one node. Source: CSI, second NodePublishVolume."""
        return self in {
            AccessMode.MULTI_NODE_READER_ONLY,
            AccessMode.MULTI_NODE_SINGLE_WRITER,
            AccessMode.MULTI_NODE_MULTI_WRITER,
            AccessMode.SINGLE_NODE_MULTI_WRITER,
        }

    @property
    def written_elsewhere(self) -> bool:
        """Another node may write at the same time."""
        return self in {AccessMode.MULTI_NODE_SINGLE_WRITER, AccessMode.MULTI_NODE_MULTI_WRITER}


class FileSystem(Enum):
    """File systems that are made here."""

    EXT4 = "ext4"
    XFS = "xfs"


class HostDriver(Enum):
    """Kernel drivers that a disk's PCI function can be given to instead of its own."""

    VFIO_PCI = "vfio-pci"


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """Compared by content, kept as JSON."""


class Capability(_Value, frozen=True):
    """How a volume is wanted.

    Attributes:
        access: file system or disk.
        mode: who may write.
        file_system: asked for; None leaves it to the settings, or to what is on the disk.
        mount_flags: options of the mount, as asked for.
    """

    access: AccessType
    mode: AccessMode
    file_system: FileSystem | None = None
    mount_flags: tuple[str, ...] = ()


class DiskIdentity(_Value, frozen=True):
    """What the DPU said of the disk it shows to this host.

    Attributes:
        serial: as the host reads it; at most 20 characters.
        nguid: 32 hexadecimal digits; empty for virtio-blk.
        pci_address: where the DPU plugged it, in its own words; only told to people.
        slot: the same, as the number of a slot.
    """

    serial: str
    nguid: str = ""
    pci_address: str = ""
    slot: str = ""

    def __str__(self) -> str:
        return f"serial {self.serial}" + (f", NGUID {self.nguid}" if self.nguid else "")


class Device(_Value, frozen=True):
    """A disk as this host has it now.

    Attributes:
        name: such as ``nvme0n1``; may be another after a restart.
        path: of its node below /dev.
        number: ``major:minor``.
        size_bytes: of the disk.
        read_only: the disk refuses writes.
        pci_address: of its PCI function; empty where it has none.
    """

    name: str
    path: str
    number: str
    size_bytes: int
    read_only: bool = False
    pci_address: str = ""


class Staging(_Value, frozen=True):
    """A volume as NodeStageVolume was asked for it, written down before anything is done.

    Attributes:
        path: the staging path.
        capability: as asked for.
        disk: which.
        driver: that the PCI function is given to; None leaves it alone.
        function: PCI address of the function that was given to `driver`; empty before.
        done: everything was done.
    """

    path: str
    capability: Capability
    disk: DiskIdentity
    driver: HostDriver | None = None
    function: str = ""
    done: bool = False

    def asks_the_same(self, other: "Staging") -> bool:
        """Whether a request is the one that was written down."""
        return (self.path, self.capability, self.driver, self.disk.serial, self.disk.nguid) == (
            other.path,
            other.capability,
            other.driver,
            other.disk.serial,
            other.disk.nguid,
        )


class Publication(_Value, frozen=True):
    """A volume as NodePublishVolume was asked for it."""

    capability: Capability
    read_only: bool


class VolumeRecord(_Value, frozen=True):
    """What is remembered of a volume; what the kernel shows goes before it.

    Attributes:
        volume_id: of CSI.
        staging: None before the first NodeStageVolume.
        publications: by target path.
    """

    volume_id: str
    staging: Staging | None = None
    publications: dict[str, Publication] = {}
