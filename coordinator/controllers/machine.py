"""Machines: one look, one plan, carried out; again as long as there is something to do at once."""

import asyncio
from collections.abc import Callable

import structlog

from coordinator.controllers.changes import Changes
from coordinator.controllers.context import Context
from coordinator.controllers.jobs import Jobs
from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.work import POWER_STEPS, MachineWork
from coordinator.core.conditions import Aspect, find, holds
from coordinator.core.ipam.allocate import leases_of
from coordinator.core.ipam.book import PodsOf
from coordinator.core.machine.claims import claimed_host
from coordinator.core.machine.names import ROOT, owned_name
from coordinator.core.machine.plan import plan_machine
from coordinator.core.machine.report import new_status, notices
from coordinator.core.machine.seen import Finalizer, Plan, Seen
from coordinator.core.machine.steps import StepState
from coordinator.core.objects.fleet import Host
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Machine, MachineStatus
from coordinator.core.objects.meta import moment
from coordinator.core.objects.storage import Attachment, Volume

log = structlog.get_logger(__name__)

ROUNDS = 12
"""Looks in a row before other machines have their turn."""


class MachineController:
    """Leads machines through their life."""

    def __init__(self, context: Context, jobs: Jobs, metrics: ControllerMetrics, doubt: Callable[[str], None]) -> None:
        self._context = context
        self._jobs = jobs
        self._metrics = metrics
        self._changes = Changes(context)
        self._work = MachineWork(context, doubt)

    async def reconcile(self, key: str) -> Again:
        """Look at one machine."""
        for _ in range(ROUNDS):
            machine = self._context.caches.machines.get(key)
            if machine is None:
                return NEVER
            seen = self._look(machine)
            plan = plan_machine(seen, self._context.timing.deadlines)
            if not await self._carry_out(seen, plan):
                return Again(after_s=plan.wake_s)
        return Again(after_s=0.0)

    def gone(self, uid: str) -> None:
        """A machine's object is no more."""
        self._jobs.forget(uid)

    async def _carry_out(self, seen: Seen, plan: Plan) -> bool:
        """Do what a plan says; whether another look at once may find more to do."""
        machine = seen.machine
        self._start(seen, plan)
        for notice in notices(seen, plan):
            self._tell(machine, notice.reason, notice.message, warning=notice.warning)
        if any(isinstance(change, Finalizer) for change in plan.changes):
            await self._changes.apply(seen, plan.changes)
            return True
        written, changed = await asyncio.gather(
            self._write(seen, new_status(seen, plan)), self._changes.apply(seen, plan.changes)
        )
        return written or changed

    def _start(self, seen: Seen, plan: Plan) -> None:
        meta = seen.machine.metadata
        for step in plan.steps:
            self._jobs.start(meta.uid, meta.key, step, self._work.of(seen, step))

    async def _write(self, seen: Seen, status: MachineStatus) -> bool:
        before = seen.machine.status
        wrote = await self._context.write_status(Kind.MACHINE, seen.machine, status)
        if wrote and before.phase is not status.phase and len(status.timeline) > 1:
            left = status.timeline[-2]
            if left.seconds is not None:
                self._metrics.phases.labels(left.phase.value).observe(left.seconds)
        return wrote and before.phase is not status.phase

    def _tell(self, machine: Machine, reason: str, message: str, *, warning: bool) -> None:
        self._context.events.tell(Kind.MACHINE, machine.metadata, reason, message, warning=warning)

    def _look(self, machine: Machine) -> Seen:
        caches, uid = self._context.caches, machine.metadata.uid
        host = claimed_host(machine, caches.hosts.by("holder", uid))
        if host is not None:
            self._forgive(uid, host)
        subnets = {one.metadata.name: one for one in caches.subnets.all()}
        return Seen(
            machine=machine,
            now=self._context.clock(),
            host=host,
            dpu=caches.dpus.get(self._dpu_of(machine, host)),
            image=caches.images.get(machine.spec.image),
            volumes=self._volumes(machine),
            attachments=self._attachments(machine),
            subnets=subnets,
            networks={one.metadata.name: one for one in caches.networks.all()},
            leases=leases_of(uid, subnets.values()),
            hosts=() if host else tuple(caches.hosts.all()),
            dpus={} if host else {one.metadata.name: one for one in caches.dpus.all()},
            machines=caches.machines.all(),
            pods=PodsOf(caches.addresses.book),
            steps=self._jobs.of(uid),
        )

    def _dpu_of(self, machine: Machine, host: Host | None) -> str:
        """Name of the DPU of the machine's host; of a host that is lost, as far as objects still tell it."""
        ref = machine.status.host_ref
        if host is None and ref is not None:
            host = self._context.caches.hosts.get(ref.name)
        if host is not None:
            return host.spec.dpu_ref.name
        own = self._context.caches.attachments.by("machine", machine.metadata.uid) if ref is not None else []
        return next((one.status.dpu for one in own if one.status.dpu), "")

    def _volumes(self, machine: Machine) -> dict[str, Volume]:
        """The machine's own, those that its disks name, and strangers that have a name it wants."""
        caches, meta = self._context.caches, machine.metadata
        found = {one.metadata.name: one for one in caches.volumes.by("machine", meta.uid)}
        names = [owned_name(machine, ROOT)]
        data = machine.spec.disks
        names += [disk.volume_ref.name if disk.volume_ref else owned_name(machine, disk.name) for disk in data]
        for name in names:
            volume = caches.volumes.get(f"{meta.namespace}/{name}")
            if volume is not None:
                found[name] = volume
        return found

    def _attachments(self, machine: Machine) -> dict[str, Attachment]:
        caches, meta = self._context.caches, machine.metadata
        found = {one.metadata.name: one for one in caches.attachments.by("machine", meta.uid)}
        for name in [ROOT, *(disk.name for disk in machine.spec.disks)]:
            attachment = caches.attachments.get(f"{meta.namespace}/{owned_name(machine, name)}")
            if attachment is not None:
                found[attachment.metadata.name] = attachment
        return found

    def _forgive(self, uid: str, host: Host) -> None:
        """A BMC that answers again is asked again at once."""
        reachable = find(host.status.conditions, Aspect.BMC_REACHABLE)
        if reachable is None or not holds(host.status.conditions, Aspect.BMC_REACHABLE):
            return
        since = moment(reachable.last_transition_time)
        tried = [one for one in self._jobs.of(uid).values() if one.step.kind in POWER_STEPS]
        failed = [one for one in tried if one.state is StepState.FAILED and one.ended_at]
        if any(one.ended_at is not None and one.ended_at.replace(microsecond=0) <= since for one in failed):
            self._jobs.forget_failures(uid)
