"""Whole daemons, as processes on a real switch, that report on offload: on a DPU, and on a node with its own switch."""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import httpx
import pytest

from coordinator.clients.offload import FlowsAsked, GrpcOffload, SwitchWhere, Verdict
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.netns import inside, netns
from tests.fakes.ovs import OvsStack
from tests.fakes.qsd import DIES_WITH_THE_TEST

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
BOTH = """
journal = "{folder}/journal.db"
listen = "unix:{folder}/d.sock"
[metrics]
listen = "127.0.0.1:9100"
[switch]
ovsdb = "{folder}/db.sock"
datapath = "netdev"
[offload]
enabled = true
heavy_packets = 5
look_s = 1.0
"""
DPU = """name = "dpu-1"\nmode = "dpu"{both}
[block]
qmp = "{folder}/none"
nbd_socket = "{folder}/none"
seed_dir = "{folder}/seeds"
[bus]
socket = "{folder}/none"
"""
HOST = """name = "node-1"\nmode = "host"{both}
[cni]
socket = "{folder}/cni.sock"
"""


@dataclass
class Node:
    """A daemon, its switch, and a machine behind a port of that."""

    folder: Path
    switch: OvsStack
    machine: str
    process: subprocess.Popen[bytes]

    def ping(self) -> None:
        """Thirty packets each way through the switch."""
        command = ["ip", "netns", "exec", self.machine, "ping", "-q", "-c", "30", "-i", "0.02", "-W", "2", "10.0.0.2"]
        subprocess.run(command, check=True, capture_output=True)

    def metrics(self) -> str:
        with inside(self.switch.netns):
            return httpx.get("http://127.0.0.1:9100/metrics").text

    async def answered(self, client: GrpcOffload, packets: int = 0) -> SwitchWhere:
        """The first report of a datapath whose flows carried so much; the daemon may still be starting."""
        async with asyncio.timeout(START_S):
            while True:
                try:
                    report = await client.offload()
                    if report.ports and report.packets >= packets:
                        return report
                except DpuError as error:
                    if error.reason not in {Reason.UNAVAILABLE, Reason.DEADLINE}:
                        raise
                assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
                await asyncio.sleep(0.1)


@pytest.fixture(params=[(DPU, "tests.fakes.net_daemon"), (HOST, "tests.fakes.cni_daemon")], ids=["dpu", "host"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    text, module = request.param
    with ExitStack() as made:
        folder = Path(made.enter_context(tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp")))
        names = [made.enter_context(netns(label)) for label in ("sw", "one", "two")]
        switch = OvsStack(folder, names[0])
        made.callback(switch.stop)
        switch.start()
        switch.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
        for number, name in enumerate(names[1:]):
            address = f"10.0.0.{number + 1}/24"
            switch.add_machine(f"rep{number}", name, mac=f"02:00:00:00:00:0{number + 1}", address=address)
            switch.vsctl("add-port", "br-int", f"rep{number}")
        settings = folder / "daemon.toml"
        settings.write_text(text.format(both=BOTH.format(folder=folder), folder=folder))
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [
                    "nsenter", f"--net=/run/netns/{names[0]}", *DIES_WITH_THE_TEST,
                    sys.executable, "-m", module, str(settings),
                ],
                cwd=ROOT, stdout=log, stderr=log,
            )  # fmt: skip
        made.callback(process.wait)
        made.callback(process.kill)
        yield Node(folder, switch, names[1], process)


async def test_a_daemon_asks_for_offload_and_says_that_none_of_it_is_had(node: Node) -> None:
    async with grpc.aio.insecure_channel(f"unix:{node.folder}/d.sock") as channel:
        client = GrpcOffload("daemon", channel)
        report = await node.answered(client)
        assert 'hw-offload="true"' in node.switch.vsctl("get", "Open_vSwitch", ".", "other_config")
        assert (report.path, report.datapath, report.restart_needed) == ("none", "netdev", False)
        assert report.warnings[0].startswith("offload is enabled, but the userspace datapath")
        node.ping()
        report = await node.answered(client, packets=20)
        rep = next(port for port in report.ports if port.netdev == "rep0")
        assert (rep.verdict, rep.asked, rep.capable, rep.driver) == (Verdict.SOFTWARE, True, False, "veth")
        assert "hands flows of DPDK ports alone to hardware" in rep.why
        flows = await client.flows(FlowsAsked(software_only=True, netdev="rep0"))
        assert {flow.reason for flow in flows} == {"userspace-datapath"}
    told = node.metrics()
    assert 'dpupool_offload_enabled{path="none"} 1.0' in told
    assert 'dpupool_offload_port_capable{netdev="rep0"} 0.0' in told
    assert 'why="userspace-datapath"' in told
