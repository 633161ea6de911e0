"""Fakes of what pods' ports stand on, over one World."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

from dpu_daemon.engine.pod_protocols import SwitchTrouble
from dpu_daemon.model.pod_port import PodPlug
from dpu_daemon.model.port import LinkSeen, SwitchPortSeen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.drivers import FakeDriver, FakeSwitch
from tests.fakes.world import World


class FakePodSwitch(FakeSwitch):
    """Open vSwitch with ovn-controller beside it."""

    async def plug_pod(self, plug: PodPlug) -> None:
        state = self.world.state
        if plug.bridge not in state.bridges:
            raise DpuError(Reason.NOT_FOUND, f"there is no bridge {plug.bridge}", field="bridge", retry=True)
        if plug.netdev not in state.links:
            raise DpuError(Reason.NOT_FOUND, f"there is no netdev {plug.netdev}", field="netdev", retry=True)
        has = state.switch_ports.get(plug.netdev)
        number = has.ofport if has is not None and has.ofport > 0 else state.next_ofport

        def work() -> None:
            state.next_ofport = max(state.next_ofport, number + 1)
            state.switch_ports[plug.netdev] = SwitchPortSeen(
                name=plug.netdev,
                bridge=plug.bridge,
                iface_id=plug.port_id,
                mac=plug.mac,
                vlan=plug.vlan,
                ofport=number,
                pod=plug.holder,
                limit=plug.limit,
                installed=plug.wait_for_ovn and state.ovn_installs,
            )

        await self.world.act(self.role, "plug_pod", work)

    async def unplug_pod(self, netdev: str) -> None:
        def work() -> None:
            port = self.world.state.switch_ports.get(netdev)
            if port is not None and port.pod:
                del self.world.state.switch_ports[netdev]

        await self.world.act(self.role, "unplug_pod", work)

    async def forwarding(self, plug: PodPlug) -> int:
        while True:
            await self.world.look(self.role)
            port = self.world.state.switch_ports.get(plug.netdev)
            if port is None:
                raise DpuError(Reason.UNAVAILABLE, f"port {plug.netdev} vanished")
            if port.installed or not plug.wait_for_ovn:
                return port.ofport
            await asyncio.sleep(0.01)

    async def drop_limits(self, names: Collection[str]) -> None:
        await self.world.act(self.role, "drop_limits", lambda: self.world.state.loose_limits.difference_update(names))

    async def set_chassis(self, chassis: Mapping[str, str]) -> None:
        await self.world.act(self.role, "set_chassis", lambda: self.world.state.chassis.update(chassis))

    async def set_bridge(self, bridge: str, *, datapath: str, secure: bool) -> None:
        def work() -> None:
            self.world.state.bridges.add(bridge)
            self.world.state.natures[bridge] = (datapath, secure)

        await self.world.act(self.role, "set_bridge", work)

    async def trouble(self) -> SwitchTrouble:
        if "switch" in self.world.faults.down:
            return SwitchTrouble("ovs-vswitchd is not reachable", forwarding=True)
        return SwitchTrouble(self.world.state.ovn_trouble)


class FakePodLinks(FakeDriver):
    """Netdevs by name."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "pod_links")
        self.expected: frozenset[str] = frozenset()

    async def look(self, names: Collection[str]) -> Mapping[str, LinkSeen]:
        await self.world.look(self.role)
        return {name: link for name, link in self.world.state.links.items() if name in names}

    async def raise_link(self, name: str, *, mtu: int = 0) -> None:
        link = self.world.state.links.get(name)
        if link is None:
            raise DpuError(Reason.NOT_FOUND, f"there is no netdev {name}", field="netdev", retry=True)
        changed = replace(link, up=True, mtu=mtu or link.mtu)
        await self.world.act(self.role, "raise_link", lambda: self.world.state.links.__setitem__(name, changed))

    def expect(self, names: Collection[str]) -> None:
        self.expected = frozenset(names)
