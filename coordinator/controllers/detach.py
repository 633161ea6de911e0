"""Takes an attachment away: from its host, from its DPU, and the volume out of its reach."""

import msgspec
import structlog

from coordinator.clients.storage import ExportWish
from coordinator.controllers.context import Context
from coordinator.controllers.credentials import Credentials
from coordinator.controllers.loop import NEVER, Again
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.objects.fleet import Dpu
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.storage import Attachment, AttachmentPhase, Volume
from coordinator.core.storage.attachment import FORCE_DETACH, dpu_is_gone, next_holder
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

FINALIZER = "dpupool.io/attachment"


class Detacher:
    """The way back of an attachment."""

    def __init__(self, context: Context, credentials: Credentials) -> None:
        self._context = context
        self._credentials = credentials

    async def detach(self, attachment: Attachment) -> Again:
        """Undo all that was done for an attachment, then let it go.

        Raises:
            DpuError: something on the way refused or does not answer; the status says so.
        """
        if FINALIZER not in attachment.metadata.finalizers:
            return NEVER
        volume = self._context.caches.volumes.get(f"{attachment.metadata.namespace}/{attachment.spec.volume_ref.name}")
        generation = self._generation(attachment, volume)
        try:
            if generation:
                await self._from_dpu(attachment, volume, generation)
                await self._from_volume(attachment, volume, generation)
        except DpuError as error:
            if error.reason is not Reason.CONFLICT:
                await self._say(attachment, error)
            raise
        newest = self._context.caches.attachments.get(attachment.metadata.key) or attachment
        await self._context.set_finalizer(Kind.ATTACHMENT, newest.metadata, FINALIZER, present=False)
        return NEVER

    def _generation(self, attachment: Attachment, volume: Volume | None) -> int:
        """The fence that this attachment was given; 0 when it never got so far."""
        if attachment.status.generation:
            return attachment.status.generation
        holder = volume.status.attachment_ref if volume else None
        mine = holder is not None and holder.uid == attachment.metadata.uid
        return volume.status.attach_generation if volume and mine else 0

    async def _from_dpu(self, attachment: Attachment, volume: Volume | None, generation: int) -> None:
        dpu = self._dpu(attachment)
        if dpu is None or dpu_is_gone(dpu, attachment.metadata):
            says = "its DPU is gone: the volume is fenced, and the DPU is swept when it comes back"
            self._context.events.tell(Kind.ATTACHMENT, attachment.metadata, "ForcedDetach", says, warning=True)
            return
        outcome = await self._context.dpu(dpu).detach(attachment.metadata.uid, generation)
        if volume is not None:
            await self._credentials.lock(dpu, volume)
        log.info("detached", attachment=attachment.metadata.key, dpu=dpu.metadata.name, outcome=outcome)

    def _dpu(self, attachment: Attachment) -> Dpu | None:
        return self._context.caches.dpus.get(self._dpu_name(attachment))

    def _dpu_name(self, attachment: Attachment) -> str:
        if attachment.status.dpu:
            return attachment.status.dpu
        host = self._context.caches.hosts.get(attachment.spec.host_ref.name)
        return host.spec.dpu_ref.name if host else ""

    async def _from_volume(self, attachment: Attachment, volume: Volume | None, generation: int) -> None:
        """Close the export and give the volume back, or hand both to the next reader of the same generation."""
        if volume is None:
            return
        others = {one.metadata.uid: one for one in self._context.caches.attachments.by("volume", volume.metadata.key)}
        holder = next_holder(volume, attachment, others)
        if holder is None and volume.status.handle and self._is_there(attachment, volume.spec.backend):
            await self._unexport(volume, self._dpu_name(attachment), generation)
        ours = volume.status.attachment_ref
        if ours is None or ours.uid != attachment.metadata.uid:
            return
        newest = self._context.caches.volumes.get(volume.metadata.key)
        if newest is not None:
            status = msgspec.structs.replace(newest.status, attachment_ref=holder)
            await self._context.write_status(Kind.VOLUME, newest, status)

    def _is_there(self, attachment: Attachment, backend: str) -> bool:
        """Whether a backend can be asked; the next export there, if ever, has a newer generation than this one."""
        if backend in self._context.outside.backends():
            return True
        says = f"backend {backend} is not configured: what it exports stays until it is asked for this volume again"
        self._context.events.tell(Kind.ATTACHMENT, attachment.metadata, "ExportLeft", says, warning=True)
        return False

    async def _unexport(self, volume: Volume, dpu: str, generation: int) -> None:
        backend = self._context.outside.backend(volume.spec.backend)
        wish = ExportWish(volume=volume.status.handle, dpu=dpu, generation=generation, context=volume.status.context)
        try:
            await backend.unexport_volume(wish)
        except DpuError as error:
            if error.reason not in {Reason.NOT_FOUND, Reason.STALE_GENERATION}:
                raise

    async def _say(self, attachment: Attachment, error: DpuError) -> None:
        current = self._context.caches.attachments.get(attachment.metadata.key)
        if current is None:
            return
        way_out = f"; if the DPU never comes back, delete its Dpu object or annotate this with {FORCE_DETACH}"
        message = f"{error}" + (way_out if error.wire.grpc in {"UNAVAILABLE", "DEADLINE_EXCEEDED"} else "")
        status = msgspec.structs.replace(
            current.status,
            phase=AttachmentPhase.DETACHING,
            conditions=with_condition(
                current.status.conditions,
                Aspect.READY,
                Truth.FALSE,
                reason=error.reason.value,
                message=message,
                generation=current.metadata.generation,
                now=self._context.clock(),
            ),
        )
        if await self._context.write_status(Kind.ATTACHMENT, current, status):
            self._context.events.tell(Kind.ATTACHMENT, current.metadata, error.reason.value, message, warning=True)
