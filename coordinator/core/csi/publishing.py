"""A volume shown to a node: who else has it, and what the node is told to find it by."""

from collections.abc import Sequence
from dataclasses import dataclass

from coordinator.core.csi.capabilities import Capability, spell_use
from coordinator.core.csi.names import LONGEST_NODE_BYTES, attachment_name, check_text
from coordinator.core.csi.volumes import PROTOCOL
from coordinator.core.objects.meta import API_VERSION, Json
from coordinator.core.objects.storage import Attachment, Volume
from coordinator.core.storage.attachment import FORCE_DETACH
from proto.errors import DpuError
from proto.reasons import Reason

USE = "csi.dpupool.io/use"
"""Annotation of an attachment: how the volume is used, to be compared with a repeat."""
_PREFIX = "dpupool.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishWish:
    """A volume for a node, and how it is used there."""

    volume_id: str
    node_id: str
    capability: Capability
    readonly: bool

    @property
    def read_only(self) -> bool:
        """Whether the disk refuses writes."""
        return self.readonly or self.capability.reads_only

    @property
    def use(self) -> str:
        """What a repeat must be equal in."""
        return spell_use(self.capability, read_only=self.read_only)

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            DpuError: INVALID.
        """
        check_text(self.volume_id, "volume_id")
        check_text(self.node_id, "node_id", LONGEST_NODE_BYTES)
        self.capability.check()


def find_own(wish: PublishWish, attachments: Sequence[Attachment]) -> Attachment | None:
    """The attachment that shows the volume to the node already; one that is on its way out counts.

    Args:
        wish: what is asked for.
        attachments: all of the volume.

    Raises:
        DpuError: ALREADY_EXISTS, it is used otherwise there; IN_USE, another node has it, which the message names.
    """
    for other in attachments:
        elsewhere = other.spec.host_ref.name != wish.node_id and not other.metadata.deleting
        if elsewhere and not (wish.capability.shared and wish.read_only and other.spec.read_only):
            raise DpuError(
                Reason.IN_USE,
                f"volume {wish.volume_id} is published to node {other.spec.host_ref.name}",
                field="node_id",
                remedy="unpublish it there first, or use MULTI_NODE_READER_ONLY on all nodes",
            )
    own = next((one for one in attachments if one.spec.host_ref.name == wish.node_id), None)
    if own is not None and not own.metadata.deleting:
        _check_same_use(wish, own)
    return own


def _check_same_use(wish: PublishWish, own: Attachment) -> None:
    use = own.metadata.annotations.get(USE, wish.use)
    if own.spec.read_only != wish.read_only or use != wish.use:
        raise DpuError(
            Reason.ALREADY_EXISTS,
            f"volume {wish.volume_id} is published to node {wish.node_id} as {use}, not as {wish.use}",
            field="volume_capability",
            remedy="unpublish it first, or ask for the same use",
        )


def attachment_body(wish: PublishWish, volume: Volume) -> Json:
    """The VolumeAttachment of a wish.

    It may be forced: who takes a volume from a node whose DPU is offline relies on the storage node's fence.
    """
    spec: Json = {
        "volumeRef": {"name": volume.metadata.name},
        "hostRef": {"name": wish.node_id},
        "readOnly": wish.read_only,
    }
    if PROTOCOL in volume.metadata.annotations:
        spec["protocol"] = volume.metadata.annotations[PROTOCOL]
    metadata = {
        "name": attachment_name(volume.metadata.name, wish.node_id),
        "namespace": volume.metadata.namespace,
        "annotations": {USE: wish.use, FORCE_DETACH: "ControllerUnpublishVolume"},
    }
    return {"apiVersion": API_VERSION, "kind": "VolumeAttachment", "metadata": metadata, "spec": spec}


def publish_context(attachment: Attachment) -> dict[str, str]:
    """What the node finds the disk by; nothing of the storage network."""
    status = attachment.status
    found = {
        "serial": status.serial,
        "nguid": status.nguid,
        "protocol": status.protocol,
        "pci-address": status.pci_address,
        "slot": "" if status.slot is None else str(status.slot),
        "size-bytes": str(status.size_bytes),
    }
    return {f"{_PREFIX}/{key}": value for key, value in found.items() if value}


def published_nodes(attachments: Sequence[Attachment]) -> list[str]:
    """Nodes that have a volume, or may have it: an attachment that was given a fence is not gone before its object."""
    return sorted({one.spec.host_ref.name for one in attachments if one.status.generation})
