"""Both engines on real storage daemons: a disk from image to host, with each daemon beneath killed on the way."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.drivers.qsd import QsdBlock, QsdTarget
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.intent import AskedDisk
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.sources import Source
from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.model.disk import AttachmentSpec, AttachmentState, DiskProtocol, Qos, TargetAddress
from dpu_daemon.model.volume import Export, ImageFormat
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.drivers import FakeBus
from tests.fakes.ports import free_port
from tests.fakes.qsd import StorageDaemon, qemu_io, unix_url
from tests.fakes.world import World

pytestmark = pytest.mark.real

MIB = 1 << 20
SOON_S = 60.0


class TrustingBus(FakeBus):
    """A host's bus that takes whatever it is told is exported."""

    def exported_bytes(self, handle: str) -> int | None:
        return MIB


class Chain:
    """image <- storage engine <- storage daemon <- TCP <- storage daemon <- DPU engine."""

    def __init__(self, directory: Path) -> None:
        (directory / "images").mkdir()
        (directory / "images" / "a.raw").write_bytes(b"\x41" * (4 * MIB))
        self._directory = directory
        self.node_daemon, self.dpu_daemon = StorageDaemon(directory, "st"), StorageDaemon(directory, "dpu")
        self.world = World()
        self._nbd_port = free_port()

    async def start(self) -> None:
        """Start the engines; the storage daemons live on beneath them."""
        target = QsdTarget(
            qmp=self.node_daemon.qmp,
            nbd_host="127.0.0.1",
            nbd_port=self._nbd_port,
            volume_dir=str(self._directory / "volumes"),
            image_dir=str(self._directory / "images"),
        )
        self.node = await StorageEngine.open(Journal(self._directory / "node.db"), target, FAST)
        block = QsdBlock(qmp=self.dpu_daemon.qmp, nbd_socket=self.dpu_daemon.nbd)
        drivers = replace(fake_drivers(self.world), block=block, bus=TrustingBus(self.world))
        self.dpu = await DpuEngine.open(Journal(self._directory / "dpu.db"), drivers, NETWORK, FAST)
        for engine in (self.node, self.dpu):
            await engine.core.start()
            async with asyncio.timeout(SOON_S):
                await engine.core.audit.converged.wait()

    async def stop(self) -> None:
        await self.dpu.core.stop(5.0)
        await self.node.core.stop(5.0)

    async def serve(self, generation: int = 1) -> TargetAddress:
        """A clone of the image, exported."""
        soon = Deadline.after(SOON_S)
        await self.node.images.register("img-1", "a.raw", ImageFormat.RAW, soon)
        await self.node.volumes.create("vol-1", 8 * MIB, Source(image_id="img-1"), soon)
        return (await self.node.exports.put_up("vol-1", Export(generation=generation, dpu="dpu-1"), soon)).target

    async def attach(self, source: TargetAddress, generation: int = 1) -> str:
        """Returns what the host opens."""
        spec = AttachmentSpec(
            volume_id="vol-1",
            size_bytes=8 * MIB,
            source=source,
            protocol=DiskProtocol.VIRTIO_BLK,
            serial="",
            nguid="",
            qos=Qos(iops=20_000),
        )
        asked = AskedDisk(attachment_id="att-1", generation=generation, spec=spec)
        view = await self.dpu.disks.attach(asked, Deadline.after(SOON_S))
        assert view.state is AttachmentState.ATTACHED, view.message
        return unix_url(self.dpu_daemon, view.record.handle)

    async def until_whole(self) -> None:
        """Wait until both engines have put right what they lost."""
        async with asyncio.timeout(SOON_S):
            while not await self._is_whole():  # noqa: ASYNC110  (what is waited for is in other processes)
                await asyncio.sleep(0.05)

    async def _is_whole(self) -> bool:
        try:
            disk = await self.dpu.disks.reader.view("att-1")
            (volume,) = await self.node.volumes.views("vol-1")
        except DpuError:
            return False
        exported = volume.seen is not None and volume.seen.exported
        return disk.state is AttachmentState.ATTACHED and exported


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    with tempfile.TemporaryDirectory(prefix="dp-") as directory:
        chain = Chain(Path(directory))
        chain.node_daemon.start()
        chain.dpu_daemon.start()
        await chain.start()
        yield chain
        await chain.stop()
        chain.dpu_daemon.kill()
        chain.node_daemon.kill()


async def test_the_hosts_writes_survive_both_storage_daemons(chain: Chain) -> None:
    url = await chain.attach(await chain.serve())
    await asyncio.to_thread(qemu_io, url, "read -P 0x41 0 4M", "write -P 0x77 1M 1M", "flush")
    chain.dpu_daemon.kill()
    chain.dpu_daemon.start()
    await chain.until_whole()
    await asyncio.to_thread(qemu_io, url, "read -P 0x77 1M 1M", "write -P 0x78 2M 1M", "flush")
    chain.node_daemon.kill()
    chain.node_daemon.start()
    await chain.until_whole()
    await asyncio.to_thread(qemu_io, url, "read -P 0x77 1M 1M", "read -P 0x78 2M 1M", "read -P 0x41 0 1M")
    assert set(chain.world.state.plugs.values()) == {1}


async def test_a_restart_of_both_engines_finds_the_disk_in_use_and_touches_nothing(chain: Chain) -> None:
    url = await chain.attach(await chain.serve())
    await chain.stop()
    await asyncio.to_thread(qemu_io, url, "write -P 0x55 0 1M", "flush")
    await chain.start()
    assert await chain.attach(await chain.serve()) == url
    await asyncio.to_thread(qemu_io, url, "read -P 0x55 0 1M")
    assert set(chain.world.state.plugs.values()) == {1}


async def test_a_disk_grows_and_its_limits_change_while_it_is_in_use(chain: Chain) -> None:
    url = await chain.attach(await chain.serve())
    soon = Deadline.after(SOON_S)
    await chain.node.volumes.resize("vol-1", 16 * MIB, soon)
    view = await chain.dpu.disks.resize("att-1", 16 * MIB, soon)
    assert view.record.spec.size_bytes == 16 * MIB
    await chain.dpu.disks.set_qos("att-1", Qos(), soon)
    await asyncio.to_thread(qemu_io, url, "write -P 0x66 15M 1M", "read -P 0x66 15M 1M")


async def test_a_newer_generation_finds_the_bytes_and_the_older_export_is_dead(chain: Chain) -> None:
    first = await chain.serve()
    url = await chain.attach(first)
    await asyncio.to_thread(qemu_io, url, "write -P 0x33 0 1M", "flush")
    await chain.dpu.disks.detach("att-1", 1, Deadline.after(SOON_S), force=False)
    second = await chain.serve(generation=2)
    assert second != first
    with pytest.raises(DpuError) as refused:
        await chain.attach(first, generation=2)
    assert refused.value.reason is Reason.UNAVAILABLE
    assert await chain.attach(second, generation=2) == url
    await asyncio.to_thread(qemu_io, url, "read -P 0x33 0 1M")


async def test_everything_is_gone_after_detach_unexport_and_delete(chain: Chain) -> None:
    await chain.attach(await chain.serve())
    soon = Deadline.after(SOON_S)
    await chain.dpu.disks.detach("att-1", 1, soon, force=False)
    await chain.node.exports.take_away("vol-1", 1, soon)
    await chain.node.volumes.delete("vol-1", soon, shred=True)
    await chain.node.images.unregister("img-1", soon)
    assert await chain.dpu.disks.reader.views() == ()
    assert await chain.node.volumes.views() == ()
    assert (await chain.node.capacity())[0] > 0
