"""A port made right: which driver does which step."""

from dataclasses import dataclass

from dpu_daemon.engine.disk_job import seen_or_none
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.protocols import HostBus, LinkDriver, SwitchDriver
from dpu_daemon.engine.rows import Record
from dpu_daemon.model.port import NicSeen, Port, PortWorld
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.ports import plan_port, plan_stray_port
from dpu_daemon.plan.steps import UNPLUG_WAIT_S, AddPort, EnsureBridge, PlugNic, RemovePort, SetLink, Step, UnplugNic
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class PortDrivers:
    """What ports stand on."""

    switch: SwitchDriver
    links: LinkDriver
    bus: HostBus

    async def look(self, *, tolerant: bool = False) -> PortWorld:
        """One look; a tolerant one has None for a side that does not answer."""
        switch = await seen_or_none(self.switch.look, tolerant=tolerant)
        links = await seen_or_none(self.links.look, tolerant=tolerant)
        nics = await seen_or_none(self.bus.look_nics, tolerant=tolerant)
        host_on = await seen_or_none(self.bus.host_is_on, tolerant=tolerant)
        return PortWorld(switch=switch, links=links or {}, nics=nics, host_on=bool(host_on))

    async def apply(self, step: Step) -> tuple[Record, ...]:
        """Ask the driver whose step it is."""
        match step:
            case EnsureBridge(bridge=bridge):
                await self.switch.ensure_bridge(bridge)
            case AddPort(bridge=bridge, netdev=netdev, iface_id=iface_id, mac=mac, vlan=vlan):
                await self.switch.add_port(bridge, netdev, iface_id=iface_id, mac=mac, vlan=vlan)
            case RemovePort(bridge=bridge, netdev=netdev):
                await self.switch.remove_port(bridge, netdev)
            case SetLink(netdev=netdev, mtu=mtu):
                await self.links.set_link(netdev, up=True, mtu=mtu)
            case PlugNic(port=port):
                await self.bus.plug_nic(_nic(port), mtu=port.spec.mtu)
            case UnplugNic(vf=vf, port_id=port_id, force=force):
                await self.bus.unplug_nic(vf, port_id, timeout_s=UNPLUG_WAIT_S, force=force)
            case _:
                raise DpuError(Reason.INTERNAL, f"not a step of a port: {step.says()}")
        return ()


def _nic(port: Port) -> NicSeen:
    return NicSeen(vf=port.vf, port_id=port.port_id, representor=port.representor, mac=port.spec.mac, present=False)


@dataclass(frozen=True, slots=True)
class PortJob:
    """The convergence of one port; gone from the ledger counts as nothing to do."""

    subject: str
    ledger: Ledger
    drivers: PortDrivers

    async def look(self) -> PortWorld:
        want = self.ledger.ports.get(self.subject)
        return await self.drivers.look(tolerant=want is not None and not want.wanted and want.force)

    def decide(self, seen: PortWorld) -> Plan:
        want = self.ledger.ports.get(self.subject)
        return plan_port(want, seen) if want else Plan.nothing(f"{self.subject} is not journalled")

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await self.drivers.apply(step)


@dataclass(frozen=True, slots=True)
class StrayPortJob:
    """The removal of a port of ours that is in no journal; `subject` is its id."""

    subject: str
    representors: frozenset[str]
    ledger: Ledger
    drivers: PortDrivers

    async def look(self) -> PortWorld:
        return await self.drivers.look()

    def decide(self, seen: PortWorld) -> Plan:
        if self.subject in self.ledger.ports:
            return Plan.nothing(f"port {self.subject} is wanted after all")
        return plan_stray_port(self.subject, self.representors, seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await self.drivers.apply(step)
