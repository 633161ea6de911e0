"""Two emulated nodes for pods: one whose network its DPU owns, one with a switch of its own; OVN, coordinator, CRI.

node-1: namespaces `h1` (the host: its daemon in CNI mode host) and `dpu1` (the DPU: switch, ovn-controller, daemon),
functions `vfN` in the one with representors `pf0vfN` in the other. node-2: namespace `n2` (CNI mode default). Each has
a containerd. `mgmt` joins the daemons, `fab` carries Geneve. The coordinator and the test stand in `mgmt`.
"""

import asyncio
import json
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from coordinator.clients.kube import KubeApi
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from dpu_daemon.drivers.ethernet import disable_tx_checksum
from lab.ca import Authority, Identity, Role
from proto.errors import DpuError
from tests.contract.coordinator.test_program import TOKEN, kubeconfig
from tests.fakes.netns import inside, ip, netns
from tests.fakes.ovn import OvnCentral, OvnChassis, join_underlay
from tests.fakes.ports import free_port
from tests.fakes.qsd import DIES_WITH_THE_TEST
from tests.real.containerd_rig import Containerd
from tests.real.host_rig import ROOT, Groups
from tests.real.net_account import account, journalled
from tests.real.net_settings import (
    ADDRESSES,
    API,
    CONFLIST,
    COORDINATOR,
    PORT,
    SYSTEM,
    UNDERLAY,
    VFS,
    Switches,
    write_settings,
)


@dataclass
class Daemon:
    """A daemon of ours as a process in a namespace; killed at the end as the kernel would; its journal stays."""

    name: str
    netns: str
    folder: Path
    module: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        enter = ["nsenter", f"--net=/run/netns/{self.netns}", *DIES_WITH_THE_TEST]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*enter, sys.executable, "-m", *self.module], cwd=ROOT, stdout=log, stderr=log
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class Pod:
    """A pod that runs."""

    name: str
    uid: str
    node: str
    sandbox: str
    addresses: list[str]
    netns: str


