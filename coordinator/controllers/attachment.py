"""Attachments: a volume fenced, exported and shown to a host by its DPU; and the way back."""

from dataclasses import replace

import msgspec

from coordinator.clients.model import Disk, DiskSpec, LinkState
from coordinator.clients.storage import ExportWish
from coordinator.controllers.context import Context
from coordinator.controllers.credentials import Credentials
from coordinator.controllers.detach import Detacher
from coordinator.controllers.loop import NEVER, Again
from coordinator.core.conditions import Aspect, Truth, holds, with_condition
from coordinator.core.objects.fleet import Dpu, DpuPhase
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import UidRef
from coordinator.core.objects.storage import Attachment, AttachmentPhase, Volume, VolumePhase
from coordinator.core.storage.attachment import claim_volume, disk_identity, effective_qos
from proto.errors import DpuError
from proto.reasons import Reason

FINALIZER = "dpupool.io/attachment"
HOPELESS_S = 15.0

FOLLOWABLE = frozenset({"spec.qos", "spec.size_bytes"})
"""Fields in which a disk that is shown already may differ from what is asked for: it is made to follow."""

EXCLUSIVE = frozenset({"spec.boot_order", "spec.serial", "spec.nguid"})
"""Fields whose values one disk of a DPU has at a time."""

PHASE_OF: dict[LinkState, AttachmentPhase] = {
    LinkState.READY: AttachmentPhase.ATTACHED,
    LinkState.DEGRADED: AttachmentPhase.DEGRADED,
    LinkState.CONVERGING: AttachmentPhase.ATTACHING,
    LinkState.LEAVING: AttachmentPhase.DETACHING,
    LinkState.UNSPECIFIED: AttachmentPhase.ATTACHING,
}


