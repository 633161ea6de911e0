"""A node for the real executable: namespaces of the tests' own, a real Open vSwitch, a real daemon process."""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from proto.dpu.v1 import pods_pb2, pods_pb2_grpc
from tests.contract.cni.daemon import ROOT, Said, run
from tests.fakes.netns import ip, netns
from tests.fakes.ovs import OvsStack
from tests.fakes.qsd import DIES_WITH_THE_TEST

START_S = 60.0
DPU_CONFIG = """\
[block]
seed_dir = "{folder}/seeds"
qmp = "{folder}/none.qmp"
nbd_socket = "{folder}/none.nbd"
[bus]
socket = "{folder}/none.bus"
"""
"""What a DPU has besides; containers of the DPU itself are served then."""
SWITCH_OWN = {"br-int", "ovs-netdev"}
"""Open vSwitch itself sets their MTU by what is plugged."""
CONFIG = """\
name = "node-1"
mode = "host"
journal = "{folder}/journal.db"
listen = "unix:{folder}/d.sock"
[times]
audit_s = 0.5
drain_s = 2.0
[cni]
socket = "{folder}/cni.sock"
wait_s = {wait_s}
[switch]
ovsdb = "{ovsdb}"
datapath = "netdev"
"""
NOT_OURS = frozenset({".db-wal", ".db-shm", ".taken"})
"""Files that SQLite has while it is open, and an order that was carried out."""


@dataclass
class CniNodeRig:
    """A node that serves CNI in mode default."""

    folder: Path
    host: str
    ovs: OvsStack
    executable: Path
    stack: ExitStack
    module: str = "tests.fakes.cni_daemon"
    process: subprocess.Popen[bytes] | None = None
    _containers: int = 0
    channel: grpc.aio.Channel = field(init=False)

    def __post_init__(self) -> None:
        self.channel = grpc.aio.insecure_channel(f"unix:{self.folder / 'd.sock'}")

    @property
    def socket(self) -> Path:
        return self.folder / "cni.sock"

    async def start(self) -> None:
        """The daemon, until it answers."""
        self.spawn()
        async with asyncio.timeout(START_S):
            while (await self.call("STATUS")).status:
                if self.process is None or self.process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()[-3000:])
                await asyncio.sleep(0.05)

    def spawn(self) -> None:
        """The daemon's process."""
        words = [sys.executable, "-m", self.module, str(self.folder / "daemon.toml")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.host}", *DIES_WITH_THE_TEST, *words], cwd=ROOT, stderr=log
            )

    def kill(self) -> None:
        """kill -9; the socket stays behind."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def died(self) -> None:
        """Wait for a death that was ordered."""
        assert self.process is not None
        await asyncio.to_thread(self.process.wait, START_S)
        self.process = None

    def container(self) -> str:
        """A fresh network namespace; its name is also the container's id."""
        self._containers += 1
        return self.stack.enter_context(netns(f"c{self._containers}"))

    async def assign(self, *assignments: pods_pb2.Assignment) -> None:
        stub = pods_pb2_grpc.AssignmentServiceStub(self.channel)
        await stub.PutAssignments(pods_pb2.PutAssignmentsRequest(assignments=assignments), timeout=30)

    async def refuse(self, *pods: pods_pb2.RefusedPod) -> None:
        stub = pods_pb2_grpc.AssignmentServiceStub(self.channel)
        refused = pods_pb2.RefusedPods(node="node-1", pods=pods)
        await stub.PutAssignments(pods_pb2.PutAssignmentsRequest(refused=refused), timeout=30)

    async def ports(self) -> list[pods_pb2.AssignedPort]:
        stub = pods_pb2_grpc.AssignmentServiceStub(self.channel)
        return list((await stub.ListAssignments(pods_pb2.ListAssignmentsRequest(), timeout=30)).ports)

    async def call(
        self,
        verb: str,
        container: str = "",
        *,
        config: object = None,
        pod: str = "web",
        environment: Mapping[str, str | None] | None = None,
    ) -> Said:
        """One call of the executable; a variable that is None is left out."""
        known: dict[str, str | None] = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container or "none",
            "CNI_NETNS": f"/run/netns/{container}" if container else "",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.executable.parent),
            "CNI_ARGS": pod_args(pod),
            "DPUPOOL_CNI_SOCKET": str(self.socket),
            **(environment or {}),
        }
        text = config if isinstance(config, bytes) else json.dumps(config or conf()).encode()
        return await run(self.executable, {key: value for key, value in known.items() if value is not None}, text)

    def state(self, *containers: str) -> Mapping[str, object]:
        """All that a call might leave behind: links, addresses and routes everywhere, ports, files."""
        spaces = (self.host, *containers)
        return {
            "links": {name: _links(name) for name in spaces},
            "ports": sorted(self.ovs.vsctl("list-ports", "br-int").split()),
            "qos": self.ovs.vsctl("--bare", "--columns=_uuid", "list", "qos"),
            "files": sorted(path.name for path in self.folder.iterdir() if path.suffix not in NOT_OURS),
        }


