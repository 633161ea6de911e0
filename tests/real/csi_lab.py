"""A container orchestrator over the sockets of a lab: calls go on through deaths, as sidecars and kubelet repeat."""

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from lab import mounts, programs
from proto.csi.v1 import controller_pb2, csi_pb2_grpc, node_pb2, snapshot_pb2, volume_pb2
from tests.fakes.csi import capability, create_request, publish_request
from tests.fakes.csi_node import code_of
from tests.real.running_lab import RunningLab

MIB = 1 << 20
SIZE, GROWN = 320 * MIB, 352 * MIB
"""As small as mkfs.xfs allows; xfs grows without CAP_SYS_RESOURCE, which containers often lack."""
CALL_S = 60.0
GIVE_UP_S = 300.0
AGAIN_S = 0.1
GOES_ON = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED}
"""What docs/csi.md says may be repeated; any other error is final."""
CHANNEL = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200))
KINDS = ("Volume", "VolumeAttachment", "Snapshot")

Attempt = Callable[[], None]
"""Told when a call is sent; a test may kill something then."""


class CsiLab:
    """Calls of the CSI Controller and of the CSI Node of each host.

    Args:
        lab: with hosts that are this machine.
        folder: for the paths that kubelet would give.
    """

    def __init__(self, lab: RunningLab, folder: Path) -> None:
        self.lab, self._folder = lab, folder
        self._channels = [_channel(programs.csi_controller_socket(lab.layout))]
        self._controller = csi_pb2_grpc.ControllerStub(self._channels[0])
        self._groups = csi_pb2_grpc.GroupControllerStub(self._channels[0])
        self._nodes = {}
        for number in range(1, lab.settings.hosts + 1):
            self._channels.append(_channel(programs.csi_node_socket(lab.layout, number)))
            self._nodes[number] = csi_pb2_grpc.NodeStub(self._channels[-1])
        self.sent: Attempt = lambda: None

    def close(self) -> None:
        """Let go of the sockets, and of mounts that a failed test has left."""
        for point in mounts.under(self._folder, mounts.MOUNTINFO.read_text(encoding="utf-8")):
            subprocess.run(["umount", "--lazy", point], check=False, timeout=CALL_S)
        for channel in self._channels:
            channel.close()

    def call(self, method: Callable[..., Any], request: Any) -> Any:
        """The answer of a call, repeated for as long as its error says that it may go on."""
        deadline = time.monotonic() + GIVE_UP_S
        self.sent()
        while True:
            try:
                return method(request, timeout=CALL_S)
            except grpc.RpcError as error:
                if code_of(error) not in GOES_ON or time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_S)

    def create(self, name: str, size: int = SIZE, **asked: Any) -> volume_pb2.Volume:
        made: volume_pb2.Volume = self.call(self._controller.CreateVolume, create_request(name, size, **asked)).volume
        return made

    def delete(self, volume: str) -> None:
        self.call(self._controller.DeleteVolume, controller_pb2.DeleteVolumeRequest(volume_id=volume))

    def publish(self, volume: str, host: int) -> dict[str, str]:
        request = publish_request(volume, f"host-{host}", fs="xfs")
        return dict(self.call(self._controller.ControllerPublishVolume, request).publish_context)

    def unpublish(self, volume: str, host: int) -> None:
        request = controller_pb2.ControllerUnpublishVolumeRequest(volume_id=volume, node_id=f"host-{host}")
        self.call(self._controller.ControllerUnpublishVolume, request)

    def expand(self, volume: str, size: int) -> int:
        wanted = volume_pb2.CapacityRange(required_bytes=size)
        request = controller_pb2.ControllerExpandVolumeRequest(volume_id=volume, capacity_range=wanted)
        return int(self.call(self._controller.ControllerExpandVolume, request).capacity_bytes)

    def limit(self, volume: str, **limits: str) -> None:
        parameters = {key.replace("_", "-"): value for key, value in limits.items()}
        request = controller_pb2.ControllerModifyVolumeRequest(volume_id=volume, mutable_parameters=parameters)
        self.call(self._controller.ControllerModifyVolume, request)

    def snapshot(self, name: str, volume: str) -> str:
        request = snapshot_pb2.CreateSnapshotRequest(name=name, source_volume_id=volume)
        return str(self.call(self._controller.CreateSnapshot, request).snapshot.snapshot_id)

    def drop(self, snapshot: str) -> None:
        request = snapshot_pb2.DeleteSnapshotRequest(snapshot_id=snapshot)
        self.call(self._controller.DeleteSnapshot, request)

    def group(self, name: str, *volumes: str) -> dict[str, str]:
        """Snapshots by volume."""
        request = snapshot_pb2.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=volumes)
        made = self.call(self._groups.CreateVolumeGroupSnapshot, request).group_snapshot
        return {one.source_volume_id: one.snapshot_id for one in made.snapshots}

    def drop_group(self, name: str, *snapshots: str) -> None:
        request = snapshot_pb2.DeleteVolumeGroupSnapshotRequest(group_snapshot_id=name, snapshot_ids=snapshots)
        self.call(self._groups.DeleteVolumeGroupSnapshot, request)

    def mount(self, volume: str, host: int, context: dict[str, str]) -> Path:
        """Stage and publish; the folder for the workload."""
        staging, target = self._paths(volume, host)
        staging.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        stage = node_pb2.NodeStageVolumeRequest(
            volume_id=volume,
            publish_context=context,
            staging_target_path=str(staging),
            volume_capability=capability(fs="xfs"),
        )
        self.call(self._nodes[host].NodeStageVolume, stage)
        publish = node_pb2.NodePublishVolumeRequest(
            volume_id=volume,
            staging_target_path=str(staging),
            target_path=str(target),
            volume_capability=capability(fs="xfs"),
        )
        self.call(self._nodes[host].NodePublishVolume, publish)
        return target

    def grow(self, volume: str, host: int, size: int) -> None:
        wanted = volume_pb2.CapacityRange(required_bytes=size)
        path = str(self._paths(volume, host)[1])
        request = node_pb2.NodeExpandVolumeRequest(volume_id=volume, volume_path=path, capacity_range=wanted)
        self.call(self._nodes[host].NodeExpandVolume, request)

    def unmount(self, volume: str, host: int) -> None:
        staging, target = self._paths(volume, host)
        unpublish = node_pb2.NodeUnpublishVolumeRequest(volume_id=volume, target_path=str(target))
        self.call(self._nodes[host].NodeUnpublishVolume, unpublish)
        unstage = node_pb2.NodeUnstageVolumeRequest(volume_id=volume, staging_target_path=str(staging))
        self.call(self._nodes[host].NodeUnstageVolume, unstage)

    def use(self, volume: str, host: int) -> Path:
        return self.mount(volume, host, self.publish(volume, host))

    def leave(self, volume: str, host: int) -> None:
        self.unmount(volume, host)
        self.unpublish(volume, host)

    def leftovers(self) -> list[str]:
        """What calls could have left: objects, files of volumes, disks, mounts, loop devices, records of nodes."""
        found = [f"{kind} {one['metadata']['name']}" for kind in KINDS for one in self.lab.objects(kind)]
        found += [f"volume file {file.name}" for file in self.lab.volume_files()]
        table = mounts.MOUNTINFO.read_text(encoding="utf-8")
        found += [f"mount {point}" for point in mounts.under(self._folder, table)]
        found += [f"loop {one}" for one in mounts.devices_over(self.lab.layout.run, mounts.backing_files())]
        for number in self._nodes:
            disks = programs.host_disks(self.lab.layout, number)
            found += [f"disk {file.name}" for file in disks.iterdir() if not file.name.startswith(".")]
        for dpu in self.lab.objects("Dpu"):
            used = dpu["status"].get("diskSlots", {}).get("used", 0)
            found += [f"{dpu['metadata']['name']} counts {used} disks"] if used else []
        return found

    def _paths(self, volume: str, host: int) -> tuple[Path, Path]:
        return self._folder / f"{host}-staging" / volume, self._folder / f"{host}-pods" / volume


def _channel(socket: Path) -> grpc.Channel:
    return grpc.insecure_channel(f"unix:{socket}", options=CHANNEL)


def write(path: Path, size: int = 4 * MIB) -> str:
    """Write something, flushed to the storage; its checksum."""
    data = os.urandom(size)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def checksum(path: Path) -> str:
    """Of what the storage holds, not of what the kernel remembers."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.sha256(file.read()).hexdigest()


def together(*acts: Callable[[], Any]) -> list[Any]:
    """Do things at once; what each gave, or the error that it ended with."""
    found: list[Any] = [None] * len(acts)

    def do(index: int) -> None:
        try:
            found[index] = acts[index]()
        except grpc.RpcError as error:
            found[index] = error

    threads = [threading.Thread(target=do, args=(index,)) for index in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GIVE_UP_S)
    return found
