"""A storage node, a DPU and hosts that are folders, with the CSI Node part on each: bytes go all the way."""

import asyncio
import ctypes
import fcntl
import hashlib
import os
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dpu_daemon.drivers.fusebus import FuseBus
from dpu_daemon.drivers.qsd import QsdBlock, QsdTarget
from dpu_daemon.model.disk import DiskProtocol, FunctionSeen
from dpu_daemon.model.volume import Export, Volume
from tests.fakes.csi_node import NodeProcess, mounted
from tests.fakes.fuse_host import FuseHost
from tests.fakes.ports import free_port
from tests.fakes.qsd import StorageDaemon

MIB = 1 << 20
VOLUME = "d0123456789ab"
SIZES = {"ext4": 64 * MIB, "xfs": 320 * MIB}
"""As small as mkfs.xfs allows."""
MNT_DETACH = 2
LOOP_CLR_FD, BLKROSET = 0x4C01, 0x125D


@dataclass
class Host:
    """A folder as the host's bus, and its node part."""

    files: FuseHost
    bus: FuseBus
    node: NodeProcess


class CsiRig:
    """The chain behind the node part; what the DPU's daemon does is done by its drivers here.

    Args:
        directory: short, because sockets lie there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "images").mkdir()
        self.storage = StorageDaemon(directory, "st")
        self.dpu = StorageDaemon(directory, "dpu")
        self.target = QsdTarget(
            qmp=self.storage.qmp,
            nbd_host="127.0.0.1",
            nbd_port=free_port(),
            volume_dir=str(directory / "volumes"),
            image_dir=str(directory / "images"),
        )
        self.block = QsdBlock(qmp=self.dpu.qmp, nbd_socket=self.dpu.nbd)
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        self.hosts: list[Host] = []
        self._volumes: dict[str, Volume] = {}

    async def start(self) -> None:
        self.storage.start()
        self.dpu.start()
        await self.target.start(lambda _: None)
        await self.block.start(self.lost.put_nowait)

    async def host(self, name: str = "host-1") -> Host:
        """One more host."""
        files = FuseHost(self._directory / name)
        files.start()
        bus = FuseBus(directory=str(files.directory), qmp=str(files.qmp), nbd_socket=self.dpu.nbd, slots=8)
        await bus.start(self.lost.put_nowait)
        node = NodeProcess(self._directory / f"{name}-node", files.directory, name, "disk_wait_s = 20")
        await asyncio.to_thread(node.start)
        made = Host(files, bus, node)
        self.hosts.append(made)
        return made

    async def stop(self) -> None:
        for host in self.hosts:
            await asyncio.to_thread(host.node.kill)
            host.files.kill()  # first: what is still written must fail, and not wait for a DPU that is gone, too
        await asyncio.to_thread(_release_all_below, self._directory)
        for host in self.hosts:
            await host.bus.stop()
            host.files.stop()
        self.dpu.kill()
        self.storage.kill()
        await self.block.stop()
        await self.target.stop()

    async def create(self, name: str, size_bytes: int) -> None:
        volume = Volume(volume_id=name, handle=name, size_bytes=size_bytes, export=Export(generation=1, dpu="dpu-1"))
        await self.target.create(volume, None)
        await self.target.open(volume, None)
        self._volumes[name] = volume

    async def connect(self, name: str) -> None:
        """What the DPU does for an attachment, and again after its storage died."""
        address = await self.target.export(self._volumes[name], read_only=False)
        await self.block.connect(name, address, read_only=False)
        await self.block.expose(name, read_only=False)

    async def attach(self, name: str, host: Host, *, slot: int = 0, read_only: bool = False) -> dict[str, str]:
        """Show a volume to a host; what ControllerPublishVolume tells of it."""
        await self.connect(name)
        function = FunctionSeen(
            slot=slot,
            handle=name,
            protocol=DiskProtocol.VIRTIO_BLK,
            serial=name,
            nguid="",
            read_only=read_only,
            boot_order=0,
            present=False,
        )
        await host.bus.plug_disk(function)
        return {"dpupool.io/serial": name, "dpupool.io/slot": str(slot), "dpupool.io/protocol": "virtio-blk"}

    async def detach(self, name: str, host: Host, *, slot: int = 0) -> None:
        await host.bus.unplug_disk(slot, name, timeout_s=10, force=False)
        await self.block.conceal(name)
        await self.block.disconnect(name)

    async def grow(self, name: str, host: Host, size_bytes: int, *, slot: int = 0) -> None:
        """On the storage node, on the DPU, on the bus."""
        self._volumes[name] = replace(self._volumes[name], size_bytes=size_bytes)
        await self.target.resize(self._volumes[name], size_bytes)
        await self.block.grow(name, size_bytes)
        await host.bus.grow_disk(slot, size_bytes)

    async def hear(self, word: str) -> None:
        """Wait until a driver says so."""
        while word not in await asyncio.wait_for(self.lost.get(), 60):
            pass


def _release_all_below(directory: Path) -> None:
    """Mounts and loop devices; the devices are listed first, for they forget their file when it is unmounted."""
    loops = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # somebody else's that ends now
            if backing.read_text(encoding="utf-8").startswith(f"{directory}/"):
                loops.append(Path("/dev", backing.parts[3]))
    libc = ctypes.CDLL(None, use_errno=True)
    for line in reversed(Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()):
        point = line.split()[4]
        if Path(point).is_relative_to(directory):
            libc.umount2(os.fsencode(point), MNT_DETACH)
    for loop in loops:
        with loop.open("rb") as device:
            fcntl.ioctl(device, BLKROSET, struct.pack("i", 0))
            fcntl.ioctl(device, LOOP_CLR_FD)


@asynccontextmanager
async def running() -> AsyncIterator[CsiRig]:
    """A rig without hosts yet; nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as directory:
        made = CsiRig(Path(directory))
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


def write(path: Path, size_bytes: int = 2 * MIB) -> str:
    data = os.urandom(size_bytes)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def checksum(path: Path, size_bytes: int = 2 * MIB) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(size_bytes)).hexdigest()


def use(node: NodeProcess, context: dict[str, str], fs_type: str) -> Path:
    node.stage(VOLUME, context, mounted(fs_type))
    return node.publish(VOLUME, mounted(fs_type))


def leave(node: NodeProcess) -> None:
    node.unpublish(VOLUME)
    node.unstage(VOLUME)