def _links(name: str) -> object:
    shown = subprocess.run(["ip", "-n", name, "-j", "addr"], check=True, capture_output=True, text=True).stdout
    routes = subprocess.run(["ip", "-n", name, "route"], check=True, capture_output=True, text=True).stdout
    links = [link for link in json.loads(shown) if link["ifname"] not in SWITCH_OWN]
    return sorted((link["ifname"], link["mtu"], "UP" in link["flags"], _given(link)) for link in links), routes


def _given(link: Mapping[str, Any]) -> list[str]:
    """Addresses that somebody gave it; the kernel takes its own ones a while to be sure of."""
    return sorted(f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"] if each["scope"] == "global")


def pod_args(pod: str, namespace: str = "default", uid: str = "") -> str:
    """CNI_ARGS as containerd has them."""
    known = {
        "K8S_POD_NAME": pod,
        "K8S_POD_NAMESPACE": namespace,
        "K8S_POD_UID": uid or f"uid-{pod}",
        "K8S_POD_INFRA_CONTAINER_ID": "c0ffee",
        "IgnoreUnknown": "1",
    }
    return ";".join(f"{key}={value}" for key, value in known.items())


def conf(version: str = "1.1.0", **more: Any) -> dict[str, Any]:
    """A network configuration as a runtime hands it over."""
    return {"cniVersion": version, "name": "dpupool", "type": "dpu-cni", **more}


def assigned(pod: str, number: int = 5, **more: Any) -> pods_pb2.Assignment:
    """What the coordinator would push for a pod; without OVN, so that the switch alone decides."""
    known: dict[str, Any] = {
        "port_id": f"default.{pod}",
        "generation": 1,
        "node": "node-1",
        "pod_namespace": "default",
        "pod_name": pod,
        "pod_uid": f"uid-{pod}",
        "interface": "eth0",
        "network": "pods",
        "default_network": True,
        "mac": f"0a:58:0a:10:{number >> 8:02x}:{number & 255:02x}",
        "addresses": [
            pods_pb2.PodAddress(cidr=f"10.16.{number >> 8}.{number & 255}/16", gateway="10.16.0.1"),
            pods_pb2.PodAddress(cidr=f"fd00:10::{number:x}/64", gateway="fd00:10::1"),
        ],
        "mtu": 1400,
        "dns": ["10.96.0.10"],
    }
    return pods_pb2.Assignment(**{**known, **more})


@asynccontextmanager
async def cni_node(executable: Path, *, wait_s: float = 20.0, dpu: bool = False) -> AsyncIterator[CniNodeRig]:
    """A node, or a DPU that is one, its daemon answering."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cn-", dir="/tmp")))
        host = stack.enter_context(netns("node"))
        (folder / "ovs").mkdir()
        ovs = OvsStack(folder / "ovs", host)
        stack.callback(ovs.stop)
        ovs.start()
        settings = CONFIG.replace('mode = "host"', 'mode = "dpu"') + DPU_CONFIG if dpu else CONFIG
        (folder / "daemon.toml").write_text(settings.format(folder=folder, ovsdb=ovs.socket, wait_s=wait_s))
        rig = CniNodeRig(folder, host, ovs, executable, stack)
        if dpu:
            rig.module = "tests.fakes.net_daemon"
        stack.callback(rig.kill)
        try:
            await rig.start()
            yield rig
        finally:
            await rig.channel.close()


@contextlib.contextmanager
def link_in(name: str, interface: str) -> Any:
    """Somebody else's interface in a namespace."""
    ip("-n", name, "link", "add", interface, "type", "veth", "peer", "name", f"x{interface}")
    yield
    ip("-n", name, "link", "del", interface)
