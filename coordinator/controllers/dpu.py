"""DPUs: watched, judged online or not, and swept of what nobody wants any more before they count as online."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from coordinator.clients.model import DaemonEvent, EventSubject
from coordinator.controllers.context import Context
from coordinator.controllers.loop import NEVER, Again
from coordinator.controllers.monitor import Monitor, Pulse
from coordinator.controllers.offload import adds_nothing, offloading
from coordinator.controllers.sweep import Sweeper
from coordinator.core.conditions import Aspect, Truth, find, with_condition
from coordinator.core.objects.fleet import Dpu, DpuPhase, DpuStatus, Slots, SocUsage
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import moment, second
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

SWEEP_S = 60.0
RESWEEP_S = 5.0
"""After the sweep of a return: a forced detach that was decided just before it may have left something since."""


@dataclass(slots=True)
class _Watch:
    """A monitor at work, and what it was started for."""

    monitor: Monitor
    task: asyncio.Task[None]
    where: tuple[str, str]
    swept: tuple[str, int] | None = None
    sweep_at: datetime | None = None
    dirt: str = ""

    @property
    def contact(self) -> tuple[str, int] | None:
        """Which life of the journal is in touch since which return; None without contact."""
        pulse = self.monitor.pulse
        return None if pulse.error or pulse.info is None else (pulse.info.instance_id, pulse.contact)

    @property
    def uncleanness(self) -> str:
        """Why the DPU must not get a new machine yet; empty when it was swept in this contact."""
        if self.dirt:
            return self.dirt
        return "" if self.swept == self.contact else "has not been looked through since its return"


class DpuController:
    """One watch per Dpu object."""

    def __init__(self, context: Context, news: Callable[[DaemonEvent], None]) -> None:
        self._context = context
        self._news = news
        self._watches: dict[str, _Watch] = {}
        self._sweeper = Sweeper(context)
        self.wanted: Callable[[str], None] = lambda _key: None

    async def reconcile(self, key: str) -> Again:
        """Look at one DPU."""
        dpu = self._context.caches.dpus.get(key)
        if dpu is None or dpu.metadata.deleting:
            await self._stop(key)
            return NEVER
        where = (dpu.spec.address, dpu.server_name)
        watch = self._watches.get(key)
        if watch is None or watch.where != where or watch.task.done():
            await self._stop(key)
            watch = self._watch(dpu, where)
        await self._sweep(dpu, watch)
        await self._write(dpu, watch)
        left = self._context.timing.offline_after_s - watch.monitor.pulse.silent_s()
        return Again(after_s=left + 0.01) if watch.monitor.pulse.error and left > 0 else NEVER

    async def close(self) -> None:
        """End all watches."""
        for key in list(self._watches):
            await self._stop(key)

    def _watch(self, dpu: Dpu, where: tuple[str, str]) -> _Watch:
        key = dpu.metadata.key

        def told(event: DaemonEvent) -> None:
            self._tell(key, event)

        timing = self._context.timing
        monitor = Monitor(
            self._context.dpu(dpu), timing.dpu_poll_s, timing.offload_poll_s, lambda: self.wanted(key), told
        )
        task = asyncio.get_running_loop().create_task(monitor.run(), name=f"watch of DPU {key}")
        self._watches[key] = _Watch(monitor=monitor, task=task, where=where)
        return self._watches[key]

    async def _stop(self, key: str) -> None:
        watch = self._watches.pop(key, None)
        if watch:
            watch.task.cancel()
            await asyncio.gather(watch.task, return_exceptions=True)

    def _tell(self, key: str, event: DaemonEvent) -> None:
        """Pass a DPU's event on: to its object's Events, and to those who look after what it is about."""
        dpu = self._context.caches.dpus.get(key)
        if dpu is None:
            return
        attachments = self._context.caches.attachments.by("uid", event.id)
        if event.subject is EventSubject.ATTACHMENT and attachments:
            meta = attachments[0].metadata
            self._context.events.tell(Kind.ATTACHMENT, meta, event.reason, event.message, warning=event.warning)
        elif event.reason:
            self._context.events.tell(Kind.DPU, dpu.metadata, event.reason, event.message, warning=event.warning)
        self._news(event)

    async def _write(self, dpu: Dpu, watch: _Watch) -> None:
        dpu = self._context.caches.dpus.get(dpu.metadata.key) or dpu
        status = self._judge(dpu, watch)
        if not await self._context.write_status(Kind.DPU, dpu, status) or status.phase is dpu.status.phase:
            return
        says = next(entry.message for entry in status.conditions if entry.type == Aspect.READY.value)
        warning = status.phase in {DpuPhase.OFFLINE, DpuPhase.DEGRADED}
        self._context.events.tell(Kind.DPU, dpu.metadata, status.phase.value, says, warning=warning)

    def _judge(self, dpu: Dpu, watch: _Watch) -> DpuStatus:
        pulse = watch.monitor.pulse
        phase, says = self._phase(dpu, pulse, watch.uncleanness)
        reason = pulse.error.reason.value if pulse.error else phase.value
        now = self._context.clock()
        status = msgspec.structs.replace(
            dpu.status,
            observed_generation=dpu.metadata.generation,
            phase=phase,
            conditions=with_condition(
                dpu.status.conditions,
                Aspect.READY,
                Truth.TRUE if phase is DpuPhase.ONLINE else Truth.FALSE,
                reason=reason,
                message=says,
                generation=dpu.metadata.generation,
                now=now,
            ),
        )
        status = self._offload(dpu, status, pulse, now)
        if pulse.error or pulse.info is None:
            return status
        return self._details(status, pulse, now)

    def _offload(self, dpu: Dpu, status: DpuStatus, pulse: Pulse, now: datetime) -> DpuStatus:
        """With the condition whether flows are in hardware, as of the newest report since the DPU's last return.

        Until there is one it stays as it was; of a DPU that is offline nothing is known.
        """
        found = pulse.error if status.phase is DpuPhase.OFFLINE else pulse.offload
        if found is None:
            return status
        says = offloading(found)
        if adds_nothing(says, find(status.conditions, Aspect.OFFLOAD)):
            return status
        conditions = with_condition(
            status.conditions,
            Aspect.OFFLOAD,
            says.truth,
            reason=says.reason.value,
            message=says.message,
            generation=dpu.metadata.generation,
            now=now,
        )
        return msgspec.structs.replace(status, conditions=conditions)

    def _phase(self, dpu: Dpu, pulse: Pulse, uncleanness: str) -> tuple[DpuPhase, str]:
        remedy = f"see that dpu-daemon runs and that {dpu.spec.address} (spec.address) is reachable"
        if pulse.error:
            quiet = pulse.silent_s() >= self._context.timing.offline_after_s
            known = dpu.status.phase not in {DpuPhase.PENDING, DpuPhase.OFFLINE}
            phase = DpuPhase.OFFLINE if quiet else (DpuPhase.DEGRADED if known else dpu.status.phase)
            return phase, f"{pulse.error.message}; {pulse.error.remedy or remedy}"
        if pulse.info is None:
            return dpu.status.phase, "has not been asked yet"
        if not pulse.info.ready:
            return DpuPhase.DEGRADED, pulse.info.message or "converges after its start"
        if uncleanness:
            return DpuPhase.DEGRADED, uncleanness
        return DpuPhase.ONLINE, pulse.info.message or "answers and has converged"

    def _details(self, status: DpuStatus, pulse: Pulse, now: datetime) -> DpuStatus:
        info, usage = pulse.info, pulse.usage
        if info is None:
            return status
        fresh = msgspec.structs.replace(
            status,
            version=info.version,
            instance_id=info.instance_id,
            host_nqn=info.host_nqn,
            drivers=info.drivers,
            disk_slots=Slots(total=info.disk_slots, used=info.disk_slots_used),
            nic_slots=Slots(total=info.nic_slots, used=info.nic_slots_used),
            queue_depth=info.queue_depth,
        )
        old = moment(status.last_seen) if status.last_seen else None
        stale = old is None or (now - old).total_seconds() >= self._context.timing.refresh_s
        if fresh == status and not stale:
            return status
        soc = (
            SocUsage(
                cpu_percent=round(usage.cpu_percent, 1),
                memory_available_bytes=usage.memory_available_bytes,
                daemon_rss_bytes=usage.daemon_rss_bytes,
            )
            if usage
            else None
        )
        return msgspec.structs.replace(fresh, last_seen=second(now), usage=soc)

    async def _sweep(self, dpu: Dpu, watch: _Watch) -> None:
        """After each return of the DPU, before it is told to be online, and now and then: take what nobody wants."""
        contact, now = watch.contact, self._context.clock()
        if contact is None or (watch.swept == contact and watch.sweep_at is not None and now < watch.sweep_at):
            return
        returned = watch.swept != contact
        trouble = "cannot be looked through for things nobody wants"
        try:
            left = await self._sweeper.find(dpu)
            if left.count:
                watch.swept, watch.dirt = None, f"being cleaned of {left.count} things nobody wants"
                trouble = watch.dirt
                await self._write(dpu, watch)
                await self._sweeper.remove(dpu, left)
        except DpuError as error:
            if error.reason is not Reason.CONFLICT and watch.swept != contact:
                watch.dirt = f"{trouble}: {error}"
                await self._write(dpu, watch)
            raise
        watch.dirt, watch.swept = "", contact
        watch.sweep_at = now + timedelta(seconds=RESWEEP_S if returned else SWEEP_S)
