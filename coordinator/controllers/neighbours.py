"""The objects around a volume or snapshot, as the caches have them: what it comes from, and who needs it."""

from coordinator.controllers.context import Caches
from coordinator.core.objects.storage import Snapshot, Volume
from coordinator.core.storage.source import Origins
from coordinator.core.storage.volume import Users


def origins_of(caches: Caches, volume: Volume) -> Origins:
    """What a volume's source names, and what that waits for in turn."""
    source = volume.spec.source
    if source.image_ref is not None:
        image = caches.images.get(source.image_ref.name)
        return Origins(images={source.image_ref.name: image} if image else {})
    volumes = {volume.metadata.name: volume}
    snapshots: dict[str, Snapshot] = {}
    _follow(caches, volume, volumes, snapshots)
    return Origins(volumes=volumes, snapshots=snapshots)


def users_of(caches: Caches, volume: Volume) -> Users:
    """Who names a volume."""
    key = volume.metadata.key
    return Users(
        attachments=caches.attachments.by("volume", key),
        snapshots=caches.snapshots.by("volume", key),
        clones=caches.volumes.by("volume", key),
    )


def group_of(caches: Caches, snapshot: Snapshot) -> list[Snapshot]:
    """All snapshots of a snapshot's group; empty without a group."""
    if not snapshot.spec.group_id:
        return []
    return caches.snapshots.by("group", f"{snapshot.metadata.namespace}/{snapshot.spec.group_id}")


def volumes_of(caches: Caches, snapshots: list[Snapshot]) -> dict[str, Volume]:
    """The volumes that snapshots of one namespace name, by name."""
    found = {}
    for snapshot in snapshots:
        name = snapshot.spec.volume_ref.name
        volume = caches.volumes.get(f"{snapshot.metadata.namespace}/{name}")
        if volume is not None:
            found[name] = volume
    return found


def _follow(caches: Caches, volume: Volume, volumes: dict[str, Volume], snapshots: dict[str, Snapshot]) -> None:
    """Collect a chain of sources: to its end, to something that is there, or to where it meets itself."""
    at: Volume | None = volume
    while at is not None:
        name = at.spec.source.volume_ref.name if at.spec.source.volume_ref else ""
        if at.spec.source.snapshot_ref is not None:
            snapshot = caches.snapshots.get(f"{volume.metadata.namespace}/{at.spec.source.snapshot_ref.name}")
            if snapshot is None or snapshot.metadata.name in snapshots:
                return
            snapshots[snapshot.metadata.name] = snapshot
            name = "" if snapshot.cut else snapshot.spec.volume_ref.name
        at = caches.volumes.get(f"{volume.metadata.namespace}/{name}") if name and name not in volumes else None
        if at is not None:
            volumes[name] = at
            at = None if at.usable else at
