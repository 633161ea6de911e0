"""The stage for the BlockDriver contract: a storage node beside the driver under test, real or fake."""

import dataclasses
from pathlib import Path
from typing import Any, Protocol

from dpu_daemon.drivers.qsd import QsdBlock, QsdTarget
from dpu_daemon.engine.protocols import BlockDriver
from dpu_daemon.model.disk import Attachment, AttachmentSpec, DiskProtocol, SeedFile, TargetAddress
from dpu_daemon.model.volume import Export, Volume
from tests.contract.drivers.spdk_rigs import SpdkRig, drivers_on
from tests.fakes.drivers import FakeBlock
from tests.fakes.ports import free_port
from tests.fakes.qsd import StorageDaemon
from tests.fakes.world import World

MIB = 1 << 20
HANDLE = "d0123456789ab"


class BlockRig(Protocol):
    @property
    def driver(self) -> BlockDriver: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def serve(self, size_bytes: int) -> TargetAddress:
        """A volume on the storage node, exported."""
        ...

    async def grow_source(self, address: TargetAddress, size_bytes: int) -> None: ...

    def seed(self) -> SeedFile: ...

    def missing_seed(self) -> SeedFile: ...


def disk(
    source: TargetAddress | SeedFile, *, protocol: DiskProtocol = DiskProtocol.VIRTIO_BLK, **spec: Any
) -> Attachment:
    """A disk as the engine asks for it."""
    wanted = AttachmentSpec(
        volume_id="vol-1",
        size_bytes=8 * MIB,
        source=source,
        protocol=protocol,
        serial="SERIAL-1",
        nguid="0" * 31 + "1",
        **spec,
    )
    return Attachment(attachment_id="att-1", generation=1, spec=wanted, handle=HANDLE, slot=1)


class SpdkBlockRig:
    """A DPU's SPDK and a target's, fakes or real."""

    def __init__(self, directory: Path, *, real: bool) -> None:
        self._directory = directory
        self.spdk = SpdkRig(directory, real=real, targets=True)
        self.spdk.rpc, self.driver, self.bus = drivers_on(self.spdk)
        self.lost: list[str] = []

    async def start(self) -> None:
        await self.spdk.start()
        await self.driver.start(self.lost.append)

    async def stop(self) -> None:
        await self.driver.stop()
        await self.spdk.stop()

    async def serve(self, size_bytes: int) -> TargetAddress:
        return await self.spdk.serve(size_bytes)

    async def grow_source(self, address: TargetAddress, size_bytes: int) -> None:
        await self.spdk.grow_source(address, size_bytes)

    def seed(self) -> SeedFile:
        path = self._directory / "seed.iso"
        path.write_bytes(bytes(64 * 1024))
        return SeedFile(path=str(path))

    def missing_seed(self) -> SeedFile:
        return SeedFile(path=str(self._directory / "none.iso"))


class RealBlockRig:
    """Two qemu-storage-daemons."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.node = StorageDaemon(directory, "st")
        self.dpu = StorageDaemon(directory, "dpu")
        self.target = QsdTarget(
            qmp=self.node.qmp,
            nbd_host="127.0.0.1",
            nbd_port=free_port(),
            volume_dir=str(directory / "volumes"),
            image_dir=str(directory / "images"),
        )
        self.driver = QsdBlock(qmp=self.dpu.qmp, nbd_socket=self.dpu.nbd)
        self._volumes: dict[str, Volume] = {}
        self.lost: list[str] = []

    async def start(self) -> None:
        self.node.start()
        self.dpu.start()
        await self.target.start(self.lost.append)
        await self.driver.start(self.lost.append)

    async def stop(self) -> None:
        self.dpu.kill()
        self.node.kill()
        await self.driver.stop()
        await self.target.stop()

    async def serve(self, size_bytes: int) -> TargetAddress:
        number = len(self._volumes) + 1
        volume = Volume(
            volume_id=f"vol-{number}",
            handle=f"v{number}",
            size_bytes=size_bytes,
            export=Export(generation=1, dpu="dpu-1"),
        )
        await self.target.create(volume, None)
        await self.target.open(volume, None)
        address = await self.target.export(volume, read_only=False)
        self._volumes[address.export] = volume
        return address

    async def grow_source(self, address: TargetAddress, size_bytes: int) -> None:
        await self.target.resize(self._volumes[address.export], size_bytes)

    def seed(self) -> SeedFile:
        path = self._directory / "seed.iso"
        path.write_bytes(bytes(64 * 1024))
        return SeedFile(path=str(path))

    def missing_seed(self) -> SeedFile:
        return SeedFile(path=str(self._directory / "none.iso"))


class FakeBlockRig:
    """One World."""

    def __init__(self) -> None:
        self._world = World()
        self.driver = FakeBlock(self._world)

    async def start(self) -> None:
        await self.driver.start(lambda _: None)

    async def stop(self) -> None:
        await self.driver.stop()

    async def serve(self, size_bytes: int) -> TargetAddress:
        export = f"v{len(self._world.state.exports) + 1}-g1"
        self._world.state.exports[export] = size_bytes
        return TargetAddress(transport="nbd+tcp", host="192.0.2.10", port=10809, export=export)

    async def grow_source(self, address: TargetAddress, size_bytes: int) -> None:
        self._world.state.exports[address.export] = size_bytes

    def seed(self) -> SeedFile:
        self._world.state.seed_files["machine"] = {"user-data": ""}
        return SeedFile(path="/seeds/machine")

    def missing_seed(self) -> SeedFile:
        return SeedFile(path="/seeds/none")


def elsewhere(address: TargetAddress) -> TargetAddress:
    """The same storage node, an export that it has not."""
    return dataclasses.replace(address, export=f"{address.export}-none")
