"""What to do about a volume: the next step, from what is wanted and what its backend said last."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from coordinator.core.objects.storage import (
    Attachment,
    AttachmentPhase,
    DeletionPolicy,
    Snapshot,
    SnapshotPhase,
    Volume,
    VolumeHealth,
    VolumePhase,
)
from coordinator.core.storage.size import parse_size, spell_size
from coordinator.core.storage.source import Origins, Source, find_source
from proto.errors import DpuError
from proto.reasons import Reason


class VolumeStep(Enum):
    """The next call to a backend, if any."""

    NONE = "none"
    WAIT = "wait"
    CREATE = "create"
    RESIZE = "resize"
    DELETE = "delete"
    SHRED = "shred"
    FORGET = "forget"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePlan:
    """What to do now, and the sentence that says why."""

    step: VolumeStep
    why: str
    size_bytes: int = 0
    source: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Who needs a volume, of those that name it.

    Attributes:
        snapshots: cut of it, or to be cut.
        clones: volumes that name it as their source.
    """

    attachments: Sequence[Attachment] = ()
    snapshots: Sequence[Snapshot] = ()
    clones: Sequence[Volume] = ()


def plan_volume(volume: Volume, origins: Origins, users: Users) -> VolumePlan:
    """Decide the next step of a volume.

    Raises:
        DpuError: the spec cannot be fulfilled as it is; names the field.
    """
    if volume.metadata.deleting:
        return _plan_delete(volume, users)
    size_bytes = parse_size(volume.spec.size, "spec.size")
    if not volume.usable:
        return _plan_create(volume, size_bytes, origins)
    least = volume.status.requested_bytes or volume.status.size_bytes
    if size_bytes < least:
        raise DpuError(
            Reason.INVALID,
            f"a volume cannot shrink: {spell_size(size_bytes)} is less than the {spell_size(least)} that it has",
            field="spec.size",
            remedy=f"write at least {spell_size(least)}",
        )
    if size_bytes > volume.status.size_bytes:
        return VolumePlan(step=VolumeStep.RESIZE, why=f"grows to {spell_size(size_bytes)}", size_bytes=size_bytes)
    return VolumePlan(
        step=VolumeStep.NONE, why=f"{spell_size(volume.status.size_bytes)} at backend {volume.spec.backend}"
    )


def settled_phase(volume: Volume) -> VolumePhase:
    """Phase of a volume for which nothing is to be done."""
    return VolumePhase.BOUND if volume.status.attachment_ref else VolumePhase.AVAILABLE


def health(attachments: Sequence[Attachment]) -> VolumeHealth:
    """How the volume is, from the disks that show it."""
    for attachment in sorted(attachments, key=lambda one: one.metadata.name):
        if attachment.status.phase is AttachmentPhase.DEGRADED:
            words = f"its disk at host {attachment.spec.host_ref.name} is degraded"
            said = [entry.message for entry in attachment.status.conditions if entry.type == "Ready"]
            return VolumeHealth(abnormal=True, message=f"{words}: {said[0]}" if said else words)
    return VolumeHealth()


def _plan_create(volume: Volume, size_bytes: int, origins: Origins) -> VolumePlan:
    found = find_source(volume, size_bytes, origins)
    if found is None:
        return VolumePlan(step=VolumeStep.CREATE, why=f"blank disk of {spell_size(size_bytes)}", size_bytes=size_bytes)
    if found.source is None:
        return VolumePlan(step=VolumeStep.WAIT, why=found.why)
    return VolumePlan(step=VolumeStep.CREATE, why=found.why, size_bytes=size_bytes, source=found.source)


def _plan_delete(volume: Volume, users: Users) -> VolumePlan:
    blocker = _blocker(volume, users)
    if blocker:
        return VolumePlan(step=VolumeStep.WAIT, why=blocker)
    if volume.spec.deletion_policy is DeletionPolicy.RETAIN:
        handle = volume.status.handle or volume.metadata.uid
        return VolumePlan(step=VolumeStep.FORGET, why=f"its bytes stay at the backend as {handle}")
    if volume.spec.deletion_policy is DeletionPolicy.SHRED:
        return VolumePlan(step=VolumeStep.SHRED, why="its bytes are overwritten, then freed")
    return VolumePlan(step=VolumeStep.DELETE, why="its bytes are freed")


def _blocker(volume: Volume, users: Users) -> str:
    """Why a volume cannot go yet; empty when it can. A clone that is made needs its source no more."""
    if users.attachments:
        names = ", ".join(sorted(attachment.metadata.name for attachment in users.attachments))
        return f"it goes when attachment {names} is gone; delete that one to detach it"
    if snapshots := sorted(one.metadata.name for one in users.snapshots if stands_on(one, volume)):
        names = ", ".join(snapshots[:3])
        return f"it goes when its {len(snapshots)} snapshots are gone ({names}); delete them first"
    if clones := sorted(one.metadata.name for one in users.clones if is_being_cloned(one)):
        return f"it goes when volume {clones[0]} has been cloned from it"
    return ""


def stands_on(snapshot: Snapshot, volume: Volume) -> bool:
    """Whether a snapshot that names a volume was cut of it, or may be at this moment."""
    if snapshot.cut:
        return snapshot.status.volume_uid == volume.metadata.uid
    return snapshot.status.phase is not SnapshotPhase.FAILED and bool(snapshot.metadata.finalizers)


def is_being_cloned(clone: Volume) -> bool:
    """Whether a volume that names a source still needs it."""
    return not clone.usable and not clone.metadata.deleting and clone.status.phase is not VolumePhase.FAILED
