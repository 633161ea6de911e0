"""Who may use a volume: fencing generations, and what a detach needs."""

from collections.abc import Mapping
from dataclasses import dataclass

from coordinator.core.objects.fleet import Dpu, DpuPhase
from coordinator.core.objects.meta import Metadata, UidRef
from coordinator.core.objects.storage import Attachment, Qos, Volume
from proto.errors import DpuError
from proto.reasons import Reason

FORCE_DETACH = "dpupool.io/force-detach"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The generation that an attachment uses; `bump` when the volume must be told of it first."""

    generation: int
    bump: bool


def claim_volume(volume: Volume, attachment: Attachment, others: Mapping[str, Attachment]) -> Fence:
    """Decide which generation of access `attachment` gets.

    Args:
        others: attachments that name the volume, by UID; `attachment` itself may be among them.

    Raises:
        DpuError: IN_USE; another attachment has the volume and not both are read-only.
    """
    holder = volume.status.attachment_ref
    if holder is None:
        return Fence(generation=volume.status.attach_generation + 1, bump=True)
    if holder.uid == attachment.metadata.uid:
        return Fence(generation=volume.status.attach_generation, bump=False)
    other = others.get(holder.uid)
    if other is None:
        return Fence(generation=volume.status.attach_generation + 1, bump=True)
    if other.spec.read_only and attachment.spec.read_only and not other.metadata.deleting:
        return Fence(generation=volume.status.attach_generation, bump=False)
    raise DpuError(
        Reason.IN_USE,
        f"volume {volume.metadata.name} is attached by {other.metadata.name} to host {other.spec.host_ref.name}",
        field="spec.volumeRef.name",
        remedy=f"delete attachment {other.metadata.name} first",
    )


def next_holder(volume: Volume, leaving: Attachment, others: Mapping[str, Attachment]) -> UidRef | None:
    """Who holds the volume when `leaving` is gone: another reader of the same generation, or nobody."""
    for uid, other in sorted(others.items()):
        stays = uid != leaving.metadata.uid and not other.metadata.deleting
        if stays and other.status.generation and other.status.generation == volume.status.attach_generation:
            return UidRef(name=other.metadata.name, uid=uid)
    return None


def dpu_is_gone(dpu: Dpu | None, *objects: Metadata) -> bool:
    """Whether a detach goes on without its DPU.

    Its object was deleted, or it is offline and one of `objects` (attachment, machine) says that it may be forced.
    """
    if dpu is None:
        return True
    allowed = any(FORCE_DETACH in meta.annotations for meta in objects)
    return allowed and dpu.status.phase is DpuPhase.OFFLINE


def effective_qos(volume: Volume, attachment: Attachment) -> Qos:
    """The limits of a disk: those of the attachment when it says any, 0 being unlimited, else the volume's."""
    return attachment.spec.qos.limits if attachment.spec.qos.said else volume.spec.qos


def disk_identity(volume_uid: str) -> tuple[str, str]:
    """Serial (20 characters) and NGUID (32 hex digits) that a volume has wherever it is attached."""
    digits = volume_uid.replace("-", "").lower()
    return digits[:20], digits
