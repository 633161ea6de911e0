"""The audit of ports: those that are not as wanted, and ports of ours that nobody wants."""

from dpu_daemon.engine.convergence import LOOK_S, Job, converge
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.port_job import PortDrivers, PortJob, StrayPortJob
from dpu_daemon.engine.ports import Ports
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.port import PortWorld
from dpu_daemon.plan.ports import plan_port, stray_ports


class PortAuditor:
    """Compares all ports with one look.

    Args:
        ledger: what is wanted.
        drivers: where to look.
        ports: carries repairs to their end.
        settings: of this DPU's network.
    """

    def __init__(self, ledger: Ledger, drivers: PortDrivers, ports: Ports, settings: NetworkSettings) -> None:
        self._ledger = ledger
        self._drivers = drivers
        self._ports = ports
        self._settings = settings

    async def audit(self) -> tuple[Repair, ...]:
        """Ports that are not as wanted, and ports of ours that nobody wants."""
        seen = await within(LOOK_S, self._drivers.look(), "look at the ports")
        records = tuple(self._ledger.ports.values())
        repairs = [
            Repair(("port", record.port_id), EventKind.PORT, record.port_id, plan.why, self._repair(record.port_id))
            for record in records
            if not (plan := plan_port(record, seen)).settled or not record.wanted or not record.established
        ]
        return (*repairs, *self._stray_repairs(seen))

    def _stray_repairs(self, seen: PortWorld) -> tuple[Repair, ...]:
        """One repair for each port id, under that port's lock, so that none is plugged while its stray is removed."""
        representors = self._settings.representors()
        repairs: list[Repair] = []
        for stray in stray_ports(self._ledger.ports, representors, seen):
            work = self._convergence(StrayPortJob(stray, representors, self._ledger, self._drivers))
            repairs.append(Repair(("port", stray), EventKind.PORT, stray, f"port {stray}: in no journal", work))
        return tuple(repairs)

    def _repair(self, port_id: str) -> RepairWork:
        async def work() -> bool:
            record = self._ledger.ports.get(port_id)
            if record is None:
                return False
            if not record.wanted:
                await self._ports.finish(record)
                return True
            settled = await converge(self._ledger, PortJob(port_id, self._ledger, self._drivers))
            await self._ports.establish(port_id)
            return settled.acted

        return work

    def _convergence(self, job: Job[PortWorld]) -> RepairWork:
        async def work() -> bool:
            return (await converge(self._ledger, job)).acted

        return work
