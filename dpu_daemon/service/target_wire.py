"""Images, volumes and snapshots of a storage node: wire to model, checked, and back."""

import re

from dpu_daemon.engine.snapshots import SnapshotView
from dpu_daemon.engine.sources import Source, source_of
from dpu_daemon.engine.volumes import VolumeView
from dpu_daemon.model.volume import Image, ImageFormat
from dpu_daemon.service.validation import check_id, check_optional_id, invalid
from proto.dpu.v1 import target_pb2

_NQN = re.compile(r"nqn\.\d{4}-(0[1-9]|1[0-2])\.[A-Za-z0-9.-]+:[!-~]+")
LONGEST_NQN = 223
"""Bytes. Source: NVM Express Base Specification, NVMe Qualified Names."""


def check_source(value: str) -> str:
    """A file name inside the image directory, never a path out of it.

    Raises:
        DpuError: INVALID.
    """
    if not value or "/" in value or "\0" in value or value.startswith("."):
        raise invalid("source", f"{value[:60]!r} is not a file name", "use the name of a file in the image directory")
    return value


def check_nqn(field: str, value: str) -> str:
    """An NVMe qualified name; empty for none."""
    if value and (len(value) > LONGEST_NQN or not _NQN.fullmatch(value)):
        remedy = "use one such as nqn.2014-08.org.nvmexpress:uuid:..."
        raise invalid(field, f"{value[:60]!r} is no NVMe qualified name", remedy)
    return value


def to_source(request: target_pb2.CreateVolumeRequest) -> Source:
    """What a volume is to be made of.

    Raises:
        DpuError: INVALID for more than one source.
    """
    source = Source(
        image_id=check_optional_id("source_image_id", request.source_image_id),
        snapshot_id=check_optional_id("source_snapshot_id", request.source_snapshot_id),
        volume_id=check_optional_id("source_volume_id", request.source_volume_id),
    )
    if sum(map(bool, (source.image_id, source.snapshot_id, source.volume_id))) > 1:
        message = "a volume has one source at most"
        raise invalid("source_image_id", message, "name an image, a snapshot or a volume")
    if source.volume_id and source.volume_id == request.volume_id:
        raise invalid("source_volume_id", "a volume is not made of itself", "name another volume")
    return source


def to_members(request: target_pb2.CreateSnapshotsRequest) -> dict[str, str]:
    """Ids of volumes by the ids of the snapshots to be cut of them.

    Raises:
        DpuError: INVALID for an id that comes twice.
    """
    asked: dict[str, str] = {}
    for number, member in enumerate(request.members):
        snapshot_id = check_id(f"members[{number}].snapshot_id", member.snapshot_id)
        if snapshot_id in asked:
            field = f"members[{number}].snapshot_id"
            raise invalid(field, f"snapshot {snapshot_id} is named twice", "give each an id of its own")
        asked[snapshot_id] = check_id(f"members[{number}].volume_id", member.volume_id)
    return asked


def to_format(value: str) -> ImageFormat:
    """The format of an image file.

    Raises:
        DpuError: INVALID.
    """
    try:
        return ImageFormat(value)
    except ValueError as error:
        known = ", ".join(each.value for each in ImageFormat)
        raise invalid("format", f"{value[:40]!r} is no image format", f"use one of {known}") from error


def from_image(image: Image) -> target_pb2.ImageInfo:
    """An image for the wire."""
    return target_pb2.ImageInfo(
        image_id=image.image_id, source=image.source, format=image.format.value, size_bytes=image.size_bytes
    )


def from_volume(view: VolumeView) -> target_pb2.VolumeInfo:
    """A volume for the wire."""
    record, source = view.record, source_of(view.record)
    return target_pb2.VolumeInfo(
        volume_id=record.volume_id,
        size_bytes=record.size_bytes,
        source_image_id=source.image_id,
        source_snapshot_id=source.snapshot_id,
        source_volume_id=source.volume_id,
        allocated_bytes=view.seen.allocated_bytes if view.seen else 0,
        exported=record.export is not None,
        export_generation=record.export.generation if record.export else 0,
        message=view.message,
    )


def from_snapshot(view: SnapshotView) -> target_pb2.SnapshotInfo:
    """A snapshot for the wire."""
    record = view.record
    return target_pb2.SnapshotInfo(
        snapshot_id=record.snapshot_id,
        volume_id=record.volume_id,
        size_bytes=record.size_bytes,
        created_unix_ms=record.created_unix_ms,
        message=view.message,
    )
