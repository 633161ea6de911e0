"""Snapshots: cut at their backend, several of them at one instant, and removed."""

from datetime import UTC, datetime

import msgspec

from coordinator.clients.protocols import Backend
from coordinator.clients.storage import SnapshotInfo, SnapshotWish
from coordinator.controllers.context import Context
from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.neighbours import group_of, volumes_of
from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import stamp
from coordinator.core.objects.storage import Snapshot, SnapshotPhase, SnapshotStatus
from coordinator.core.storage.abilities import Ability, require
from coordinator.core.storage.snapshot import Member, SnapshotPlan, SnapshotStep, plan_snapshot
from proto.errors import DpuError
from proto.reasons import Reason

FINALIZER = "dpupool.io/snapshot"
HOPELESS_S = 15.0
NOT_READY_S = 1.0
"""Between questions to a backend that still works on a snapshot which is cut; it offers no way to be told."""


class SnapshotController:
    """Keeps snapshots as their spec says."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, key: str) -> Again:
        """Look at one snapshot."""
        caches = self._context.caches
        snapshot = caches.snapshots.get(key)
        if snapshot is None or (snapshot.metadata.deleting and FINALIZER not in snapshot.metadata.finalizers):
            return NEVER
        try:
            self._plan(snapshot)
            if FINALIZER not in snapshot.metadata.finalizers:
                await self._context.set_finalizer(Kind.SNAPSHOT, snapshot.metadata, FINALIZER, present=True)
                snapshot = caches.snapshots.get(key) or snapshot
            return await self._carry_out(snapshot, self._plan(snapshot))
        except DpuError as error:
            if error.reason is Reason.CONFLICT:
                raise
            await self._complain(snapshot, error)
            if error.retry:
                raise
            return Again(after_s=HOPELESS_S)

    def _plan(self, snapshot: Snapshot) -> SnapshotPlan:
        """Before the finalizer as well as after it: a volume on its way out waits for what has one."""
        caches = self._context.caches
        group = group_of(caches, snapshot)
        volumes = volumes_of(caches, group or [snapshot])
        return plan_snapshot(snapshot, group, volumes, caches.volumes.by("snapshot", snapshot.metadata.key))

    async def _carry_out(self, snapshot: Snapshot, plan: SnapshotPlan) -> Again:
        match plan.step:
            case SnapshotStep.CUT:
                return await self._cut(plan)
            case SnapshotStep.DELETE:
                await self._delete(snapshot, plan)
            case SnapshotStep.WAIT:
                phase = SnapshotPhase.DELETING if snapshot.metadata.deleting else SnapshotPhase.PENDING
                await self._report(snapshot, phase, "Waiting", plan.why)
            case SnapshotStep.NONE:
                await self._report(snapshot, SnapshotPhase.READY, "Ready", plan.why)
        return NEVER

    async def _cut(self, plan: SnapshotPlan) -> Again:
        name = plan.members[0].volume.spec.backend
        backend = self._context.outside.backend(name)
        traits = await backend.traits()
        path, remedy = "spec.volumeRef.name", "use a volume of another backend"
        require(traits.abilities, Ability.SNAPSHOT, name, field=path, remedy=remedy)
        if len(plan.members) > 1:
            remedy = "cut the snapshots one by one, without spec.groupId"
            require(traits.abilities, Ability.GROUP, name, field="spec.groupId", remedy=remedy)
        if traits.own_ids:
            await self._intend(plan)
        infos = await backend.create_snapshots([_wish(member) for member in plan.members])
        ready = True
        for member, info in zip(plan.members, infos, strict=True):
            await self._settle(member, info)
            ready = ready and info.ready
        return NEVER if ready else Again(after_s=NOT_READY_S)

    async def _intend(self, plan: SnapshotPlan) -> None:
        """Write down where the cuts will be before they are made: a backend with ids of its own must be asked there."""
        for member in plan.members:
            current = self._context.caches.snapshots.get(member.snapshot.metadata.key)
            if current is not None and current.status.backend != member.volume.spec.backend:
                status = msgspec.structs.replace(current.status, backend=member.volume.spec.backend)
                await self._context.write_status(Kind.SNAPSHOT, current, status)

    async def _settle(self, member: Member, info: SnapshotInfo) -> None:
        """Write down what the backend cut."""
        current = self._context.caches.snapshots.get(member.snapshot.metadata.key)
        if current is None:
            return
        news = not current.cut
        status = msgspec.structs.replace(
            current.status,
            handle=info.handle,
            backend=member.volume.spec.backend,
            size_bytes=info.size_bytes,
            created_at=stamp(datetime.fromtimestamp(info.created_unix_ms / 1000, UTC)),
            ready_to_use=info.ready,
            volume_uid=member.volume.metadata.uid,
            encryption_secret=member.volume.spec.secret,
        )
        why = f"of volume {member.volume.metadata.name}"
        phase = SnapshotPhase.READY if info.ready else SnapshotPhase.PENDING
        if current.metadata.deleting:
            phase = SnapshotPhase.DELETING
        await self._report(current, phase, phase.value, why, status=status)
        if news:
            self._context.events.tell(Kind.SNAPSHOT, current.metadata, "Cut", why)

    async def _delete(self, snapshot: Snapshot, plan: SnapshotPlan) -> None:
        volume = self._context.caches.volumes.get(f"{snapshot.metadata.namespace}/{snapshot.spec.volume_ref.name}")
        name = snapshot.status.backend or (volume.spec.backend if volume else "")
        known = name in self._context.outside.backends()
        if known or snapshot.cut or snapshot.status.backend:
            backend = self._context.outside.backend(name)
            handle = snapshot.status.handle or await self._lost(snapshot, backend)
            if handle:
                await self._report(snapshot, SnapshotPhase.DELETING, "Deleting", plan.why)
                await backend.delete_snapshot(handle)
        newest = self._context.caches.snapshots.get(snapshot.metadata.key) or snapshot
        await self._context.set_finalizer(Kind.SNAPSHOT, newest.metadata, FINALIZER, present=False)

    async def _lost(self, snapshot: Snapshot, backend: Backend) -> str:
        """Handle of a snapshot whose cut was not written down; empty when it was never asked for."""
        traits = await backend.traits()
        if not traits.own_ids:
            return snapshot.metadata.uid if Ability.SNAPSHOT in traits.abilities else ""
        volume = volumes_of(self._context.caches, [snapshot]).get(snapshot.spec.volume_ref.name)
        if not snapshot.status.backend or volume is None or not volume.usable:
            return ""
        return await backend.find_snapshot(_wish(Member(snapshot=snapshot, volume=volume)))

    async def _complain(self, snapshot: Snapshot, error: DpuError) -> None:
        if snapshot.metadata.deleting:
            phase = SnapshotPhase.DELETING
        elif snapshot.cut:
            phase = SnapshotPhase.READY if snapshot.status.ready_to_use else SnapshotPhase.PENDING
        else:
            phase = SnapshotPhase.PENDING if error.retry else SnapshotPhase.FAILED
        if await self._report(snapshot, phase, error.reason.value, str(error)):
            self._context.events.tell(Kind.SNAPSHOT, snapshot.metadata, error.reason.value, str(error), warning=True)

    async def _report(
        self,
        snapshot: Snapshot,
        phase: SnapshotPhase,
        reason: str,
        message: str,
        *,
        status: SnapshotStatus | None = None,
    ) -> bool:
        """Write phase and condition, and the rest of `status` where it is given."""
        current = self._context.caches.snapshots.get(snapshot.metadata.key)
        if current is None:
            return False
        ready = phase is SnapshotPhase.READY and reason == SnapshotPhase.READY.value
        told = msgspec.structs.replace(
            status or current.status,
            observed_generation=snapshot.metadata.generation,
            phase=phase,
            conditions=with_condition(
                current.status.conditions,
                Aspect.READY,
                Truth.TRUE if ready else Truth.FALSE,
                reason=reason,
                message=message,
                generation=snapshot.metadata.generation,
                now=self._context.clock(),
            ),
        )
        return await self._context.write_status(Kind.SNAPSHOT, current, told)


def _wish(member: Member) -> SnapshotWish:
    return SnapshotWish(snapshot_id=member.snapshot.metadata.uid, volume=member.volume.status.handle)
