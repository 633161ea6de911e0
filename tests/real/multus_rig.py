"""A node behind a DPU on which Multus gives pods their networks: real API server, daemons, switch; kubelet is a fake.

Multus looks for kubelet and for device information at fixed places: it, and the daemon, stand in a mount namespace in
which those are folders of the test.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordinator.clients.kube import KubeApi
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.meta import Json
from lab import multus
from tests.contract.cni.behind_dpu import VFS, BehindDpuRig, behind_dpu
from tests.contract.cni.daemon import ROOT
from tests.contract.cni.node import START_S, assigned, pod_args
from tests.contract.coordinator.test_program import kubeconfig, settings, started
from tests.fakes.kubelet_devices import FakeKubelet
from tests.fakes.netns import ip
from tests.fakes.ports import free_port
from tests.fakes.qsd import DIES_WITH_THE_TEST
from tests.fakes.sysfs_vfs import PF, FakeSysfs

RESOURCE = "dpupool.io/vf"
SETTINGS = """\
[vfs]
pf = "{pf}"
sysfs = "{folder}/sys"
resource = "{resource}"
kubelet_dir = "{folder}/device-plugins"
pod_resources = "{folder}/pod-resources/kubelet.sock"
"""
DEVICE_INFO = Path("/run/k8s.cni.cncf.io")
PLACES = """\
set -e
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/kubelet/pod-resources /var/lib/cni
mount --bind {folder}/pod-resources /var/lib/kubelet/pod-resources
mount --bind {folder}/told {info}
echo ready
exec sleep 1000
"""
SECONDARY = {
    "cniVersion": "1.0.0",
    "name": "fast",
    "type": "dpu-cni",
    "network": "fast",
    "capabilities": {"deviceID": True, "CNIDeviceInfoFile": True, "mac": True, "ips": True},
}
DEFAULT = {"cniVersion": "1.0.0", "name": "dpupool", "plugins": [{"type": "dpu-cni"}]}


@dataclass
class MultusRig:
    """Everything that runs."""

    folder: Path
    node: BehindDpuRig
    kubelet: FakeKubelet
    kube: KubeApi
    kubeconfig: str
    places: int
    tree: FakeSysfs

    @property
    def told(self) -> Path:
        """Device information, by plug-in and by CNI."""
        return self.folder / "told" / "devinfo"

    async def make(self, kind: Foreign, name: str, body: Json, annotations: dict[str, str] | None = None) -> None:
        metadata = {"name": name, "namespace": "default", "annotations": annotations or {}}
        version = f"{kind.group}/v1" if kind.group else "v1"
        await self.kube.create(kind, {"apiVersion": version, "kind": kind.value, "metadata": metadata, **body})

    async def pod(self, name: str, number: int) -> str:
        """A pod with two networks as API server, kubelet and coordinator know it; its container."""
        spec = {"spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "busybox"}]}}
        await self.make(Foreign.POD, name, spec, {"k8s.v1.cni.cncf.io/networks": "fast"})
        uid = (await self.kube.get(Foreign.POD, name, "default"))["metadata"]["uid"]
        await self.kubelet.admit(f"default/{name}")
        second = {"port_id": f"default.{name}.net1", "interface": "net1", "network": "fast", "default_network": False}
        address = {"mac": f"0a:58:0a:14:00:{number:02x}", "attachment": "default/fast"}
        await self.node.assign(
            assigned(name, number, pod_uid=uid),
            assigned(name, number + 100, pod_uid=uid, **second, **address),
        )
        return self.node.container()

    async def call(self, verb: str, container: str, pod: str) -> tuple[int, Any]:
        """Multus as a container runtime calls it; its exit status and what it printed."""
        program = multus.find()
        assert program is not None
        uid = (await self.kube.get(Foreign.POD, pod, "default"))["metadata"]["uid"]
        environment = {
            **os.environ,
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/run/netns/{container}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": f"{self.node.executable.parent}",
            "CNI_ARGS": pod_args(pod, uid=uid),
            "DPUPOOL_CNI_SOCKET": str(self.node.socket),
        }
        conf = {
            "cniVersion": "1.0.0",
            "name": "multus",
            "type": "multus",
            "kubeconfig": self.kubeconfig,
            "delegates": [DEFAULT],
            "logLevel": "debug",
            "logFile": str(self.folder / "multus.log"),
        }
        process = await asyncio.create_subprocess_exec(
            "nsenter",
            f"--mount=/proc/{self.places}/ns/mnt",
            program,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, errors = await process.communicate(json.dumps(conf).encode())
        text = printed.decode() or errors.decode()
        return process.returncode or 0, json.loads(printed) if printed.strip() else text


@contextmanager
def _places(folder: Path) -> Iterator[int]:
    """A mount namespace with the fixed places; the process that holds it."""
    for name in ("pod-resources", "told", "device-plugins"):
        (folder / name).mkdir()
    DEVICE_INFO.mkdir(exist_ok=True)
    script = PLACES.format(folder=folder, info=DEVICE_INFO)
    words = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            yield holder.pid
        finally:
            holder.kill()
            with contextlib.suppress(OSError):
                DEVICE_INFO.rmdir()


def _functions(folder: Path, host: str) -> FakeSysfs:
    """A sysfs of files for functions whose network devices are real."""
    tree = FakeSysfs(folder / "sys")
    tree.make(VFS)
    for vf in range(VFS):
        tree.bind(vf, "mlx5_core", netdev=f"vf{vf}")
        ip("-n", host, "link", "set", f"vf{vf}", "address", f"02:00:00:00:00:{vf:02x}")
    return tree


async def _move(node: BehindDpuRig, places: int) -> None:
    """The host's daemon starts again, with functions that kubelet counts, where Multus stands."""
    node.kill()
    path = node.folder / "daemon.toml"
    before, _, after = path.read_text().partition("[vfs]")
    peer = after[after.index("[dpu]") :]
    path.write_text(before + SETTINGS.format(pf=PF, folder=node.folder, resource=RESOURCE) + peer)
    enter = ["nsenter", f"--mount=/proc/{places}/ns/mnt", f"--net=/run/netns/{node.host}", *DIES_WITH_THE_TEST]
    words = [sys.executable, "-m", "tests.fakes.cni_daemon", str(path)]
    # Entering a mount namespace leads to its root folder.
    known = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (node.folder / "log").open("ab") as log:
        node.process = subprocess.Popen([*enter, *words], env=known, stderr=log)  # noqa: ASYNC220  (ended by kill)
    async with asyncio.timeout(START_S):
        while (await node.call("STATUS")).status:
            assert node.process.poll() is None, (node.folder / "log").read_text()[-3000:]
            await asyncio.sleep(0.05)


@asynccontextmanager
async def multus_rig(executable: Path, tmp_path: Path) -> AsyncIterator[MultusRig]:
    """All of it, with the network `fast` to be asked for."""
    port = free_port()
    async with behind_dpu(executable) as node, started(settings(tmp_path, port), tmp_path / "notify"):
        config = kubeconfig(tmp_path, port)
        kube, kubelet = KubeApi.by_kubeconfig(config), FakeKubelet(node.folder)
        tree = _functions(node.folder, node.host)
        with _places(node.folder) as places:
            await kubelet.start()
            try:
                await _move(node, places)
                await kubelet.until({FakeSysfs.address(vf) for vf in range(VFS)})
                rig = MultusRig(node.folder, node, kubelet, kube, config, places, tree)
                spec = {"spec": {"config": json.dumps(SECONDARY)}}
                wanted = {"k8s.v1.cni.cncf.io/resourceName": RESOURCE}
                await rig.make(Foreign.ATTACHMENT_DEFINITION, "fast", spec, wanted)
                yield rig
            finally:
                node.kill()
                await kubelet.stop()
                await kube.close()
