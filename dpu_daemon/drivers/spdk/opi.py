"""The block layer of the OPI services on SPDK."""

from collections.abc import Sequence

from dpu_daemon.drivers.spdk.emulation import Emulation
from dpu_daemon.drivers.spdk.opi_fronts import OpiFronts
from dpu_daemon.drivers.spdk.opi_look import opi_look
from dpu_daemon.drivers.spdk.opi_remotes import OpiRemotes
from dpu_daemon.drivers.spdk.opi_volumes import OpiVolumes
from dpu_daemon.drivers.spdk.remote import KeyFiles
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import DiskStats
from dpu_daemon.model.opi import (
    BackVolume,
    EncryptedVolume,
    Limits,
    Namespace,
    RemoteController,
    RemotePath,
    Subsystem,
    VirtioBlk,
)
from dpu_daemon.model.opi_seen import Listener, OpiSeen


class SpdkOpi:
    """An OpiDriver.

    Args:
        rpc: the SPDK process; shared with the drivers of attachments.
        emulation: makes PCIe functions of fronts; shared as well.
        keys: secrets.
    """

    def __init__(self, rpc: SpdkRpc, *, emulation: Emulation, keys: KeyFiles) -> None:
        self._rpc = rpc
        self._emulation = emulation
        self._volumes = OpiVolumes(rpc, keys)
        self._remotes = OpiRemotes(rpc, keys)
        self._fronts = OpiFronts(rpc, emulation, self._remotes)

    async def start(self, lost: Lost) -> None:
        await self._rpc.start(lost)

    async def stop(self) -> None:
        await self._rpc.stop()

    def version(self) -> str:
        return self._rpc.version()

    async def look(self) -> OpiSeen:
        return await opi_look(self._rpc, self._emulation)

    async def make_volume(self, handle: str, volume: BackVolume) -> None:
        await self._volumes.make(handle, volume)

    async def grow_volume(self, handle: str, volume: BackVolume) -> None:
        await self._volumes.grow(handle, volume)

    async def remove_volume(self, handle: str, volume: BackVolume) -> None:
        await self._volumes.remove(handle, volume)

    async def connect_path(self, handle: str, controller: RemoteController, path: RemotePath) -> None:
        await self._remotes.connect(handle, controller, path)

    async def disconnect_path(self, handle: str, path: RemotePath) -> None:
        await self._remotes.disconnect(handle, path)

    async def reset_remote(self, handle: str) -> None:
        await self._remotes.reset(handle)

    async def encrypt(self, handle: str, base: str, volume: EncryptedVolume) -> None:
        await self._volumes.encrypt(handle, base, volume)

    async def decrypt(self, handle: str) -> None:
        await self._volumes.decrypt(handle)

    async def limit(self, bdev: str, limits: Limits) -> None:
        await self._volumes.limit(bdev, limits)

    async def make_subsystem(self, subsystem: Subsystem) -> None:
        await self._fronts.make_subsystem(subsystem)

    async def remove_subsystem(self, nqn: str) -> None:
        await self._fronts.remove_subsystem(nqn)

    async def admit_host(self, subsystem: Subsystem, host: str) -> None:
        await self._fronts.admit_host(subsystem, host)

    async def expel_host(self, nqn: str, host: str) -> None:
        await self._fronts.expel_host(nqn, host)

    async def listen(self, subsystem: Subsystem, listener: Listener) -> None:
        await self._fronts.listen(subsystem, listener)

    async def stop_listening(self, nqn: str, listener: Listener) -> None:
        await self._fronts.stop_listening(nqn, listener)

    async def add_namespace(self, nqn: str, bdev: str, namespace: Namespace) -> None:
        await self._fronts.add_namespace(nqn, bdev, namespace)

    async def remove_namespace(self, nqn: str, nsid: int) -> None:
        await self._fronts.remove_namespace(nqn, nsid)

    async def make_virtio_blk(self, handle: str, disk: VirtioBlk, bdev: str) -> None:
        await self._fronts.make_virtio_blk(handle, disk, bdev)

    async def remove_virtio_blk(self, handle: str) -> None:
        await self._fronts.remove_virtio_blk(handle)

    async def stats(self, bdevs: Sequence[str]) -> DiskStats:
        return await self._volumes.stats(bdevs)
