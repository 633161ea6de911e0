"""What a new volume is made of: checked, and journalled together with the volume."""

from dataclasses import dataclass, replace

from dpu_daemon.engine.family import hidden_id
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.model.volume import CutState, Snapshot, Volume
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """At most one of them; none for a blank disk."""

    image_id: str = ""
    snapshot_id: str = ""
    volume_id: str = ""

    def __str__(self) -> str:
        if self.image_id:
            return f"image {self.image_id}"
        if self.snapshot_id:
            return f"snapshot {self.snapshot_id}"
        return f"volume {self.volume_id}" if self.volume_id else "nothing"


BLANK = Source()


def source_of(volume: Volume) -> Source:
    """What a volume was made of, as its creator said it."""
    if volume.source_volume_id:
        return Source(volume_id=volume.source_volume_id)
    return Source(image_id=volume.source_image_id, snapshot_id=volume.source_snapshot_id)


def with_source(ledger: Ledger, volume: Volume, source: Source) -> tuple[Volume, tuple[Snapshot, ...]]:
    """A new volume's record with its source, and the snapshot to be cut for it, if any.

    Raises:
        DpuError: NOT_FOUND, WRONG_STATE or INVALID naming the field.
    """
    if source.image_id:
        image = ledger.images.get(source.image_id)
        if image is None or not image.wanted:
            message = f"image {source.image_id} is not registered here"
            raise DpuError(Reason.NOT_FOUND, message, field="source_image_id", remedy="import the image first")
        _check_size(volume, image.size_bytes, source)
        return replace(volume, source_image_id=source.image_id), ()
    if source.snapshot_id:
        return _of_snapshot(ledger, volume, source), ()
    if source.volume_id:
        return _of_volume(ledger, volume, source)
    return volume, ()


def _of_snapshot(ledger: Ledger, volume: Volume, source: Source) -> Volume:
    snapshot = ledger.snapshots.get(source.snapshot_id)
    if snapshot is None or not snapshot.wanted:
        message = f"snapshot {source.snapshot_id} does not exist here"
        raise DpuError(Reason.NOT_FOUND, message, field="source_snapshot_id", remedy="list the snapshots")
    if snapshot.state is not CutState.DONE:
        message = f"snapshot {source.snapshot_id} is not cut yet"
        raise DpuError(Reason.WRONG_STATE, message, field="source_snapshot_id", remedy="repeat the call", retry=True)
    _check_size(volume, snapshot.size_bytes, source)
    return replace(volume, source_snapshot_id=snapshot.snapshot_id, base_image_id=snapshot.base_image_id)


def _of_volume(ledger: Ledger, volume: Volume, source: Source) -> tuple[Volume, tuple[Snapshot, ...]]:
    origin = ledger.volumes.get(source.volume_id)
    if origin is None or not origin.wanted or not origin.created:
        message = f"volume {source.volume_id} does not exist here"
        raise DpuError(Reason.NOT_FOUND, message, field="source_volume_id", remedy="list the volumes")
    _check_size(volume, origin.size_bytes, source)
    snapshot_id = hidden_id(ledger, volume.volume_id)
    snapshot = replace(ordered(origin, snapshot_id, snapshot_id), wanted=False)
    clone = replace(
        volume,
        source_volume_id=origin.volume_id,
        source_snapshot_id=snapshot_id,
        base_image_id=origin.root_image_id,
    )
    return clone, (snapshot,)


def ordered(volume: Volume, snapshot_id: str, group: str) -> Snapshot:
    """The record of a snapshot that is to be cut of this volume."""
    number = volume.cuts + 1
    return Snapshot(
        snapshot_id=snapshot_id,
        volume_id=volume.volume_id,
        handle=f"{volume.handle}.{number}",
        volume_handle=volume.handle,
        number=number,
        group=group,
        size_bytes=volume.size_bytes,
        base_image_id=volume.root_image_id,
    )


def _check_size(volume: Volume, least_bytes: int, source: Source) -> None:
    if volume.size_bytes < least_bytes:
        message = f"{volume.size_bytes} bytes are fewer than the {least_bytes} of {source}"
        raise DpuError(Reason.INVALID, message, field="size_bytes", remedy=f"ask for at least {least_bytes} bytes")
