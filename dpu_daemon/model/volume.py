"""Volumes of a storage node: images, copy-on-write clones, exports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from dpu_daemon.model.disk import TargetAddress


class ImageFormat(Enum):
    """File format of an image or volume."""

    RAW = "raw"
    QCOW2 = "qcow2"


class Clearing(Enum):
    """What happens to the blocks of a deleted logical volume."""

    UNMAP = "unmap"
    WRITE_ZEROES = "write_zeroes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A clone source; `source` is a file name inside the image directory."""

    image_id: str
    source: str
    format: ImageFormat
    size_bytes: int
    wanted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One generation's access to a volume over the storage network.

    Attributes:
        host_nqn: what the DPU calls itself; needed where the export is NVMe.
        credentials: name of the set that the DPU must know; empty for an unguarded export.
    """

    generation: int
    dpu: str
    read_only: bool = False
    host_nqn: str = ""
    credentials: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The export that was really put up: whose generation it is, and where it is reached."""

    generation: int
    target: TargetAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume as journalled before its first step.

    Attributes:
        handle: name in the block layer and of its file; at most 20 characters, begins with a letter.
        source_image_id: empty for a blank disk or another source.
        source_snapshot_id: of the snapshot that it was cloned from; also set, to one nobody sees, when a volume was.
        source_volume_id: of the volume that it was cloned from.
        base_image_id: image at the bottom of its chain of copies, when its source is not that image itself.
        cuts: number of its last snapshot; 0 before the first.
        export: who may reach it now; None for nobody.
        wanted: False once a delete is journalled.
        shred: overwrite allocated blocks before the file goes.
        created: its file was seen once; a file missing later is lost data and is never made anew.
        served: the export that is up; differs from `export` while a newer generation takes over.
    """

    volume_id: str
    handle: str
    size_bytes: int
    source_image_id: str = ""
    source_snapshot_id: str = ""
    source_volume_id: str = ""
    base_image_id: str = ""
    cuts: int = 0
    export: Export | None = None
    wanted: bool = True
    shred: bool = False
    created: bool = False
    served: Served | None = None

    @property
    def root_image_id(self) -> str:
        """The image that must be open before the volume can be; empty for none."""
        return self.source_image_id or self.base_image_id


class CutState(Enum):
    """What became of a snapshot's cut."""

    ORDERED = "ordered"
    DONE = "done"
    VOID = "void"
    """It never was cut and never will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A volume's content at one instant, as journalled before its first step.

    Attributes:
        handle: name in the block layer: the volume's handle, a dot, `number`.
        volume_handle: of its volume, which may be gone.
        number: counts the snapshots of a volume, from 1.
        group: snapshots with the same one are cut at one instant.
        size_bytes: of the volume when it was cut.
        base_image_id: image at the bottom of its chain of copies; empty for none.
        state: of the cut.
        wanted: False once its delete is journalled, and from the start for one that only clones a volume; it stays as
            long as clones need it.
        shred: overwrite what it alone holds before that goes.
    """

    snapshot_id: str
    volume_id: str
    handle: str
    volume_handle: str
    number: int
    group: str
    size_bytes: int
    created_unix_ms: int = 0
    base_image_id: str = ""
    state: CutState = CutState.ORDERED
    wanted: bool = True
    shred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A volume and a snapshot of it: one of those that are cut at one instant."""

    volume: Volume
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSeen:
    """A volume as the storage node's block layer and file system show it now."""

    handle: str
    file_exists: bool
    opened: bool
    size_bytes: int
    allocated_bytes: int
    exported: bool
    export_read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSeen:
    """A snapshot as the storage node's block layer and file system show it now.

    Attributes:
        users: volumes and snapshots that stand directly on it, its own volume among them.
        merging: its content is being moved into its only user.
    """

    handle: str
    size_bytes: int
    allocated_bytes: int
    users: int = 0
    merging: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSeen:
    """One look at a storage node; keys are handles. `images` are the open base nodes, by image id."""

    volumes: Mapping[str, VolumeSeen] = field(default_factory=dict)
    images: frozenset[str] = frozenset()
    snapshots: Mapping[str, SnapshotSeen] = field(default_factory=dict)
