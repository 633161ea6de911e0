"""A pod's port made right: which driver does which step."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.pod_protocols import PodLinks, PodSwitchDriver
from dpu_daemon.engine.rows import Record
from dpu_daemon.model.pod_port import PodWorld
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.pod_ports import plan_limits, plan_pod_port, plan_stray
from dpu_daemon.plan.pod_steps import DropLimits, PlugPod, RaiseLink, SetBridge, SetChassis, UnplugPod
from dpu_daemon.plan.steps import AddPort, EnsureBridge, SetLink, Step
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class PodDrivers:
    """What pods' ports stand on."""

    switch: PodSwitchDriver
    links: PodLinks

    async def look(self, netdevs: Collection[str]) -> PodWorld:
        """The whole switch, which is in memory, and these netdevs."""
        return PodWorld(switch=await self.switch.look(), links=await self.links.look(netdevs))

    async def apply(self, step: Step) -> tuple[Record, ...]:
        """Ask the driver whose step it is."""
        match step:
            case RaiseLink(netdev=netdev, mtu=mtu) | SetLink(netdev=netdev, mtu=mtu):
                await self.links.raise_link(netdev, mtu=mtu)
            case PlugPod(plug=plug):
                await self.switch.plug_pod(plug)
            case UnplugPod(netdev=netdev):
                await self.switch.unplug_pod(netdev)
            case DropLimits(names=names):
                await self.switch.drop_limits(names)
            case EnsureBridge(bridge=bridge):
                await self.switch.ensure_bridge(bridge)
            case AddPort(bridge=bridge, netdev=netdev, iface_id=iface_id, mac=mac, vlan=vlan):
                await self.switch.add_port(bridge, netdev, iface_id=iface_id, mac=mac, vlan=vlan)
            case SetBridge(bridge=bridge, datapath=datapath, secure=secure):
                await self.switch.set_bridge(bridge, datapath=datapath, secure=secure)
            case SetChassis(chassis=chassis):
                await self.switch.set_chassis(chassis)
            case _:
                raise DpuError(Reason.INTERNAL, f"not a step of a pod's port: {step.says()}")
        return ()


@dataclass(frozen=True, slots=True)
class PodJob:
    """The convergence of one port that forwarded before; gone from the ledger counts as nothing to do."""

    subject: str
    bridge: str
    ledger: Ledger
    drivers: PodDrivers

    async def look(self) -> PodWorld:
        port = self.ledger.pod_ports.get(self.subject)
        return await self.drivers.look({port.representor} if port else ())

    def decide(self, seen: PodWorld) -> Plan:
        port = self.ledger.pod_ports.get(self.subject)
        if port is None:
            return Plan.nothing(f"{self.subject} is not journalled")
        return plan_pod_port(port, self.ledger.assignments.get(self.subject), self.bridge, seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        done = await self.drivers.apply(step)
        if isinstance(step, PlugPod):
            # A number is what a look needs; what ovn-controller installs later needs no step of ours.
            await self.drivers.switch.forwarding(replace(step.plug, wait_for_ovn=False))
        return done


@dataclass(frozen=True, slots=True)
class StrayPodJob:
    """The removal of a pod's port that no journal row knows; `subject` is its netdev."""

    subject: str
    ledger: Ledger
    drivers: PodDrivers

    async def look(self) -> PodWorld:
        return await self.drivers.look(())

    def decide(self, seen: PodWorld) -> Plan:
        return plan_stray(self.subject, self.ledger.pod_ports, seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await self.drivers.apply(step)


@dataclass(frozen=True, slots=True)
class LimitsJob:
    """The removal of limits of ours that no port has."""

    subject: str
    drivers: PodDrivers

    async def look(self) -> PodWorld:
        return await self.drivers.look(())

    def decide(self, seen: PodWorld) -> Plan:
        return plan_limits(seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await self.drivers.apply(step)