@dataclass
class NetRig:
    """Everything that runs, and what a test does with it."""

    folder: Path
    names: Mapping[str, str]
    central: OvnCentral
    chassis: Mapping[str, OvnChassis]
    daemons: Mapping[str, Daemon]
    runtimes: Mapping[str, Containerd]
    authority: Authority
    kube: KubeApi
    pods: dict[str, Pod] = field(default_factory=dict)

    async def make(self, kind: Kind | Foreign, name: str, spec: Json, namespace: str = "", **rest: Json) -> Json:
        """Create an object."""
        core = API if isinstance(kind, Kind) else f"{kind.group}/v1" if kind.group else "v1"
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **rest.pop("metadata", {})}
        return await self.kube.create(
            kind, {"apiVersion": core, "kind": kind.value, "metadata": metadata, "spec": spec, **rest}
        )

    async def until(self, true: Callable[[], object], what: str, within_s: float = 60.0) -> None:
        """Wait until something is so; coroutine functions are awaited."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    found = true()
                    if asyncio.iscoroutine(found):
                        found = await found
                    if found:
                        return
                    await asyncio.sleep(0.05)
        raise AssertionError(f"not in {within_s:g} s: {what}\n{self.seen()}")

    def seen(self) -> str:
        """State of everything in words, for who must find out why something did not come."""
        return account(self.central, self.chassis, {name: self.log(name) for name in self.daemons})

    async def is_clean(self, within_s: float = 60.0) -> None:
        """Wait until nothing of any pod is left."""
        try:
            await self.until(self._clean, "nothing is left", within_s)
        except AssertionError as error:
            raise AssertionError(f"left: {', '.join(await self.left())}") from error

    async def _clean(self) -> bool:
        """Whether nothing is left; who was killed and is not back yet does not say so."""
        try:
            return not await self.left()
        except (DpuError, subprocess.CalledProcessError, sqlite3.Error, FileNotFoundError):
            return False

    async def left(self) -> list[str]:
        """What there is of pods in the ledger, in OVN, on the switches and in the daemons' journals.

        The nodes' own ports are none of them; ask `everything` for those, too.
        """
        return [what for what, is_node in await self._all() if not is_node]

    async def everything(self) -> list[str]:
        """As `left`, with what nodes have for themselves."""
        return [what for what, _ in await self._all()]

    async def _all(self) -> list[tuple[str, bool]]:
        """What there is, and whether it is a node's own."""
        ports, _ = await self.kube.list(Kind.PORT)
        found = [(f"Port {one['metadata']['name']}", one["metadata"]["namespace"] == SYSTEM) for one in ports]
        logical = self.central.nbctl("--bare", "--columns=name", "find", "Logical_Switch_Port", 'type=""').split()
        found += [(f"logical port {name}", name.startswith(f"{SYSTEM}.")) for name in logical]
        for name, one in self.chassis.items():
            for port in one.ovs.vsctl("list-ports", "br-int").split():
                if re.fullmatch(r"pf0vf\d+|dp[0-9a-f]{8}", port):
                    holder = one.ovs.vsctl("--if-exists", "get", "Interface", port, "external_ids")
                    found.append((f"{port} of {name}", f"{SYSTEM}." in holder))
        for name in ("dpu-1", "node-1", "node-2"):
            for kind, key in journalled(self.folder / name / "journal.db"):
                own = key.startswith((f"{SYSTEM}.", "node/"))
                found.append((f"{kind} {key} in the journal of {name}", own))
        return found

    async def wish(self, name: str, node: str, labels: Mapping[str, str] | None = None, **metadata: Json) -> str:
        """A pod as the scheduler leaves it; its uid."""
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "busybox"}]}
        known = {"labels": dict(labels or {}), **metadata}
        made = await self.make(Foreign.POD, name, spec, "default", metadata=known)
        return str(made["metadata"]["uid"])

    async def run(self, name: str, node: str, labels: Mapping[str, str] | None = None, **metadata: Json) -> Pod:
        """A pod, wished for and started as a kubelet would."""
        return await self.start(name, node, await self.wish(name, node, labels, **metadata))

    async def start(self, name: str, node: str, uid: str) -> Pod:
        runtime = self.runtimes[node]
        sandbox = await asyncio.to_thread(runtime.sandbox, name, uid)
        addresses, namespace = await asyncio.to_thread(runtime.network_of, sandbox)
        pod = self.pods[name] = Pod(name, uid, node, sandbox, addresses, namespace)
        status = {"phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": one} for one in addresses]}
        await self.kube.patch_status(Foreign.POD, name, {"status": status}, "default")
        return pod

    async def cni(self, verb: str, node: str, container: str, netns: str, pod: tuple[str, str]) -> tuple[int, Json]:
        """A call of the plug-in as containerd makes it; its exit status and what it printed.

        Args:
            pod: name and uid.
        """
        plugin = self.folder / f"c-{node}" / "cni" / "dpu-cni"
        known = {"K8S_POD_NAME": pod[0], "K8S_POD_NAMESPACE": "default", "K8S_POD_UID": pod[1], "IgnoreUnknown": "1"}
        process = await asyncio.create_subprocess_exec(
            plugin,
            env={
                "CNI_COMMAND": verb,
                "CNI_CONTAINERID": container,
                "CNI_NETNS": f"/run/netns/{netns}" if netns else "",
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(plugin.parent),
                "CNI_ARGS": ";".join(f"{key}={value}" for key, value in known.items()),
                "DPUPOOL_CNI_SOCKET": str(self.folder / node / "cni.sock"),
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate(b'{"cniVersion":"1.1.0","name":"dpupool","type":"dpu-cni"}')
        return process.returncode or 0, json.loads(printed or b"{}")

    async def remove(self, name: str) -> None:
        """A pod's end, as kubelet and the API see it."""
        pod = self.pods.pop(name)
        await asyncio.to_thread(self.runtimes[pod.node].remove, pod.uid)
        await self.kube.delete(Foreign.POD, name, "default")

    async def pings(self, source: Pod, address: str) -> bool:
        return await run_in(source.netns, "ping", "-c1", "-W1", address) == 0

    async def connects(self, source: Pod, address: str, port: int, within_s: float = 2.0) -> str:
        """Name of the pod that answers a TCP connection; empty when none does in time."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(source.netns):
            client = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with client:
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(within_s):
                    await loop.sock_connect(client, (address, port))
                    return (await loop.sock_recv(client, 100)).decode()
            except OSError:
                return ""

    @asynccontextmanager
    async def serving(self, pod: Pod, port: int) -> AsyncIterator[None]:
        """Every TCP connection to a port of the pod is answered with its name."""

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(pod.name.encode())
            await writer.drain()
            writer.close()

        with inside(pod.netns):
            listener = socket.create_server(("", port))
        async with await asyncio.start_server(answer, sock=listener):
            yield

    def log(self, name: str) -> str:
        """What a daemon has said."""
        return (self.daemons[name].folder / "log").read_text()


async def run_in(namespace: str, *words: str) -> int:
    """Exit status of a command in a network namespace."""
    process = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", namespace, *words,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await process.wait()


def card(host: str, dpu: str) -> None:
    """Functions and their representors; those that are gone are made again, as a card keeps what it has."""
    for number in range(VFS):
        representor, made = f"pf0vf{number}", f"new{number}"
        try:
            ip("-n", dpu, "link", "add", representor, "type", "veth", "peer", "name", made, "netns", host)
        except subprocess.CalledProcessError:
            continue  # it is there
        with inside(host):
            disable_tx_checksum(made)
        # Only now has it its name: a daemon takes a function as soon as it is there.
        ip("-n", host, "link", "set", made, "name", f"vf{number}")


@contextmanager
def _wired(names: Mapping[str, str]) -> Iterator[None]:
    """The management network."""
    mgmt = names["mgmt"]
    ip("-n", mgmt, "link", "add", "br0", "type", "bridge")
    ip("-n", mgmt, "addr", "add", "10.99.0.1/24", "dev", "br0")
    ip("-n", mgmt, "link", "set", "br0", "up")
    for number, (daemon, place) in enumerate((("dpu-1", "dpu1"), ("node-1", "h1"), ("node-2", "n2"))):
        far = names[place]
        ip("-n", mgmt, "link", "add", f"m{number}", "type", "veth", "peer", "name", "mg0", "netns", far)
        ip("-n", mgmt, "link", "set", f"m{number}", "master", "br0", "up")
        ip("-n", far, "addr", "add", f"{ADDRESSES[daemon]}/24", "dev", "mg0")
        ip("-n", far, "link", "set", "mg0", "up")
    yield


@asynccontextmanager
async def net_rig(*, wait_s: float = 20.0) -> AsyncIterator[NetRig]:
    """Everything, up and joined; networks, nodes and pods are the test's to make."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="nr-", dir="/tmp")))
        names = {label: held.enter_context(netns(label)) for label in ("mgmt", "fab", "h1", "dpu1", "n2")}
        held.enter_context(_wired(names))
        held.enter_context(inside(names["mgmt"]))
        parts = _switches(folder, names, held)
        card(names["h1"], names["dpu1"])
        authority = Authority(folder / "ca")
        groups = Groups()
        held.callback(groups.remove, "")
        write_settings(folder, authority, parts, groups.above, wait_s)
        daemons = _daemons(folder, names)
        for daemon in daemons.values():
            held.callback(daemon.kill)
        for name in ("dpu-1", "node-1", "node-2"):
            daemons[name].start()
        async with AsyncExitStack() as running:
            runtimes = {node: _runtime(folder, node, groups, running) for node in ("node-1", "node-2")}
            kube = _coordinator(folder, authority, parts.central, daemons["coordinator"])
            running.push_async_callback(kube.close)
            await _answers(kube)
            rig = NetRig(folder, names, parts.central, parts.chassis, daemons, runtimes, authority, kube)
            sockets = [folder / node / "cni.sock" for node in runtimes]
            await rig.until(lambda: all(one.exists() for one in sockets), "both nodes serve CNI")
            yield rig


def _switches(folder: Path, names: Mapping[str, str], held: ExitStack) -> Switches:
    (folder / "ovn").mkdir()
    central = OvnCentral(folder / "ovn")
    held.callback(central.stop)
    central.start()
    chassis: dict[str, OvnChassis] = {}
    for name, place in (("dpu-1", "dpu1"), ("node-2", "n2")):
        directory = folder / f"ovs-{place}"
        directory.mkdir()
        one = OvnChassis(directory, names[place], central, encap_ip=UNDERLAY[name], configure=False)
        held.callback(one.stop)
        one.start()
        chassis[name] = one
    join_underlay(list(chassis.values()), names["fab"])
    return Switches(central, chassis)


def _daemons(folder: Path, names: Mapping[str, str]) -> dict[str, Daemon]:
    found = {}
    for name, place in (("dpu-1", "dpu1"), ("node-1", "h1"), ("node-2", "n2")):
        config = str(folder / name / "daemon.toml")
        found[name] = Daemon(name, names[place], folder / name, ("tests.fakes.net_daemon", config))
    (folder / "coordinator").mkdir()
    program = ("coordinator.main", "--config", str(folder / "coordinator.toml"))
    return found | {"coordinator": Daemon("coordinator", names["mgmt"], folder / "coordinator", program)}


def _runtime(folder: Path, node: str, groups: Groups, running: AsyncExitStack) -> Containerd:
    directory = folder / f"c-{node}"
    plugins = directory / "cni"
    plugins.mkdir(parents=True)
    subprocess.run([sys.executable, str(ROOT / "packaging/cni/bundle.py"), str(plugins / "dpu-cni")], check=True)
    (plugins / "10-dpupool.conflist").write_text(CONFLIST)
    # containerd also runs this one for the loopback device.
    shutil.copy("/usr/lib/cni/loopback", plugins / "loopback")
    socket = {"DPUPOOL_CNI_SOCKET": str(folder / node / "cni.sock")}
    runtime = Containerd(directory, groups.above, socket)
    running.enter_context(runtime.running())
    return runtime


def _coordinator(folder: Path, authority: Authority, central: OvnCentral, program: Daemon) -> KubeApi:
    ours = authority.issue(Identity("coordinator", Role.COORDINATOR, ("127.0.0.1",)))
    shutil.copy(authority.ca_file, folder / "test-ca.crt")
    (folder / "tokens").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    port = free_port()
    known = {"folder": folder, "ca": authority.ca_file, "northbound": central.northbound}
    settings = folder / "coordinator.toml"
    settings.write_text(COORDINATOR.format(**known, port=port, tls=ours))
    program.start()
    return KubeApi.by_kubeconfig(kubeconfig(folder, port))


async def _answers(kube: KubeApi, within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while True:
            with suppress(DpuError):
                await kube.list(Kind.NETWORK)
                return
            await asyncio.sleep(0.1)


async def furnish(rig: NetRig) -> None:
    """Two nodes and the default network of their pods."""
    await rig.make(Kind.NETWORK, "pods", {"driver": "ovn", "default": True, "mtu": 1400})
    await rig.make(
        Kind.SUBNET, "pods", {"networkRef": {"name": "pods"}, "cidr": "10.16.0.0/16", "gateway": "10.16.0.1"}
    )
    for node, daemon in (("node-1", "dpu-1"), ("node-2", "node-2")):
        await rig.make(Foreign.NODE, node, {})
        chassis = rig.chassis[daemon].name
        spec: Json = {"address": f"{ADDRESSES[daemon]}:{PORT}", "serverName": daemon, "chassis": chassis}
        await rig.make(Kind.NETWORK_NODE, node, spec)
