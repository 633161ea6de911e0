"""Volumes shown to nodes, and taken away again."""

from collections.abc import Sequence

from coordinator.core.csi.names import LONGEST_NODE_BYTES, check_text
from coordinator.core.csi.publishing import PublishWish, attachment_body, find_own, publish_context
from coordinator.core.csi.topology import POOL_KEY, reaches
from coordinator.core.csi.verdict import delay, refusal
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.storage import Attachment, Volume
from coordinator.endpoints.csi.deadline import Deadline
from coordinator.endpoints.csi.inflight import WHOLE, InFlight
from coordinator.endpoints.csi.objects import Objects
from coordinator.endpoints.csi.volumes import Place, VolumeCalls
from proto.errors import DpuError
from proto.reasons import Reason


class PublishCalls:
    """Publish and unpublish: an attachment made, and waited for; or removed, and waited for."""

    def __init__(self, objects: Objects, busy: InFlight, place: Place, volumes: VolumeCalls) -> None:
        self._objects = objects
        self._busy = busy
        self._place = place
        self._volumes = volumes

    async def publish(self, wish: PublishWish, deadline: Deadline) -> dict[str, str]:
        """Show a volume to a node; what the node finds it by.

        Raises:
            DpuError: see the CSI specification; an error that is final leaves no attachment behind.
        """
        wish.check()
        with self._busy.only(wish.volume_id, wish.node_id):
            volume = await self._volumes.known(wish.volume_id)
            self._check_node(wish, volume)
            own = find_own(wish, self._objects.attachments(wish.volume_id))
            if own is not None and own.metadata.deleting:
                if not await self._objects.remove(Kind.ATTACHMENT, [own.metadata], deadline):
                    raise _still_leaving(own)
                own = None
            if own is None:
                own = await self._begin(wish, volume)
            return publish_context(await self._shown(own, deadline))

    async def _begin(self, wish: PublishWish, volume: Volume) -> Attachment:
        await self._objects.create(Kind.ATTACHMENT, attachment_body(wish, volume))
        own = find_own(wish, self._objects.attachments(wish.volume_id))
        if own is None or own.metadata.deleting:
            raise DpuError(
                Reason.CONFLICT, "the attachment was deleted meanwhile", field="node_id", remedy="repeat the call"
            )
        return own

    def _check_node(self, wish: PublishWish, volume: Volume) -> None:
        host = self._objects.host(wish.node_id)
        if host is None or host.metadata.deleting:
            raise DpuError(
                Reason.NOT_FOUND,
                f"there is no node {wish.node_id}",
                field="node_id",
                remedy="the node's id is the name of its BareMetalHost; create that",
            )
        pools = self._place.pools_of(volume.spec.backend)
        if not reaches(pools, host.metadata.labels):
            raise DpuError(
                Reason.WRONG_STATE,
                f"node {wish.node_id} does not reach backend {volume.spec.backend} of volume {wish.volume_id}",
                field="node_id",
                remedy=f"publish to a node with label {POOL_KEY} in {', '.join(sorted(pools))}",
            )

    async def _shown(self, begun: Attachment, deadline: Deadline) -> Attachment:
        """Wait until the node has the disk; what it cannot have is taken away before the error is told."""
        meta = begun.metadata

        def look() -> Attachment | DpuError | None:
            now = self._objects.attachment(meta.name)
            if now is None or now.metadata.uid != meta.uid or now.metadata.deleting:
                raise DpuError(Reason.CONFLICT, "the attachment was deleted meanwhile", remedy="repeat the call")
            return now if now.ready else refusal(now.status.conditions, meta.generation)

        found: Attachment | DpuError | None = await self._objects.until(Kind.ATTACHMENT, [meta.name], look, deadline)
        if isinstance(found, Attachment):
            return found
        if found is None:
            now = self._objects.attachment(meta.name) or begun
            raise delay(now.status.conditions, f"publishing to node {begun.spec.host_ref.name}")
        await self._objects.take_back(Kind.ATTACHMENT, [meta], deadline, found)
        raise found

    async def unpublish(self, volume_id: str, node_id: str, deadline: Deadline) -> None:
        """Take a volume from a node, or from all nodes; one that is not there is good.

        Args:
            volume_id: of the volume.
            node_id: of the node; empty for all.
            deadline: of the call.

        Raises:
            DpuError: DEADLINE or UNAVAILABLE; it is on its way out.
        """
        check_text(volume_id, "volume_id")
        if node_id:
            check_text(node_id, "node_id", LONGEST_NODE_BYTES)
        self._objects.check_synced()
        with self._busy.only(volume_id, node_id or WHOLE):
            leaving = self._attachments(volume_id, node_id)
            if not await self._objects.remove(Kind.ATTACHMENT, [one.metadata for one in leaving], deadline):
                left = self._attachments(volume_id, node_id)
                if left:
                    raise _still_leaving(left[0])

    def _attachments(self, volume_id: str, node_id: str) -> Sequence[Attachment]:
        found = self._objects.attachments(volume_id)
        return [one for one in found if not node_id or one.spec.host_ref.name == node_id]


def _still_leaving(attachment: Attachment) -> DpuError:
    return delay(attachment.status.conditions, f"unpublishing from node {attachment.spec.host_ref.name}")
