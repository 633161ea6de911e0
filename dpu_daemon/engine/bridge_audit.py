"""The audit of what every port stands on: bridges, the uplink, and what ovn-controller is told."""

from dataclasses import dataclass

from dpu_daemon.engine.convergence import LOOK_S, Job, converge
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.pod_job import PodDrivers
from dpu_daemon.engine.repair import Repair, RepairWork
from dpu_daemon.engine.rows import Record
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.pod_port import PodWorld
from dpu_daemon.model.port import PortWorld
from dpu_daemon.plan.chassis import plan_chassis
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.ports import plan_bridge
from dpu_daemon.plan.steps import Step


@dataclass(frozen=True, slots=True)
class GroundJob:
    """The convergence of what all ports stand on; `subject` is the integration bridge."""

    subject: str
    settings: NetworkSettings
    drivers: PodDrivers

    async def look(self) -> PodWorld:
        return await self.drivers.look({self.settings.uplink} - {""})

    def decide(self, seen: PodWorld) -> Plan:
        """Without OVN the uplink is in the integration bridge; with it, in the bridge of the one physical network."""
        world = PortWorld(switch=seen.switch, links=seen.links)
        ovn = self.settings.ovn
        if ovn is None:
            return plan_bridge(self.subject, self.settings.uplink, world)
        plan = plan_chassis(self.subject, self.settings.datapath, ovn.mapped_bridges, ovn.chassis, seen.switch)
        if plan.settled and len(ovn.mapped_bridges) == 1:
            return plan_bridge(ovn.mapped_bridges[0], self.settings.uplink, world)
        return plan

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await self.drivers.apply(step)


class BridgeAuditor:
    """Keeps bridges and chassis right.

    Args:
        ledger: for the steps.
        drivers: where to look.
        settings: what is wanted.
    """

    def __init__(self, ledger: Ledger, drivers: PodDrivers, settings: NetworkSettings) -> None:
        self._ledger = ledger
        self._drivers = drivers
        self._settings = settings

    async def audit(self) -> tuple[Repair, ...]:
        """At most one repair."""
        bridge = self._settings.bridge
        job = GroundJob(bridge, self._settings, self._drivers)
        plan = job.decide(await within(LOOK_S, job.look(), "look at the bridges"))
        if plan.settled:
            return ()
        return (Repair(("bridge", bridge), EventKind.DRIVER, bridge, plan.why, self._work(job)),)

    def _work(self, job: Job[PodWorld]) -> RepairWork:
        async def work() -> bool:
            return (await converge(self._ledger, job)).acted

        return work
