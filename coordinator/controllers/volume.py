"""Volumes: made, grown and removed at their backend."""

import time

import msgspec

from coordinator.clients.protocols import Backend
from coordinator.clients.storage import VolumeInfo, VolumeWish
from coordinator.controllers.context import Context
from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.neighbours import origins_of, users_of
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.storage import Volume, VolumePhase, VolumeRequest
from coordinator.core.storage.abilities import Ability, check_creation, check_deletion, require
from coordinator.core.storage.source import Source, SourceKind
from coordinator.core.storage.volume import VolumePlan, VolumeStep, health, plan_volume, settled_phase
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
        caches = self._context.caches
        volume = caches.volumes.get(key)
        if volume is None or (volume.metadata.deleting and FINALIZER not in volume.metadata.finalizers):
            return NEVER
        if FINALIZER not in volume.metadata.finalizers:
            await self._context.set_finalizer(Kind.VOLUME, volume.metadata, FINALIZER, present=True)
            volume = caches.volumes.get(key) or volume
        try:
            plan = plan_volume(volume, origins_of(caches, volume), users_of(caches, volume))
            return await self._carry_out(volume, plan)
        except DpuError as error:
            if error.reason is Reason.CONFLICT:
                raise
            await self._complain(volume, error)
            if error.retry:
                raise
            return Again(after_s=HOPELESS_S)

    async def _carry_out(self, volume: Volume, plan: VolumePlan) -> Again:
        match plan.step:
            case VolumeStep.CREATE:
                await self._create(volume, plan)
            case VolumeStep.RESIZE:
                await self._resize(volume, plan)
            case VolumeStep.DELETE | VolumeStep.SHRED:
                await self._delete(volume, plan)
            case VolumeStep.FORGET:
                self._context.events.tell(Kind.VOLUME, volume.metadata, "Retained", plan.why)
                await self._forget(volume)
            case VolumeStep.WAIT:
                phase = VolumePhase.DELETING if volume.metadata.deleting else VolumePhase.PENDING
                await self._report(volume, phase, "Waiting", plan.why)
            case VolumeStep.NONE:
                await self._report(volume, settled_phase(volume), "Ready", plan.why, ready=True)
        return NEVER

    async def _create(self, volume: Volume, plan: VolumePlan) -> None:
        backend = self._backend(volume)
        traits = await backend.traits()
        check_creation(volume, plan.source, traits.abilities)
        request = volume.status.request or _request(plan.size_bytes, plan.source)
        if traits.own_ids and volume.status.request is None:
            asking = msgspec.structs.replace(volume.status, request=request)
            asked = msgspec.structs.replace(volume, status=asking)
            await self._report(asked, VolumePhase.CREATING, "Creating", plan.why)
        began = time.monotonic()
        made = await backend.create_volume(self._wish(volume, request))
        spent = round(time.monotonic() - began, 4)
        await self._settle(volume, plan.why, made, request.size_bytes, clone_seconds=spent)
        self._context.events.tell(Kind.VOLUME, volume.metadata, "Created", f"{plan.why}, in {spent} s")

    async def _resize(self, volume: Volume, plan: VolumePlan) -> None:
        backend = self._backend(volume)
        abilities = (await backend.traits()).abilities
        remedy = f"write {volume.status.size_bytes}"
        require(abilities, Ability.RESIZE, volume.spec.backend, field="spec.size", remedy=remedy)
        made = await backend.resize_volume(volume.status.handle, plan.size_bytes)
        await self._settle(volume, plan.why, made, plan.size_bytes)
        self._context.events.tell(Kind.VOLUME, volume.metadata, "Resized", plan.why)

    async def _delete(self, volume: Volume, plan: VolumePlan) -> None:
        if volume.spec.backend not in self._context.outside.backends():
            await self._leave(volume)
            return
        backend = self._backend(volume)
        handle = volume.status.handle or await self._lost(volume, backend)
        if handle:
            check_deletion(volume, (await backend.traits()).abilities)
            await self._report(volume, VolumePhase.DELETING, "Deleting", plan.why)
            await backend.delete_volume(handle, erase=plan.step is VolumeStep.SHRED)
        await self._forget(volume)

    async def _leave(self, volume: Volume) -> None:
        """Let a volume go whose backend nobody can ask any more; not one of which it has bytes.

        Raises:
            DpuError: NOT_FOUND.
        """
        name = volume.spec.backend
        if volume.status.handle or volume.status.request is not None:
            raise DpuError(
                Reason.NOT_FOUND,
                f"storage backend {name} is not configured, and has the bytes of this volume",
                field="spec.backend",
                remedy=f"configure [storage.{name}] again, or write spec.deletionPolicy Retain to leave them there",
            )
        says = (
            f"backend {name} is not configured and nothing tells that it made anything (by name {volume.metadata.uid})"
        )
        self._context.events.tell(Kind.VOLUME, volume.metadata, "Forgotten", says, warning=True)
        await self._forget(volume)

    async def _lost(self, volume: Volume, backend: Backend) -> str:
        """Handle of a volume that was asked for and whose making was not written down; empty when it never was."""
        if not (await backend.traits()).own_ids:
            return volume.metadata.uid
        request = volume.status.request
        return await backend.find_volume(self._wish(volume, request)) if request else ""

    def _backend(self, volume: Volume) -> Backend:
        return self._context.outside.backend(volume.spec.backend)

    def _wish(self, volume: Volume, request: VolumeRequest) -> VolumeWish:
        others = self._context.caches.volumes.by("backend", volume.spec.backend)
        parameters = volume.spec.parameters
        kind, handle = request.source_kind, request.source_handle
        return VolumeWish(
            volume_id=volume.metadata.uid,
            size_bytes=request.size_bytes,
            source=Source(kind=SourceKind(kind), handle=handle) if kind else None,
            parameters=parameters,
            taken=frozenset(one.status.handle for one in others if one.usable) if parameters else frozenset(),
        )

    async def _forget(self, volume: Volume) -> None:
        newest = self._context.caches.volumes.get(volume.metadata.key) or volume
        await self._context.set_finalizer(Kind.VOLUME, newest.metadata, FINALIZER, present=False)

    async def _settle(
        self, volume: Volume, why: str, made: VolumeInfo, asked_bytes: int, *, clone_seconds: float | None = None
    ) -> None:
        """Write down what the backend made."""
        newest = self._context.caches.volumes.get(volume.metadata.key) or volume
        spent = newest.status.clone_seconds if clone_seconds is None else clone_seconds
        status = msgspec.structs.replace(
            newest.status,
            handle=made.volume_id,
            size_bytes=made.size_bytes,
            requested_bytes=asked_bytes if asked_bytes < made.size_bytes else 0,
            request=None,
            allocated_bytes=made.allocated_bytes,
            clone_seconds=spent,
            context=dict(made.context) or newest.status.context,
        )
        seen = msgspec.structs.replace(newest, status=status)
        await self._report(seen, settled_phase(newest), "Ready", why, ready=True)

    async def _complain(self, volume: Volume, error: DpuError) -> None:
        volume = self._context.caches.volumes.get(volume.metadata.key) or volume
        if volume.metadata.deleting:
            phase = VolumePhase.DELETING
        elif volume.usable:
            phase = settled_phase(volume)
        elif error.retry:
            phase = VolumePhase.CREATING if volume.status.request else VolumePhase.PENDING
        else:
            # Final: nothing is going on at the backend, and the next try goes by the spec as it is then.
            phase = VolumePhase.FAILED
            volume = msgspec.structs.replace(volume, status=msgspec.structs.replace(volume.status, request=None))
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
            condition=health(self._context.caches.attachments.by("volume", volume.metadata.key)),
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


def _request(size_bytes: int, source: Source | None) -> VolumeRequest:
    if source is None:
        return VolumeRequest(size_bytes=size_bytes)
    return VolumeRequest(size_bytes=size_bytes, source_kind=source.kind.value, source_handle=source.handle)
