"""A switch and a kernel in memory for OPI's network, with the refusals of the real ones; they outlive the daemon."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.opi_network_seen import LOOPBACK, DomainSeen, EndSeen, NetSeen, Plug, PlugSeen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.world import World


@dataclass
class NetState:
    """All that survives a daemon."""

    bridges: set[str] = field(default_factory=set)
    ports: dict[str, PlugSeen] = field(default_factory=dict)
    ends: dict[str, EndSeen] = field(default_factory=dict)
    domains: dict[str, DomainSeen] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    next_ofport: int = 1

    def add_representors(self, *names: str) -> None:
        """Devices of this system, down as the kernel makes them."""
        self.ends |= {name: EndSeen(name=name, mac="02:ff:00:00:00:01", carrier=True) for name in names}

    def lose_switch(self) -> None:
        """Its database was made anew."""
        self.bridges.clear()
        self.ports.clear()

    def lose_domain(self, name: str) -> None:
        """A namespace goes with its devices, and each of these with its other end."""
        for inside in self.domains.pop(name).ends:
            self.ends.pop(f"n{inside[3:]}sw", None)


class FakeNet:
    """A NetDriver over a world; calls are named ``net.plug`` and so on."""

    def __init__(self, world: World, state: NetState) -> None:
        self._world = world
        self.state = state

    async def start(self, lost: Lost) -> None:
        self.lost = lost

    async def stop(self) -> None:
        return

    def version(self) -> str:
        return "fake 1.0"

    async def look(self) -> NetSeen:
        await self._world.look("net")
        now = self.state
        return NetSeen(
            bridges=frozenset(now.bridges),
            ports=dict(now.ports),
            ends=dict(now.ends),
            domains=dict(now.domains),
            functions=dict(now.functions),
        )

    async def _act(self, name: str, work: Callable[[], None]) -> None:
        await self._world.act("net", name, work)

    async def make_bridge(self, bridge: str) -> None:
        await self._act("make_bridge", lambda: self.state.bridges.add(bridge))

    async def plug(self, bridge: str, plug: Plug) -> None:
        def work() -> None:
            there = self.state.ports.get(plug.name)
            if bridge not in self.state.bridges or (not plug.kind and plug.name not in self.state.ends):
                raise DpuError(Reason.NOT_FOUND, f"the switch cannot use {plug.name}", field="spec")
            if there is not None and (there.bridge != bridge or not there.plug.owner):
                raise DpuError(Reason.IN_USE, f"{plug.name} is plugged by somebody else", field="spec")
            number = there.ofport if there is not None else self.state.next_ofport
            self.state.next_ofport += 1
            self.state.ports[plug.name] = PlugSeen(plug=plug, bridge=bridge, ofport=number)

        await self._act("plug", work)

    async def unplug(self, bridge: str, name: str) -> None:
        assert name not in self.state.ports or self.state.ports[name].bridge == bridge

        def work() -> None:
            self.state.ports.pop(name, None)

        await self._act("unplug", work)

    async def raise_link(self, name: str) -> None:
        def work() -> None:
            self.state.ends[name] = replace(self.state.ends[name], up=True)

        await self._act("raise_link", work)

    async def make_domain(self, name: str) -> None:
        def work() -> None:
            ends = dict(self.state.domains[name].ends) if name in self.state.domains else {}
            loopback = ends.get(LOOPBACK, EndSeen(name=LOOPBACK, addresses=frozenset({"127.0.0.1/8", "::1/128"})))
            ends[LOOPBACK] = replace(loopback, up=True)
            self.state.domains[name] = DomainSeen(ends=ends, routes=True)

        await self._act("make_domain", work)

    async def remove_domain(self, name: str) -> None:
        await self._act("remove_domain", lambda: self.state.lose_domain(name))

    async def make_gateway(self, outside: str, inside: str, domain: str, mac: str) -> None:
        def work() -> None:
            there = self.state.domains[domain]
            old = there.ends.get(inside) if outside in self.state.ends else None
            kept = old.addresses if old is not None else frozenset({"fe80::1/64"})
            end = EndSeen(name=inside, mac=mac, up=True, carrier=True, addresses=kept)
            self.state.domains[domain] = replace(there, ends={**there.ends, inside: end})
            self.state.ends[outside] = EndSeen(name=outside, up=True, carrier=True)

        await self._act("make_gateway", work)

    async def remove_gateway(self, outside: str, inside: str, domain: str) -> None:
        def work() -> None:
            self.state.ends.pop(outside, None)
            there = self.state.domains.get(domain)
            if there is not None:
                left = {name: end for name, end in there.ends.items() if name != inside}
                self.state.domains[domain] = replace(there, ends=left)

        await self._act("remove_gateway", work)

    async def set_addresses(self, domain: str, name: str, addresses: Collection[str]) -> None:
        def work() -> None:
            there = self.state.domains[domain]
            end = there.ends[name]
            given = (end.addresses - end.given) | frozenset(addresses)
            self.state.domains[domain] = replace(there, ends={**there.ends, name: replace(end, addresses=given)})

        await self._act("set_addresses", work)
