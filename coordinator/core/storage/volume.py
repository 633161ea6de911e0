"""What to do about a volume: the next step, from what is wanted and what its backend said last."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from coordinator.core.objects.storage import (
    Attachment,
    DeletionPolicy,
    Image,
    ImagePhase,
    Volume,
    VolumePhase,
)
from coordinator.core.storage.size import MIB, parse_size, spell_size
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
    image_uid: str = ""


def plan_volume(volume: Volume, image: Image | None, attachments: Sequence[Attachment]) -> VolumePlan:
    """Decide the next step of a volume.

    Args:
        image: the source that its spec names; None when it names none or there is none.
        attachments: all that name it.

    Raises:
        DpuError: the spec cannot be fulfilled as it is; names the field.
    """
    if volume.metadata.deleting:
        return _plan_delete(volume, attachments)
    size_bytes = parse_size(volume.spec.size, "spec.size")
    if not volume.usable:
        return _plan_create(volume, image, size_bytes)
    if size_bytes < volume.status.size_bytes:
        raise DpuError(
            Reason.INVALID,
            f"a volume cannot shrink: {spell_size(size_bytes)} is less than the {spell_size(volume.status.size_bytes)}"
            " that it has",
            field="spec.size",
            remedy=f"write at least {spell_size(volume.status.size_bytes)}",
        )
    if size_bytes > volume.status.size_bytes:
        return VolumePlan(step=VolumeStep.RESIZE, why=f"grows to {spell_size(size_bytes)}", size_bytes=size_bytes)
    return VolumePlan(step=VolumeStep.NONE, why=f"{spell_size(size_bytes)} at backend {volume.spec.backend}")


def settled_phase(volume: Volume) -> VolumePhase:
    """Phase of a volume for which nothing is to be done."""
    return VolumePhase.BOUND if volume.status.attachment_ref else VolumePhase.AVAILABLE


def _plan_create(volume: Volume, image: Image | None, size_bytes: int) -> VolumePlan:
    ref = volume.spec.source.image_ref
    if ref is None:
        return VolumePlan(step=VolumeStep.CREATE, why=f"blank disk of {spell_size(size_bytes)}", size_bytes=size_bytes)
    if image is None:
        raise DpuError(
            Reason.NOT_FOUND,
            f"image {ref.name} does not exist",
            field="spec.source.imageRef.name",
            remedy="create the Image, or name one that `kubectl get images` shows",
        )
    if image.status.phase is ImagePhase.FAILED:
        raise DpuError(
            Reason.WRONG_STATE,
            f"image {ref.name} cannot be used",
            field="spec.source.imageRef.name",
            remedy=f"`kubectl describe image {ref.name}` says why",
        )
    if image.status.phase is not ImagePhase.READY:
        return VolumePlan(step=VolumeStep.WAIT, why=f"image {ref.name} is not ready yet")
    if image.spec.backend != volume.spec.backend:
        raise DpuError(
            Reason.INVALID,
            f"image {ref.name} is at backend {image.spec.backend}, the volume at {volume.spec.backend}",
            field="spec.backend",
            remedy=f"write {image.spec.backend}",
        )
    least = -(-image.status.size_bytes // MIB) * MIB
    if size_bytes < least:
        raise DpuError(
            Reason.INVALID,
            f"{spell_size(size_bytes)} is smaller than image {ref.name}, which has {spell_size(least)}",
            field="spec.size",
            remedy=f"write at least {spell_size(least)}",
        )
    why = f"copy-on-write clone of image {ref.name}, {spell_size(size_bytes)}"
    return VolumePlan(step=VolumeStep.CREATE, why=why, size_bytes=size_bytes, image_uid=image.metadata.uid)


def _plan_delete(volume: Volume, attachments: Sequence[Attachment]) -> VolumePlan:
    if attachments:
        names = ", ".join(sorted(attachment.metadata.name for attachment in attachments))
        return VolumePlan(
            step=VolumeStep.WAIT, why=f"it goes when attachment {names} is gone; delete that one to detach it"
        )
    if volume.spec.deletion_policy is DeletionPolicy.RETAIN:
        return VolumePlan(step=VolumeStep.FORGET, why=f"its bytes stay at the backend as {volume.metadata.uid}")
    if volume.spec.deletion_policy is DeletionPolicy.SHRED:
        return VolumePlan(step=VolumeStep.SHRED, why="its bytes are overwritten, then freed")
    return VolumePlan(step=VolumeStep.DELETE, why="its bytes are freed")
