"""An OPI network object made right: which call of the driver does which step."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.opi.sight import Sight
from dpu_daemon.engine.opi_network.protocols import NetDriver
from dpu_daemon.engine.rows import Record
from dpu_daemon.model.opi_network_seen import NetSeen, Plug
from dpu_daemon.plan.opi_network import plan_net, plan_stray
from dpu_daemon.plan.opi_network_steps import NetStep, NetVerb
from dpu_daemon.plan.opi_network_wanted import Fabric, NetWanted, plug_now
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import Step
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class NetJob:
    """The convergence of one object; gone from the ledger counts as nothing to do."""

    subject: str
    ledger: Ledger
    driver: NetDriver
    sight: Sight[NetSeen]
    fabric: Fabric

    async def look(self) -> NetSeen:
        return await self.sight.look()

    def decide(self, seen: NetSeen) -> Plan:
        want = self.ledger.opi_network.get(self.subject)
        if want is None:
            return Plan.nothing(f"{self.subject} is not journalled")
        return plan_net(want, NetWanted(self.ledger.opi_network, self.fabric), seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        if isinstance(step, NetStep) and step.plug is not None and step.plug.owner != step.subject:
            await self._follow(step, step.plug)
            return ()
        return await apply_net(self.driver, self.fabric, step)

    async def _follow(self, step: NetStep, decided: Plug) -> None:
        """Make a port that others stand on, too, as it is wanted by now: nobody else waits for this object."""
        if step.bridge and step.bridge != self.fabric.bridge:
            await self.driver.unplug(step.bridge, decided.name)
            return
        plug = await self._put(decided)
        if (self._now(decided) is None) is not (plug is None):
            # It was given up meanwhile, or taken up; who did that may have looked before.
            await self._put(decided)

    async def _put(self, decided: Plug) -> Plug | None:
        plug = self._now(decided)
        if plug is not None:
            await self.driver.plug(self.fabric.bridge, plug)
            return plug
        there = (await self.look()).ports.get(decided.name)
        # By now the device may be another object's.
        if there is not None and there.plug.owner == decided.owner:
            await self.driver.unplug(there.bridge, decided.name)
        return None

    def _now(self, decided: Plug) -> Plug | None:
        return plug_now(decided, NetWanted(self.ledger.opi_network, self.fabric))


@dataclass(frozen=True, slots=True)
class NetStrayJob:
    """The removal of ports whose object is in no journal; `subject` is its name."""

    subject: str
    ledger: Ledger
    driver: NetDriver
    sight: Sight[NetSeen]
    fabric: Fabric

    async def look(self) -> NetSeen:
        return await self.sight.look()

    def decide(self, seen: NetSeen) -> Plan:
        return plan_stray(self.subject, NetWanted(self.ledger.opi_network, self.fabric), seen)

    async def apply(self, step: Step) -> tuple[Record, ...]:
        return await apply_net(self.driver, self.fabric, step)


async def apply_net(driver: NetDriver, fabric: Fabric, step: Step) -> tuple[Record, ...]:
    """Ask the driver; nothing that it does makes a record true."""
    if not isinstance(step, NetStep):
        raise DpuError(Reason.INTERNAL, f"not a step of an OPI network object: {step.says()}")
    await _ACTS[step.verb](driver, fabric, step)
    return ()


async def _plug(driver: NetDriver, fabric: Fabric, step: NetStep) -> None:
    if step.plug is None:
        raise DpuError(Reason.INTERNAL, f"a step without its port: {step.says()}")
    await driver.plug(fabric.bridge, step.plug)


_ACTS: dict[NetVerb, Callable[[NetDriver, Fabric, NetStep], Awaitable[None]]] = {
    NetVerb.MAKE_BRIDGE: lambda driver, _, step: driver.make_bridge(step.name),
    NetVerb.PLUG: _plug,
    NetVerb.UNPLUG: lambda driver, _, step: driver.unplug(step.bridge, step.name),
    NetVerb.RAISE: lambda driver, _, step: driver.raise_link(step.name),
    NetVerb.MAKE_DOMAIN: lambda driver, _, step: driver.make_domain(step.name),
    NetVerb.REMOVE_DOMAIN: lambda driver, _, step: driver.remove_domain(step.name),
    NetVerb.MAKE_GATEWAY: lambda driver, _, step: driver.make_gateway(step.name, step.peer, step.domain, step.mac),
    NetVerb.REMOVE_GATEWAY: lambda driver, _, step: driver.remove_gateway(step.name, step.peer, step.domain),
    NetVerb.ADDRESS: lambda driver, _, step: driver.set_addresses(step.domain, step.name, step.addresses),
}
