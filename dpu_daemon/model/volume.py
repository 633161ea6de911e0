"""Volumes of a storage node: images, copy-on-write clones, exports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from dpu_daemon.model.disk import TargetAddress


class ImageFormat(Enum):
    """File format of an image or volume."""

    RAW = "raw"
    QCOW2 = "qcow2"


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
    """One generation's access to a volume over the storage network."""

    generation: int
    dpu: str
    read_only: bool = False


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
        source_image_id: empty for a blank disk.
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
    export: Export | None = None
    wanted: bool = True
    shred: bool = False
    created: bool = False
    served: Served | None = None


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
class TargetSeen:
    """One look at a storage node; keys are handles. `images` are the open base nodes, by image id."""

    volumes: Mapping[str, VolumeSeen] = field(default_factory=dict)
    images: frozenset[str] = frozenset()
