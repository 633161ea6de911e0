"""The audit of pods' ports: those that are not as wanted, halves of ADDs that a restart cut off, strays."""

from dataclasses import replace

from dpu_daemon.engine.convergence import LOOK_S, Job, converge
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.pod_job import LimitsJob, PodDrivers, PodJob, StrayPodJob
from dpu_daemon.engine.pod_ports import PodPorts, pod_key
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.model.assignment import PodPort
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.pod_port import PodWorld
from dpu_daemon.plan.pod_ports import plan_limits, plan_pod_port, stray_pods

LIMITS = "limits"


class PodAuditor:
    """Compares all pods' ports with one look.

    Args:
        ledger: what is wanted.
        drivers: where to look.
        pods: carries repairs to their end.
    """

    def __init__(self, ledger: Ledger, drivers: PodDrivers, pods: PodPorts) -> None:
        self._ledger = ledger
        self._drivers = drivers
        self._pods = pods
        self._bridge = pods.settings.bridge
        self._passed = False

    async def audit(self) -> tuple[Repair, ...]:
        """Ports that are not as wanted, and ports and limits of ours that nobody wants."""
        records = dict(self._ledger.pod_ports)
        names = {record.representor for record in records.values()}
        self._drivers.links.expect(self._pods.life.functions())
        seen = await within(LOOK_S, self._drivers.look(names), "look at the pods' ports")
        coming = self._pods.being_given()
        repairs = [
            Repair(pod_key(port_id), EventKind.POD_PORT, port_id, why, self._repair(port_id))
            for port_id, record in sorted(records.items())
            if port_id not in coming and (why := self._fault(record, seen))
        ]
        repairs += [
            Repair(
                pod_key(port.iface_id),
                EventKind.POD_PORT,
                port.iface_id,
                f"{port.name} of {port.iface_id}: in no journal",
                self._convergence(StrayPodJob(port.name, self._ledger, self._drivers)),
            )
            for port in stray_pods(records, seen)
            if port.iface_id not in coming
        ]
        if not (plan := plan_limits(seen)).settled:
            work = self._convergence(LimitsJob(LIMITS, self._drivers))
            repairs.append(Repair(("pod_port", LIMITS, "all"), EventKind.DRIVER, LIMITS, plan.why, work))
        repairs += self._leftovers()
        return self._first([replace(repair, lane=LaneName.POD) for repair in repairs])

    def _first(self, repairs: list[Repair]) -> tuple[Repair, ...]:
        """Repairs of the first pass tell when the last of them was tried."""
        audited = self._pods.reader.audited
        if audited.is_set():
            return tuple(repairs)
        if not repairs or self._passed:
            audited.set()
            return tuple(repairs)
        self._passed = True
        left = set(range(len(repairs)))

        def counted(number: int, work: RepairWork) -> RepairWork:
            async def counting() -> bool:
                try:
                    return await work()
                finally:
                    left.discard(number)
                    if not left:
                        audited.set()

            return counting

        return tuple(replace(repair, work=counted(n, repair.work)) for n, repair in enumerate(repairs))

    def _fault(self, record: PodPort, seen: PodWorld) -> str:
        """Why a port needs work; empty when it does not."""
        plan = plan_pod_port(record, self._ledger.assignments.get(record.port_id), self._bridge, seen)
        if not record.wanted:
            return f"{record.representor}: not wanted any more"
        if not self._pods.life.is_noted(record):
            answered = self._pods.life.is_established(record)
            return f"{record.representor}: {'forwards, and no journal says so' if answered else 'its ADD was cut off'}"
        return "" if plan.settled else plan.why

    def _leftovers(self) -> list[Repair]:
        """Assignments that were taken back, whose holder went at the same moment."""
        return [
            Repair(pod_key(port_id), EventKind.POD_PORT, port_id, f"{port_id} was taken back", self._tidy(port_id))
            for port_id, assignment in sorted(self._ledger.assignments.items())
            if not assignment.wanted and not self._pods.life.held(port_id)
        ]

    def _repair(self, port_id: str) -> RepairWork:
        async def work() -> bool:
            record = self._ledger.pod_ports.get(port_id)
            if record is None or self._pods.busy(port_id):
                return False
            if record.wanted and record.established and port_id in self._ledger.assignments:
                job = PodJob(port_id, self._bridge, self._ledger, self._drivers)
                return (await converge(self._ledger, job)).acted
            if record.wanted and not record.established and await self._is_plugged(record):
                await self._pods.life.adopt(record)
            elif record.wanted:
                why = "its ADD was cut off by a restart of the daemon"
                await self._pods.life.give_up(port_id, record.holder, why)
            else:
                await self._pods.life.finish(record)
            return True

        return work

    async def _is_plugged(self, record: PodPort) -> bool:
        """Whether its ADD was answered, or may have been: the switch has the port, though it may not be right now."""
        if self._pods.life.is_established(record):
            return True
        if not self._pods.life.is_inherited(record) or record.port_id not in self._ledger.assignments:
            return False
        seen = await within(LOOK_S, self._drivers.look(()), "look at the pod's port")
        port = seen.switch.ports.get(record.representor)
        return port is not None and (port.iface_id, port.pod) == (record.port_id, str(record.holder))

    def _tidy(self, port_id: str) -> RepairWork:
        async def work() -> bool:
            return await self._pods.assignments.tidy(port_id)

        return work

    def _convergence(self, job: Job[PodWorld]) -> RepairWork:
        async def work() -> bool:
            return (await converge(self._ledger, job)).acted

        return work
