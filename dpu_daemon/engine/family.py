"""Volumes and snapshots that stand on each other, as the ledger knows them."""

from collections.abc import Iterator

from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.model.volume import CutState, Image, Member, Snapshot, Volume
from dpu_daemon.plan.steps import AbandonSnapshots, CutSnapshots
from dpu_daemon.plan.volumes import Below

Key = tuple[str, str]


def volume_key(volume_id: str) -> Key:
    """The lock of a volume."""
    return ("volume", volume_id)


def snapshot_key(snapshot_id: str) -> Key:
    """The lock of a snapshot."""
    return ("snapshot", snapshot_id)


def hidden_id(ledger: Ledger, volume_id: str) -> str:
    """A free id for the snapshot through which this volume is cloned from another; no caller can send such an id."""
    number = 1
    while (found := f"~{volume_id}~{number}") in ledger.snapshots:
        number += 1
    return found


def cloning(ledger: Ledger, snapshot: Snapshot) -> bool:
    """Whether a volume is about to be made of it."""
    return any(
        volume.source_snapshot_id == snapshot.snapshot_id and volume.wanted and not volume.created
        for volume in ledger.volumes.values()
    )


def below(ledger: Ledger, volume: Volume) -> Below:
    """What a volume stands on."""
    snapshot = ledger.snapshots.get(volume.source_snapshot_id)
    image: Image | None = ledger.images.get(volume.root_image_id)
    return Below(image=image, snapshot=snapshot, first=unfinished(ledger, volume))


def unfinished(ledger: Ledger, volume: Volume) -> CutSnapshots | AbandonSnapshots | None:
    """What ends a cut that the volume, or the snapshot that it is made of, takes part in."""
    for group in _groups(ledger, volume):
        return end_of_cut(ledger, group)
    return None


def end_of_cut(ledger: Ledger, group: str) -> CutSnapshots | AbandonSnapshots | None:
    """The step that makes a group's cut true, or takes it back when nobody wants it; None when it has ended."""
    ordered = [s for s in ledger.snapshots.values() if s.group == group and s.state is CutState.ORDERED]
    if not ordered:
        return None
    volumes = {volume.volume_id: volume for volume in ledger.volumes.values()}
    ordered.sort(key=lambda each: each.handle)
    members = tuple(Member(volume=volumes[s.volume_id], snapshot=s) for s in ordered if s.volume_id in volumes)
    if all(snapshot.wanted or cloning(ledger, snapshot) for snapshot in ordered):
        return CutSnapshots(members=members)
    return AbandonSnapshots(members=members)


def partners(ledger: Ledger, volume_id: str) -> frozenset[Key]:
    """Locks of the volumes that must end a cut together with this one."""
    volume = ledger.volumes.get(volume_id)
    if volume is None:
        return frozenset()
    groups = set(_groups(ledger, volume))
    return frozenset(volume_key(s.volume_id) for s in ledger.snapshots.values() if s.group in groups)


def image_users(ledger: Ledger, image_id: str) -> Iterator[str]:
    """In words, what stands on an image."""
    for volume in ledger.volumes.values():
        if volume.root_image_id == image_id:
            yield f"volume {volume.volume_id}"
    for snapshot in ledger.snapshots.values():
        if snapshot.base_image_id == image_id:
            yield f"a snapshot of volume {snapshot.volume_id}"


def _groups(ledger: Ledger, volume: Volume) -> Iterator[str]:
    for snapshot in ledger.snapshots.values():
        mine = snapshot.volume_id == volume.volume_id and snapshot.volume_handle == volume.handle
        source = snapshot.snapshot_id == volume.source_snapshot_id and not volume.created
        if snapshot.state is CutState.ORDERED and (mine or source):
            yield snapshot.group
