"""Volumes: made, grown and removed at their backend."""

import time

import msgspec

from coordinator.clients.storage import Source, SourceKind, VolumeInfo, VolumeWish
from coordinator.controllers.context import Context
from coordinator.controllers.loop import NEVER, Again
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.storage import Image, Volume, VolumePhase
from coordinator.core.storage.volume import VolumePlan, VolumeStep, plan_volume, settled_phase
from proto.errors import DpuError
from proto.reasons import Reason

FINALIZER = "dpupool.io/volume"
HOPELESS_S = 15.0


class VolumeController:
    """Keeps volumes as their spec says."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: str) -> Again:
        """Look at one volume."""
        volume = self._context.caches.volumes.get(key)
        if volume is None or (volume.metadata.deleting and FINALIZER not in volume.metadata.finalizers):
            return NEVER
        if FINALIZER not in volume.metadata.finalizers:
            await self._context.set_finalizer(Kind.VOLUME, volume.metadata, FINALIZER, present=True)
            volume = self._context.caches.volumes.get(key) or volume
        try:
            plan = plan_volume(
                volume, self._image(volume), self._context.caches.attachments.by("volume", volume.metadata.key)
            )
            return await self._carry_out(volume, plan)
        except DpuError as error:
            if error.reason is Reason.CONFLICT:
                raise
            await self._complain(volume, error)
            if error.retry:
                raise
            return Again(after_s=HOPELESS_S)

    async def _carry_out(self, volume: Volume, plan: VolumePlan) -> Again:
        backend = self._context.outside.backend(volume.spec.backend)
        uid = volume.metadata.uid
        match plan.step:
            case VolumeStep.CREATE:
                began = time.monotonic()
                made = await backend.create_volume(self._wish(uid, plan))
                spent = round(time.monotonic() - began, 4)
                await self._settle(volume, plan.why, made, clone_seconds=spent)
                self._context.events.tell(Kind.VOLUME, volume.metadata, "Created", f"{plan.why}, in {spent} s")
            case VolumeStep.RESIZE:
                await self._settle(volume, plan.why, await backend.resize_volume(volume.status.handle, plan.size_bytes))
                self._context.events.tell(Kind.VOLUME, volume.metadata, "Resized", plan.why)
            case VolumeStep.DELETE | VolumeStep.SHRED:
                await self._report(volume, VolumePhase.DELETING, "Deleting", plan.why)
                await backend.delete_volume(volume.status.handle or uid, erase=plan.step is VolumeStep.SHRED)
                await self._forget(volume)
            case VolumeStep.FORGET:
                self._context.events.tell(Kind.VOLUME, volume.metadata, "Retained", plan.why)
                await self._forget(volume)
            case VolumeStep.WAIT:
                phase = VolumePhase.DELETING if volume.metadata.deleting else VolumePhase.PENDING
                await self._report(volume, phase, "Waiting", plan.why)
            case VolumeStep.NONE:
                await self._report(volume, settled_phase(volume), "Ready", plan.why, ready=True)
        return NEVER

    def _wish(self, uid: str, plan: VolumePlan) -> VolumeWish:
        source = Source(kind=SourceKind.IMAGE, handle=plan.image_uid) if plan.image_uid else None
        return VolumeWish(volume_id=uid, size_bytes=plan.size_bytes, source=source)

    async def _forget(self, volume: Volume) -> None:
        newest = self._context.caches.volumes.get(volume.metadata.key) or volume
        await self._context.set_finalizer(Kind.VOLUME, newest.metadata, FINALIZER, present=False)

    def _image(self, volume: Volume) -> Image | None:
        ref = volume.spec.source.image_ref
        return self._context.caches.images.get(ref.name) if ref else None

    async def _settle(self, volume: Volume, why: str, made: VolumeInfo, *, clone_seconds: float | None = None) -> None:
        """Write down what the backend made."""
        newest = self._context.caches.volumes.get(volume.metadata.key) or volume
        spent = newest.status.clone_seconds if clone_seconds is None else clone_seconds
        status = msgspec.structs.replace(
            newest.status,
            handle=made.volume_id,
            size_bytes=made.size_bytes,
            allocated_bytes=made.allocated_bytes,
            clone_seconds=spent,
        )
        seen = msgspec.structs.replace(newest, status=status)
        await self._report(seen, settled_phase(newest), "Ready", why, ready=True)

    async def _complain(self, volume: Volume, error: DpuError) -> None:
        if volume.metadata.deleting:
            phase = VolumePhase.DELETING
        elif volume.usable:
            phase = settled_phase(volume)
        else:
            phase = VolumePhase.PENDING if error.retry else VolumePhase.FAILED
        if await self._report(volume, phase, error.reason.value, str(error)):
            self._context.events.tell(Kind.VOLUME, volume.metadata, error.reason.value, str(error), warning=True)

    async def _report(
        self, volume: Volume, phase: VolumePhase, reason: str, message: str, *, ready: bool = False
    ) -> bool:
        """Write phase and condition, and whatever else of `volume.status` is news."""
        current = self._context.caches.volumes.get(volume.metadata.key)
        if current is None:
            return False
        status = msgspec.structs.replace(
            volume.status,
            observed_generation=volume.metadata.generation,
            phase=phase,
            attach_generation=current.status.attach_generation,
            attachment_ref=current.status.attachment_ref,
            conditions=with_condition(
                current.status.conditions,
                Aspect.READY,
                Truth.TRUE if ready else Truth.FALSE,
                reason=reason,
                message=message,
                generation=volume.metadata.generation,
                now=self._context.clock(),
            ),
        )
        return await self._context.write_status(Kind.VOLUME, current, status)
