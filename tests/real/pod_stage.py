"""The side of the switch of a daemon on a real OVN chassis, without the rest of a daemon and without containers."""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.drivers.pod_links import KernelLinks
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.core import Core
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.network import NetworkSettings, OvnSettings
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.pod_intent import veth_for
from dpu_daemon.engine.pod_ports import NodeSide, PodPorts
from dpu_daemon.engine.pod_switch import PodDrivers, pod_switch
from dpu_daemon.model.assignment import PortGrant
from tests.fakes.netns import inside, netns
from tests.fakes.ovn import OvnCentral, OvnChassis
from tests.fakes.pods import HOST, NODE, ask, assignment, holder, soon

TIMES = AuditTimes(period_s=5.0, debounce_s=0.02, first_retry_s=0.1, last_retry_s=1.0, repair_s=20.0)


@dataclass
class PodStage:
    """A chassis, its central, and the daemon's part."""

    central: OvnCentral
    chassis: OvnChassis
    directory: Path
    settings: NetworkSettings
    core: Core = field(init=False)
    pods: PodPorts = field(init=False)
    driver: OvsdbSwitch = field(init=False)
    heard: list[str] = field(default_factory=list)

    @property
    def side(self) -> NodeSide:
        return self.pods.side(NODE)

    async def start(self) -> None:
        ledger = Ledger(Journal(self.directory / "journal.db"))
        await ledger.load()
        operations = Operations()
        self.driver = OvsdbSwitch(
            socket=self.chassis.ovs.socket,
            datapath="netdev",
            secure=("br-int",),
            ovn=True,
        )
        made = pod_switch(ledger, operations, PodDrivers(self.driver, KernelLinks()), self.settings)
        self.pods = made.pods
        self.core = Core(ledger, operations, made.drivers, made.auditors, _nothing, TIMES)
        alarm = self.core.audit.alarm

        def hear(sentence: str) -> None:
            self.heard.append(sentence)
            alarm(sentence)

        self.core.audit.alarm = hear  # type: ignore[method-assign]
        await self.core.start()

    async def stop(self) -> None:
        await self.core.stop(2.0)

    async def restart(self) -> None:
        """The daemon ends and comes again; nothing of the switch is touched."""
        await self.stop()
        await self.start()

    async def audited(self) -> None:
        async with asyncio.timeout(60):
            await self.core.audit.converged.wait()
            await self.pods.reader.audited.wait()

    def make_logical(self, numbers: range, switch: str = "pods") -> None:
        """What the coordinator writes into the northbound database."""
        words = ["--may-exist", "ls-add", switch]
        for number in numbers:
            one = assignment(number)
            address = one.addresses[0].cidr.partition("/")[0]
            words += ["--", "lsp-add", switch, one.port_id]
            words += ["--", "lsp-set-addresses", one.port_id, f"{one.mac} {address}"]
        self.central.nbctl(*words)

    def veth(self, name: str, peer: str) -> None:
        """A pair in this namespace; the container's end stays there, as only the switch's side is looked at."""
        subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", peer], check=True)

    def representor_of(self, number: int) -> str:
        """Name of the switch's end of the veth that pod N's container gets."""
        return veth_for(holder(number), self.settings.veth_pattern, ())

    async def add(self, number: int, container: str = "", deadline_s: float = 20.0) -> PortGrant:
        """A whole ADD."""
        async with aclosing(self.side.acquire(ask(number, container), soon(deadline_s))) as grants:
            first = await anext(grants)
            self.veth(first.representor, f"e{number}")
            return await anext(grants)

    def rows(self) -> dict[str, int]:
        """How many rows there are of what ports leave behind."""
        listed = self.chassis.ovs.vsctl
        words = ("--columns=_uuid", "--no-headings", "--format=csv", "--data=bare")
        return {table: len(listed(*words, "list", table).split()) for table in ("Interface", "Port", "QoS", "Queue")}

    def told(self) -> list[str]:
        """Sentences of drivers that the audit has heard."""
        return self.heard

    def count_transactions(self) -> list[int]:
        """Sizes of transactions from now on."""
        sent: list[int] = []
        client = self.driver.database
        transact = client.transact

        async def counted(operations: Any, **keywords: Any) -> Any:
            sent.append(len(operations))
            return await transact(operations, **keywords)

        client.transact = counted  # type: ignore[method-assign]
        return sent


async def _nothing() -> None:
    """No housekeeping."""


@asynccontextmanager
async def pod_stage(*, vf_count: int = 0) -> AsyncIterator[PodStage]:
    """A stage whose chassis the daemon sets up itself."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="pp-", dir="/tmp")))
        space = held.enter_context(netns("sw"))
        (folder / "c").mkdir()
        (folder / "d").mkdir()
        central = OvnCentral(folder / "c")
        held.callback(central.stop)
        central.start()
        chassis = OvnChassis(folder / "d", space, central, configure=False)
        held.callback(chassis.stop)
        held.enter_context(inside(space))
        told = {
            "ovn-remote": central.southbound,
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": "127.0.0.1",
            "system-id": space,
            "ovn-bridge": "br-int",
            "ovn-bridge-datapath-type": "netdev",
        }
        settings = NetworkSettings(
            bridge="br-int",
            vf_count=vf_count,
            node=NODE,
            host=HOST if vf_count else "",
            datapath="netdev",
            ovn=OvnSettings(chassis=told),
        )
        stage = PodStage(central, chassis, folder, settings)
        chassis.start()
        await stage.start()
        try:
            await stage.audited()
            yield stage
        finally:
            await stage.stop()
