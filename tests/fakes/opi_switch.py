"""A DPU with OPI's network on a real Open vSwitch; it and the hosts behind its representors are namespaces."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dpu_daemon.drivers.ethernet import disable_tx_checksum
from dpu_daemon.drivers.opi_network import OvsNetwork, namespaces
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.opi_network.objects import NetLayer
from dpu_daemon.plan.opi_network_wanted import Fabric
from tests.fakes.netns import inside, ip, netns
from tests.fakes.opi_daemon import OpiDaemon, OpiWorld, opi_daemon
from tests.fakes.opi_net_client import NetClient
from tests.fakes.ovs import OvsStack

DATAPATH = "netdev"


@dataclass
class OpiSwitch:
    """A DPU's namespace with Open vSwitch; what outlives its daemon."""

    ovs: OvsStack
    dpu: str
    directory: Path
    held: ExitStack
    functions: dict[str, str]
    fabric: Fabric

    def add_host(self, representor: str, mac: str, *addresses: str, via: str = "") -> str:
        """A namespace behind a representor; `via` is its gateway. Gives its name."""
        host = self.held.enter_context(netns("h"))
        self.ovs.add_machine(representor, host, mac=mac, address=addresses[0])
        for address in addresses[1:]:
            ip("-n", host, "addr", "add", address, "dev", "eth0", "nodad")
        if via:
            ip("-n", host, "route", "add", "default", "via", via)
        return host

    def domain(self, vrf: str) -> str:
        """The network namespace of a Vrf."""
        return f"{self.fabric.domains}{vrf}"

    def forget_domains(self) -> None:
        for name in namespaces.named(self.fabric.domains):
            namespaces.remove(name)

    def layer(self) -> NetLayer:
        async def functions() -> Mapping[str, str]:
            return self.functions

        domains = self.fabric.domains
        driver = OvsNetwork(socket=self.ovs.socket, datapath=DATAPATH, domains=domains, functions=functions)
        return NetLayer(driver, self.fabric)

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator["NetDaemon"]:
        """A daemon on this switch; the same journal again is a restart."""
        drivers = replace(OpiWorld().drivers(), opi=None, opi_network=self.layer())
        async with opi_daemon(self.directory, OpiWorld(), drivers) as running:
            yield NetDaemon(running, NetClient(running.channel))


@dataclass
class NetDaemon:
    """A daemon that answers, and a client of it."""

    running: OpiDaemon
    opi: NetClient

    @property
    def engine(self) -> DpuEngine:
        return self.running.engine

    async def settle(self) -> None:
        """Audit until nothing is left to repair."""
        for _ in range(200):
            self.engine.core.audit.alarm("")
            await self.engine.core.audit.once()
            if not self.engine.core.audit.message():
                return
            await asyncio.sleep(0.2)
        raise TimeoutError(self.engine.core.audit.message())


@asynccontextmanager
async def opi_switch(directory: Path, name: str = "dpu") -> AsyncIterator[OpiSwitch]:
    """A fresh Open vSwitch; this thread stands in its namespace, as the daemon does."""
    with ExitStack() as held:
        dpu = held.enter_context(netns(name))
        held.enter_context(inside(dpu))
        ovs = OvsStack(directory, dpu)
        held.callback(ovs.stop)
        ovs.start()
        made = OpiSwitch(ovs, dpu, directory, held, {}, Fabric(domains=f"{dpu}-"))
        held.callback(made.forget_domains)
        yield made


async def reaches(netns_name: str, address: str, *, seconds: float = 5.0) -> bool:
    """Whether an echo to an address is answered in time; the first may be lost to neighbour discovery."""
    command = ["ip", "netns", "exec", netns_name, "ping", "-c", "1", "-W", "1", address]
    for _ in range(max(1, round(seconds))):
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if await process.wait() == 0:
            return True
    return False


def underlay(one: OpiSwitch, two: OpiSwitch, addresses: tuple[str, str]) -> None:
    """A wire between two DPUs that ends in bridges of theirs, as the userspace datapath needs it for tunnels."""
    ip("-n", one.dpu, "link", "add", "phy", "type", "veth", "peer", "name", "phy", "netns", two.dpu)
    for side, address in zip((one, two), addresses, strict=True):
        side.ovs.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", f"datapath_type={DATAPATH}")
        side.ovs.vsctl("add-port", "br-phy", "phy")
        with inside(side.dpu):
            disable_tx_checksum("phy")
        ip("-n", side.dpu, "link", "set", "phy", "up")
        ip("-n", side.dpu, "addr", "add", address, "dev", "br-phy")
        ip("-n", side.dpu, "link", "set", "br-phy", "up")
