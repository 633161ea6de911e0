"""A containerd of the test's own, spoken to over its CRI as kubelet does: private root, state and socket."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

import grpc

from dpu_daemon.drivers.cri.names import POD_UID
from proto.cri.runtime.v1 import api_pb2, api_pb2_grpc
from tests.fakes.qsd import DIES_WITH_THE_TEST
from tests.real.host_rig import MIB, wait_for

IMAGE = "docker.io/local/busybox:1"
START_S = 90.0
CALL_S = 90.0
SETTINGS = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs"]
[grpc]
address = "{folder}/c.sock"
[ttrpc]
address = "{folder}/t.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
restrict_oom_score_adj = true
disable_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{folder}/cni"
conf_dir = "{folder}/cni"
"""


def image_archive(path: Path) -> None:
    """An image in docker's archive form: busybox, and a shell that waits."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(shutil.which("busybox") or "/bin/busybox", "bin/busybox")
        for name in ("sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    data = layer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sleep", "100000"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(data).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for name, content in (
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", data),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


class Containerd:
    """Its CRI. Containers that `run` starts live on the machine's own network, so that no CNI is needed.

    Args:
        folder: short, for its sockets; CNI plug-ins and their configuration are in ``cni`` below it.
        above: directory of the pods' groups.
        environment: of containerd, and so of the plug-ins that it starts.
    """

    def __init__(self, folder: Path, above: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self._above = folder, above
        self._environment = {**os.environ, **(environment or {})}
        self.socket = folder / "c.sock"
        self._sandboxes: dict[str, tuple[str, api_pb2.PodSandboxConfig]] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        (self.folder / "cni").mkdir(exist_ok=True)
        config = self.folder / "config.toml"
        config.write_text(SETTINGS.format(folder=self.folder, image=IMAGE))
        argv = [*DIES_WITH_THE_TEST, "containerd", "--config", str(config)]
        with (
            (self.folder / "containerd.log").open("ab") as log,
            subprocess.Popen(argv, stderr=log, env=self._environment) as process,
        ):
            try:
                with grpc.insecure_channel(
                    f"unix:{self.socket}", options=[("grpc.default_authority", "localhost")]
                ) as channel:
                    self.cri = api_pb2_grpc.RuntimeServiceStub(channel)
                    wait_for(self._answers, "containerd answers", START_S)
                    self._import()
                    try:
                        yield
                    finally:
                        self._remove_all()
            finally:
                process.terminate()
                process.wait()

    def _answers(self) -> bool:
        with suppress(grpc.RpcError):
            return bool(self.cri.Version(api_pb2.VersionRequest(), timeout=2).runtime_name)
        return False

    def _import(self) -> None:
        archive = self.folder / "image.tar"
        image_archive(archive)
        argv = [
            "ctr",
            "-a",
            str(self.socket),
            "-n",
            "k8s.io",
            "images",
            "import",
            "--snapshotter",
            "native",
            str(archive),
        ]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)

    def run(self, pod: str, container: str, script: str, *, cpu: int, memory: int = 64 * MIB) -> str:
        """Start a Burstable pod of one container, as kubelet does; returns the container's id."""
        options = api_pb2.NamespaceOption(network=api_pb2.NODE)
        sandbox = api_pb2.PodSandboxConfig(
            metadata=api_pb2.PodSandboxMetadata(name=pod, uid=pod, namespace="default"),
            log_directory=str(self.folder / "logs"),
            linux=api_pb2.LinuxPodSandboxConfig(
                cgroup_parent=f"/{self._above}/kubepods/burstable/pod{pod}",
                security_context=api_pb2.LinuxSandboxSecurityContext(namespace_options=options),
            ),
        )
        request = api_pb2.RunPodSandboxRequest(config=sandbox)
        sandbox_id = self.cri.RunPodSandbox(request, timeout=CALL_S).pod_sandbox_id
        self._sandboxes[pod] = (sandbox_id, sandbox)
        config = api_pb2.ContainerConfig(
            metadata=api_pb2.ContainerMetadata(name=container),
            image=api_pb2.ImageSpec(image=IMAGE),
            command=["/bin/sh", "-c", script],
            labels={POD_UID: pod},
            log_path=f"{container}.log",
            linux=api_pb2.LinuxContainerConfig(
                resources=api_pb2.LinuxContainerResources(
                    cpu_period=100_000, cpu_quota=cpu * 100, memory_limit_in_bytes=memory
                )
            ),
        )
        made = self.cri.CreateContainer(
            api_pb2.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox),
            timeout=CALL_S,
        )
        self.cri.StartContainer(api_pb2.StartContainerRequest(container_id=made.container_id), timeout=CALL_S)
        return str(made.container_id)

    def sandbox(self, pod: str, uid: str, namespace: str = "default") -> str:
        """A pod with a network of its own, by CNI, and nothing in it; returns the sandbox's id.

        Raises:
            grpc.RpcError: containerd's, with what the plug-in answered.
        """
        config = api_pb2.PodSandboxConfig(
            metadata=api_pb2.PodSandboxMetadata(name=pod, uid=uid, namespace=namespace),
            log_directory=str(self.folder / "logs"),
            linux=api_pb2.LinuxPodSandboxConfig(
                cgroup_parent=f"/{self._above}/kubepods/burstable/pod{uid}",
                security_context=api_pb2.LinuxSandboxSecurityContext(
                    namespace_options=api_pb2.NamespaceOption(network=api_pb2.POD)
                ),
            ),
        )
        answer = self.cri.RunPodSandbox(api_pb2.RunPodSandboxRequest(config=config), timeout=CALL_S)
        self._sandboxes[uid] = (answer.pod_sandbox_id, config)
        return str(answer.pod_sandbox_id)

    def network_of(self, sandbox_id: str) -> tuple[list[str], str]:
        """Addresses of a sandbox as CRI tells them, and the name of its network namespace."""
        request = api_pb2.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True)
        told = self.cri.PodSandboxStatus(request, timeout=CALL_S)
        network = told.status.network
        namespaces = json.loads(told.info["info"])["runtimeSpec"]["linux"]["namespaces"]
        path = next(one["path"] for one in namespaces if one["type"] == "network")
        return [network.ip, *(one.ip for one in network.additional_ips)], Path(path).name

    def remove(self, uid: str) -> None:
        """Stop and remove a pod's sandbox, as kubelet does."""
        sandbox_id, _ = self._sandboxes[uid]
        self.cri.StopPodSandbox(api_pb2.StopPodSandboxRequest(pod_sandbox_id=sandbox_id), timeout=CALL_S)
        self.cri.RemovePodSandbox(api_pb2.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id), timeout=CALL_S)
        del self._sandboxes[uid]

    def update(self, container_id: str, *, cpu: int, memory: int) -> None:
        """What kubelet resizes by."""
        resources = api_pb2.LinuxContainerResources(
            cpu_period=100_000, cpu_quota=cpu * 100, memory_limit_in_bytes=memory
        )
        request = api_pb2.UpdateContainerResourcesRequest(container_id=container_id, linux=resources)
        self.cri.UpdateContainerResources(request, timeout=CALL_S)

    def _remove_all(self) -> None:
        for uid in list(self._sandboxes):
            self.remove(uid)
