"""The CSI plug-in with its Node service, as a process of a test, and the calls that kubelet makes of it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import grpc

from proto.csi.v1 import csi_pb2_grpc, node_pb2, volume_pb2
from tests.fakes.qsd import DIES_WITH_THE_TEST, wait_for

LIMIT_S = 60.0
ROOT = Path(__file__).resolve().parents[2]
Mode = volume_pb2.VolumeCapability.AccessMode.Mode


def mounted(fs_type: str = "", mode: Mode = Mode.SINGLE_NODE_WRITER, *flags: str) -> volume_pb2.VolumeCapability:
    """A capability of a file system."""
    access = volume_pb2.VolumeCapability
    return access(
        mount=access.MountVolume(fs_type=fs_type, mount_flags=flags), access_mode=access.AccessMode(mode=mode)
    )


def raw(mode: Mode = Mode.SINGLE_NODE_WRITER) -> volume_pb2.VolumeCapability:
    """A capability of the disk itself."""
    access = volume_pb2.VolumeCapability
    return access(block=access.BlockVolume(), access_mode=access.AccessMode(mode=mode))


class NodeProcess:
    """One plug-in; it may be killed and started again.

    Args:
        directory: of this node: settings, state, socket, paths of volumes.
        discovery: folder of the host bus; none finds disks in sysfs.
        name: of the BareMetalHost.
        settings: more lines of the table ``[node]``.
    """

    def __init__(self, directory: Path, discovery: Path | None, name: str = "host-1", settings: str = "") -> None:
        self.directory = directory
        self.socket = directory / "plugin" / "csi.sock"
        self._settings = directory / "csi.toml"
        self._log = directory / "csi.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: grpc.Channel | None = None
        directory.mkdir(parents=True, exist_ok=True)
        kind = f'kind = "loop"\ndirectory = "{discovery}"' if discovery is not None else 'kind = "sysfs"'
        self._settings.write_text(
            f'endpoint = "unix://{self.socket}"\ndrain_s = 1.0\n'
            f'[node]\nname = "{name}"\nstate_dir = "{directory / "state"}"\n{settings}\n'
            f"[discovery]\n{kind}\n[registration]\nenabled = false\n",
            encoding="utf-8",
        )

    def start(self) -> None:
        command = [*DIES_WITH_THE_TEST, sys.executable, "-m", "csi_plugin.main", "--config", str(self._settings)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stderr=log)
        wait_for(self._answers)
        self._channel = grpc.insecure_channel(f"unix:{self.socket}")

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def staging(self, volume: str) -> Path:
        return self.directory / "staging" / volume

    def target(self, volume: str, pod: str = "pod") -> Path:
        return self.directory / "pods" / pod / volume

    def stub(self) -> csi_pb2_grpc.NodeStub:
        assert self._channel is not None
        return csi_pb2_grpc.NodeStub(self._channel)

    def stage(
        self, volume: str, context: Mapping[str, str], wanted: volume_pb2.VolumeCapability, timeout_s: float = LIMIT_S
    ) -> None:
        self.staging(volume).mkdir(parents=True, exist_ok=True)
        request = node_pb2.NodeStageVolumeRequest(
            volume_id=volume,
            publish_context=context,
            staging_target_path=str(self.staging(volume)),
            volume_capability=wanted,
        )
        self.stub().NodeStageVolume(request, timeout=timeout_s)

    def unstage(self, volume: str) -> None:
        path = str(self.staging(volume))
        request = node_pb2.NodeUnstageVolumeRequest(volume_id=volume, staging_target_path=path)
        self.stub().NodeUnstageVolume(request, timeout=LIMIT_S)

    def publish(
        self, volume: str, wanted: volume_pb2.VolumeCapability, pod: str = "pod", *, readonly: bool = False
    ) -> Path:
        target = self.target(volume, pod)
        target.parent.mkdir(parents=True, exist_ok=True)
        request = node_pb2.NodePublishVolumeRequest(
            volume_id=volume,
            staging_target_path=str(self.staging(volume)),
            target_path=str(target),
            volume_capability=wanted,
            readonly=readonly,
        )
        self.stub().NodePublishVolume(request, timeout=LIMIT_S)
        return target

    def unpublish(self, volume: str, pod: str = "pod") -> None:
        path = str(self.target(volume, pod))
        request = node_pb2.NodeUnpublishVolumeRequest(volume_id=volume, target_path=path)
        self.stub().NodeUnpublishVolume(request, timeout=LIMIT_S)

    def stats(self, volume: str, path: Path) -> node_pb2.NodeGetVolumeStatsResponse:
        request = node_pb2.NodeGetVolumeStatsRequest(volume_id=volume, volume_path=str(path))
        answer: node_pb2.NodeGetVolumeStatsResponse = self.stub().NodeGetVolumeStats(request, timeout=LIMIT_S)
        return answer

    def expand(self, volume: str, path: Path, required_bytes: int) -> int:
        wanted = volume_pb2.CapacityRange(required_bytes=required_bytes)
        request = node_pb2.NodeExpandVolumeRequest(volume_id=volume, volume_path=str(path), capacity_range=wanted)
        return int(self.stub().NodeExpandVolume(request, timeout=LIMIT_S).capacity_bytes)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if process is not None:
            process.send_signal(number)
            process.wait(LIMIT_S)
            deadline = time.monotonic() + LIMIT_S
            while os.path.exists(f"/proc/{process.pid}/exe") and time.monotonic() < deadline:  # noqa: PTH110
                time.sleep(0.01)


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """What a refused call was answered with."""
    assert isinstance(error, grpc.Call)
    return error.code()
