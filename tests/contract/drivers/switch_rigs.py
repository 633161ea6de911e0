"""The stage for the contracts of switch, links and prober: netdevs beside the driver under test, real or fake."""

from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from dpu_daemon.drivers.netlink import NetlinkLinks
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.drivers.probe import FrameProber
from dpu_daemon.engine.protocols import LinkDriver, Prober, SwitchDriver
from dpu_daemon.model.port import LinkSeen
from tests.fakes.drivers import FakeLinks, FakeProber, FakeSwitch
from tests.fakes.netns import inside, ip, netns
from tests.fakes.ovs import OvsStack
from tests.fakes.world import World

BRIDGE = "br-int"
MAC = "02:00:00:00:00:05"
ADDRESS = "10.1.0.5/24"


class SwitchRig(Protocol):
    @property
    def switch(self) -> SwitchDriver: ...

    @property
    def links(self) -> LinkDriver: ...

    @property
    def prober(self) -> Prober: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def add_netdev(self, name: str) -> object:
        """A representor, with a machine at MAC and ADDRESS behind it."""
        ...


class RealSwitchRig:
    """Open vSwitch in a namespace; this thread stands in it, as the daemon does."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open = ExitStack()
        self.links = NetlinkLinks()
        self.netns = ""
        self.switch: OvsdbSwitch
        self.prober: FrameProber
        self.ovs: OvsStack
        self.lost: list[str] = []

    async def start(self) -> None:
        self.netns = self._open.enter_context(netns("dpu"))
        self._open.enter_context(inside(self.netns))
        self.ovs = OvsStack(self._directory, self.netns)
        self._open.callback(self.ovs.stop)
        self.ovs.start()
        self.switch = OvsdbSwitch(socket=self.ovs.socket, datapath="netdev")
        self.prober = FrameProber(netdev="probe0", plug=self.switch.ensure_internal_port)
        await self.switch.start(self.lost.append)
        await self.links.start(self.lost.append)

    async def stop(self) -> None:
        with self._open:
            await self.links.stop()
            await self.switch.stop()

    def add_netdev(self, name: str) -> str:
        """Also returns the machine's namespace."""
        machine = self._open.enter_context(netns("m"))
        self.ovs.add_machine(name, machine, mac=MAC, address=ADDRESS)
        return machine

    def remove_netdev(self, name: str) -> None:
        ip("-n", self.netns, "link", "del", name)


class FakeSwitchRig:
    """One World."""

    def __init__(self) -> None:
        self._world = World()
        self.switch = FakeSwitch(self._world)
        self.links = FakeLinks(self._world)
        self.prober = FakeProber(self._world)

    async def start(self) -> None:
        await self.switch.start(lambda _: None)
        await self.links.start(lambda _: None)

    async def stop(self) -> None:
        await self.links.stop()
        await self.switch.stop()

    def add_netdev(self, name: str) -> None:
        self._world.state.links[name] = LinkSeen(name=name, mac=MAC, mtu=1500, up=True, carrier=True)
        self._world.state.answering |= {ADDRESS, ADDRESS.partition("/")[0]}