class AttachmentController:
    """Attaches and detaches. Knows which attachments this process has asked its DPU for, by journal of the DPU."""

    def __init__(self, context: Context, credentials: Credentials) -> None:
        self._context = context
        self._credentials = credentials
        self._ensured: dict[str, str] = {}
        self._detacher = Detacher(context, credentials)

    def lane_of(self, key: str) -> str:
        """Attaching and detaching do not wait for each other."""
        found = self._context.caches.attachments.get(key)
        return "detach" if found is not None and found.metadata.deleting else "attach"

    def distrust(self, uid: str) -> None:
        """A DPU told of a change: ask it again at the next look."""
        self._ensured.pop(uid, None)

    async def reconcile(self, key: str) -> Again:
        """Look at one attachment."""
        attachment = self._context.caches.attachments.get(key)
        if attachment is None:
            return NEVER
        if attachment.metadata.deleting:
            self._ensured.pop(attachment.metadata.uid, None)
            return await self._detacher.detach(attachment)
        if FINALIZER not in attachment.metadata.finalizers:
            await self._context.set_finalizer(Kind.ATTACHMENT, attachment.metadata, FINALIZER, present=True)
            attachment = self._context.caches.attachments.get(key) or attachment
        try:
            return await self._attach(attachment)
        except DpuError as error:
            if error.reason is Reason.CONFLICT:
                raise
            await self._complain(attachment, error)
            if error.retry:
                raise
            return Again(after_s=HOPELESS_S)

    async def _attach(self, attachment: Attachment) -> Again:
        volume = self._volume(attachment)
        if not volume.usable:
            if volume.status.phase is VolumePhase.FAILED:
                says = f"volume {volume.metadata.name} cannot be made; `kubectl describe volume` says why"
                await self._report(attachment, AttachmentPhase.PENDING, "Waiting", says)
            return NEVER
        if volume.metadata.deleting:
            raise DpuError(
                Reason.WRONG_STATE,
                f"volume {volume.metadata.name} is being deleted",
                field="spec.volumeRef.name",
                remedy="delete this attachment",
            )
        dpu = self._dpu(attachment)
        if self._is_settled(attachment, volume, dpu):
            return NEVER
        volume, generation = await self._fence(attachment, volume)
        disk = await self._admit_and_show(attachment, volume, dpu, generation)
        await self._settle(attachment, dpu, disk, generation)
        self._ensured[attachment.metadata.uid] = self._mark(attachment, volume, dpu)
        return NEVER if disk.state is LinkState.READY else Again(after_s=1.0)

    async def _fence(self, attachment: Attachment, volume: Volume) -> tuple[Volume, int]:
        """Write the generation on the volume before anybody uses it."""
        others = {one.metadata.uid: one for one in self._context.caches.attachments.by("volume", volume.metadata.key)}
        fence = claim_volume(volume, attachment, others)
        if not fence.bump:
            return volume, fence.generation
        status = msgspec.structs.replace(
            volume.status,
            attach_generation=fence.generation,
            attachment_ref=UidRef(name=attachment.metadata.name, uid=attachment.metadata.uid),
        )
        await self._context.write_status(Kind.VOLUME, volume, status)
        return self._volume(attachment), fence.generation

    async def _admit_and_show(self, attachment: Attachment, volume: Volume, dpu: Dpu, generation: int) -> Disk:
        """Show the disk, with credentials that both ends know; brought once more when one says that it does not."""
        backend = self._context.outside.backend(volume.spec.backend)
        if not dpu.status.host_nqn and (await backend.traits()).transport.startswith("nvme"):
            raise DpuError(
                Reason.UNAVAILABLE,
                f"DPU {dpu.metadata.name} has not told its NQN yet",
                field="spec.hostRef.name",
                remedy="it does when it answers; see the Dpu",
            )
        credentials = await self._credentials.admit(dpu, volume.spec.backend, backend)
        try:
            return await self._show(attachment, volume, dpu, generation, credentials)
        except DpuError as error:
            if "credentials" not in error.field or not self._credentials.doubt(credentials):
                raise
        credentials = await self._credentials.admit(dpu, volume.spec.backend, backend)
        return await self._show(attachment, volume, dpu, generation, credentials)

    async def _show(self, attachment: Attachment, volume: Volume, dpu: Dpu, generation: int, credentials: str) -> Disk:
        spec = attachment.spec
        wish = ExportWish(
            volume=volume.status.handle,
            dpu=dpu.metadata.name,
            generation=generation,
            read_only=spec.read_only,
            host_nqn=dpu.status.host_nqn,
            credentials=credentials,
            context=volume.status.context,
        )
        address = await self._context.outside.backend(volume.spec.backend).export_volume(wish)
        encryption = await self._credentials.unlock(dpu, volume)
        serial, nguid = disk_identity(volume.metadata.uid)
        asked = DiskSpec(
            volume_id=volume.status.handle,
            size_bytes=attachment.status.size_bytes or volume.status.size_bytes,
            target=address,
            serial=serial,
            nguid=nguid,
            protocol=spec.protocol,
            read_only=spec.read_only,
            boot_order=spec.boot_order,
            qos=effective_qos(volume, attachment),
            machine_id=spec.machine_ref.uid if spec.machine_ref else "",
            encryption=encryption,
        )
        client = self._context.dpu(dpu)
        uid = attachment.metadata.uid
        try:
            disk = await client.attach(uid, generation, asked)
        except DpuError as error:
            if error.reason is not Reason.ALREADY_EXISTS or error.field not in FOLLOWABLE:
                raise self._judged(error, dpu) from error
            disk = await client.set_qos(uid, asked.qos)
            disk = await client.attach(uid, generation, replace(asked, size_bytes=disk.size_bytes))
        if disk.size_bytes < volume.status.size_bytes:
            disk = await client.resize(attachment.metadata.uid, volume.status.size_bytes)
        return disk

    def _judged(self, error: DpuError, dpu: Dpu) -> DpuError:
        """A refusal as it is, but for a clash with what is on its way out of the DPU: that one is worth repeating."""
        if error.reason is not Reason.ALREADY_EXISTS or error.field not in EXCLUSIVE:
            return error
        leaving = any(one.metadata.deleting for one in self._context.caches.attachments.by("dpu", dpu.metadata.name))
        if not leaving and dpu.status.phase is DpuPhase.ONLINE:
            return error
        remedy = "it is on its way out; this attachment goes on when it is gone"
        return DpuError(error.reason, error.message, field=error.field, remedy=remedy, retry=True)

    def _is_settled(self, attachment: Attachment, volume: Volume, dpu: Dpu) -> bool:
        """Whether the DPU was asked for just this, in its journal's present life, by this process, and said yes."""
        whole = attachment.status.phase is AttachmentPhase.ATTACHED
        same = self._ensured.get(attachment.metadata.uid) == self._mark(attachment, volume, dpu)
        return whole and same and holds(attachment.status.conditions, Aspect.READY)

    def _mark(self, attachment: Attachment, volume: Volume, dpu: Dpu) -> str:
        limits = effective_qos(volume, attachment)
        wanted = (
            attachment.metadata.generation,
            volume.status.size_bytes,
            limits,
            dpu.status.instance_id,
            dpu.status.host_nqn,
        )
        return repr(wanted)

    def _volume(self, attachment: Attachment) -> Volume:
        name = attachment.spec.volume_ref.name
        found = self._context.caches.volumes.get(f"{attachment.metadata.namespace}/{name}")
        if found is None:
            raise DpuError(
                Reason.NOT_FOUND,
                f"volume {name} does not exist",
                field="spec.volumeRef.name",
                remedy="create the Volume, or name one that `kubectl get volumes` shows",
            )
        return found

    def _dpu(self, attachment: Attachment) -> Dpu:
        name = attachment.spec.host_ref.name
        host = self._context.caches.hosts.get(name)
        if host is None:
            raise DpuError(
                Reason.NOT_FOUND,
                f"host {name} does not exist",
                field="spec.hostRef.name",
                remedy="create the BareMetalHost, or name one that `kubectl get baremetalhosts` shows",
            )
        dpu = self._context.caches.dpus.get(host.spec.dpu_ref.name)
        if dpu is None:
            raise DpuError(
                Reason.NOT_FOUND,
                f"DPU {host.spec.dpu_ref.name} of host {name} is not registered",
                field="spec.hostRef.name",
                remedy="create the Dpu object",
            )
        return dpu

    async def _settle(self, attachment: Attachment, dpu: Dpu, disk: Disk, generation: int) -> None:
        status = msgspec.structs.replace(
            attachment.status,
            generation=generation,
            dpu=dpu.metadata.name,
            slot=disk.slot,
            serial=disk.serial,
            nguid=disk.nguid,
            pci_address=disk.pci_address,
            protocol=disk.protocol.value if disk.protocol else "",
            size_bytes=disk.size_bytes,
            live_resize=disk.live_resize,
            qos=disk.qos,
        )
        seen = msgspec.structs.replace(attachment, status=status)
        whole = disk.state is LinkState.READY
        says = f"slot {disk.slot} of DPU {dpu.metadata.name}" + (f": {disk.message}" if not whole else "")
        phase = PHASE_OF[disk.state]
        await self._report(seen, phase, "Ready" if whole else phase.value, says, ready=whole)
        if whole and attachment.status.phase is not AttachmentPhase.ATTACHED:
            self._context.events.tell(Kind.ATTACHMENT, attachment.metadata, "Attached", says)

    async def _complain(self, attachment: Attachment, error: DpuError) -> None:
        """Say what is wrong; a disk that was whole is degraded, one that never was is not there yet."""
        if attachment.ready:
            phase = AttachmentPhase.DEGRADED
        else:
            phase = AttachmentPhase.ATTACHING if error.retry else AttachmentPhase.FAILED
        if await self._report(attachment, phase, error.reason.value, str(error)):
            self._context.events.tell(
                Kind.ATTACHMENT, attachment.metadata, error.reason.value, str(error), warning=True
            )

    async def _report(
        self, attachment: Attachment, phase: AttachmentPhase, reason: str, message: str, *, ready: bool = False
    ) -> bool:
        current = self._context.caches.attachments.get(attachment.metadata.key)
        if current is None:
            return False
        status = msgspec.structs.replace(
            attachment.status,
            observed_generation=attachment.metadata.generation,
            phase=phase,
            conditions=with_condition(
                current.status.conditions,
                Aspect.READY,
                Truth.TRUE if ready else Truth.FALSE,
                reason=reason,
                message=message,
                generation=attachment.metadata.generation,
                now=self._context.clock(),
            ),
        )
        return await self._context.write_status(Kind.ATTACHMENT, current, status)
