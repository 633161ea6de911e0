"""What runs inside the guest: the plug-in as it ships, and kubelet's calls of it. Each result is a line on the console.

python -m tests.real.csi_in_guest
"""

import asyncio
import hashlib
import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import grpc

from csi_plugin import config
from csi_plugin.program import Plugin
from proto.csi.v1 import csi_pb2_grpc, node_pb2, volume_pb2

LIMIT_S = 200.0
MIB = 1 << 20
NVME = {"dpupool.io/serial": "wanted", "dpupool.io/nguid": "0123456789abcdef0123456789abcdef"}
VIRTIO = {"dpupool.io/serial": "d0123456789ab", "dpupool.io/slot": "1", "dpupool.io/pci-address": "0000:01:00.0"}
HOTPLUGGED_NVME = {"dpupool.io/serial": "d0123456789ac"}
SETTINGS = """\
endpoint = "unix:///run/csi/csi.sock"
[node]
name = "host-1"
disk_wait_s = 60
state_dir = "/run/csi-state"
[registration]
enabled = false
"""


def say(words: str) -> None:
    print(f"== {words}", flush=True)  # noqa: T201


class Kubelet:
    """Calls over the plug-in's socket."""

    def __init__(self, stub: csi_pb2_grpc.NodeStub) -> None:
        self._stub = stub

    def stage(self, volume: str, context: dict[str, str], wanted: volume_pb2.VolumeCapability) -> None:
        request = node_pb2.NodeStageVolumeRequest(
            volume_id=volume,
            publish_context=context,
            staging_target_path=f"/run/staging/{volume}",
            volume_capability=wanted,
        )
        self._stub.NodeStageVolume(request, timeout=LIMIT_S)

    def publish(self, volume: str, wanted: volume_pb2.VolumeCapability) -> Path:
        target = Path("/run/pods", volume)
        request = node_pb2.NodePublishVolumeRequest(
            volume_id=volume,
            staging_target_path=f"/run/staging/{volume}",
            target_path=str(target),
            volume_capability=wanted,
        )
        self._stub.NodePublishVolume(request, timeout=LIMIT_S)
        return target

    def leave(self, volume: str) -> None:
        unpublish = node_pb2.NodeUnpublishVolumeRequest(volume_id=volume, target_path=f"/run/pods/{volume}")
        self._stub.NodeUnpublishVolume(unpublish, timeout=LIMIT_S)
        unstage = node_pb2.NodeUnstageVolumeRequest(volume_id=volume, staging_target_path=f"/run/staging/{volume}")
        self._stub.NodeUnstageVolume(unstage, timeout=LIMIT_S)

    def expand(self, volume: str, required_bytes: int) -> int:
        request = node_pb2.NodeExpandVolumeRequest(
            volume_id=volume,
            volume_path=f"/run/pods/{volume}",
            capacity_range=volume_pb2.CapacityRange(required_bytes=required_bytes),
        )
        return int(self._stub.NodeExpandVolume(request, timeout=LIMIT_S).capacity_bytes)


def capability(fs_type: str) -> volume_pb2.VolumeCapability:
    access = volume_pb2.VolumeCapability
    mode = access.AccessMode(mode=access.AccessMode.Mode.SINGLE_NODE_WRITER)
    if not fs_type:
        return access(block=access.BlockVolume(), access_mode=mode)
    return access(mount=access.MountVolume(fs_type=fs_type), access_mode=mode)


def write(path: Path) -> str:
    data = os.urandom(MIB)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()[:MIB]).hexdigest()


def disk_below(path: Path) -> str:
    """Name of the disk that a path is on."""
    number = path.stat().st_dev
    return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve().name


def nvme_among_others(kubelet: Kubelet) -> None:
    """By the serial of its controller: Linux believes no NGUID of QEMU's (NVME_QUIRK_BOGUS_NID)."""
    kubelet.stage("nvme", NVME, capability("xfs"))
    target = kubelet.publish("nvme", capability("xfs"))
    written = write(target / "data")
    name = disk_below(target)
    assert Path("/sys/block", name, "device", "serial").read_text(encoding="ascii").strip() == "wanted"
    assert checksum(target / "data") == written
    kubelet.leave("nvme")
    say(f"NVME {name}")


def virtio_that_comes_late(kubelet: Kubelet) -> None:
    """Plugged while NodeStageVolume waits, then grown while it is mounted."""
    asked = threading.Thread(target=kubelet.stage, args=("virtio", VIRTIO, capability("ext4")))
    asked.start()
    time.sleep(1.0)
    assert asked.is_alive()
    say("PLUG virtio")
    asked.join(LIMIT_S)
    target = kubelet.publish("virtio", capability("ext4"))
    written = write(target / "data")
    before = os.statvfs(target)
    say("GROW virtio")
    assert kubelet.expand("virtio", 128 * MIB) == 128 * MIB
    after = os.statvfs(target)
    assert after.f_blocks * after.f_frsize > 1.8 * before.f_blocks * before.f_frsize
    assert checksum(target / "data") == written
    name = disk_below(target)
    kubelet.leave("virtio")
    say(f"VIRTIO {name}")


def raw_nvme_by_serial(kubelet: Kubelet) -> None:
    """A whole disk, found by its controller's serial."""
    asked = threading.Thread(target=kubelet.stage, args=("raw", HOTPLUGGED_NVME, capability("")))
    asked.start()
    say("PLUG nvme")
    asked.join(LIMIT_S)
    target = kubelet.publish("raw", capability(""))
    assert target.is_block_device()
    kubelet.leave("raw")
    assert not target.exists()
    say("RAW")


def serve(started: threading.Event) -> None:
    """The plug-in's own parts on an event loop of their own, as `dpu-csi` starts them."""

    async def forever() -> None:
        plugin = Plugin(config.load(Path("/run/csi.toml"), {}))
        await plugin.start()
        started.set()
        await plugin.keep()

    asyncio.run(forever())


def main() -> None:
    say("BOOTED")
    Path("/run/csi").mkdir()
    Path("/run/csi.toml").write_text(SETTINGS, encoding="utf-8")
    started = threading.Event()
    threading.Thread(target=serve, args=(started,), daemon=True).start()
    assert started.wait(LIMIT_S)
    kubelet = Kubelet(csi_pb2_grpc.NodeStub(grpc.insecure_channel("unix:///run/csi/csi.sock")))
    cases: tuple[Callable[[Kubelet], None], ...] = (nvme_among_others, virtio_that_comes_late, raw_nvme_by_serial)
    for case in cases:
        case(kubelet)
    say("ALL DONE")


if __name__ == "__main__":
    try:
        main()
    finally:
        traceback.print_exc()
        # The machine is switched off by its first process, which is this one; if it just ended, the kernel would panic.
        Path("/proc/sysrq-trigger").write_text("o", encoding="ascii")
        time.sleep(LIMIT_S)
