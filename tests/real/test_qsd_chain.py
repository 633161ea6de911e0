"""Real bytes from an image through storage node and DPU to the host's side, with processes dying on the way."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.drivers.qsd import QsdBlock, QsdTarget
from dpu_daemon.drivers.qsd import sources as sources_module
from dpu_daemon.model.disk import Qos, TargetAddress
from dpu_daemon.model.volume import Export, Image, ImageFormat, Volume
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.ports import free_port
from tests.fakes.qsd import StorageDaemon, all_lines, next_line, patient_options, qemu_io, start_qemu_io, unix_url

pytestmark = pytest.mark.real

MIB = 1 << 20
DISK = "d0123456789ab"
IMAGE = Image(
    image_id="7f8d53a5-55a8-4f0b-9d8e-5a0f4f6f7c11", source="a.raw", format=ImageFormat.RAW, size_bytes=4 * MIB
)
VOLUME = Volume(
    volume_id="vol-1",
    handle="v0123456789ab",
    size_bytes=8 * MIB,
    source_image_id=IMAGE.image_id,
    export=Export(generation=1, dpu="dpu-1"),
)

OTHER_DISK = "d0123456789ac"
OTHER_VOLUME = replace(VOLUME, volume_id="vol-2", handle="v0123456789ac")


class Chain:
    """image file <- storage node <- TCP <- DPU <- Unix socket <- the host."""

    def __init__(self, directory: Path) -> None:
        (directory / "images").mkdir()
        (directory / "images" / IMAGE.source).write_bytes(b"\x41" * IMAGE.size_bytes)
        self.node = StorageDaemon(directory, "st")
        self.dpu = StorageDaemon(directory, "dpu")
        self.volumes = directory / "volumes"
        self.target = QsdTarget(
            qmp=self.node.qmp,
            nbd_host="127.0.0.1",
            nbd_port=free_port(),
            volume_dir=str(self.volumes),
            image_dir=str(directory / "images"),
        )
        self.block = QsdBlock(qmp=self.dpu.qmp, nbd_socket=self.dpu.nbd)
        self.lost: asyncio.Queue[str] = asyncio.Queue()

    async def start(self) -> None:
        self.node.start()
        self.dpu.start()
        await self.target.start(self.lost.put_nowait)
        await self.block.start(self.lost.put_nowait)

    async def stop(self) -> None:
        self.dpu.kill()
        self.node.kill()
        await self.block.stop()
        await self.target.stop()

    async def serve(self, volume: Volume = VOLUME) -> TargetAddress:
        """What the storage node's engine does; after a restart the same again."""
        await self.target.open_image(IMAGE)
        await self.target.create(volume, IMAGE)
        await self.target.open(volume, IMAGE)
        return await self.target.export(volume, read_only=False)

    async def attach(self, source: TargetAddress) -> str:
        """What the DPU's engine does; returns what the host opens."""
        await self.block.connect(DISK, source, read_only=False)
        await self.block.limit(DISK, Qos(iops=20_000))
        await self.block.expose(DISK, read_only=False)
        return unix_url(self.dpu, DISK)

    async def detach(self) -> None:
        await self.block.conceal(DISK)
        await self.block.disconnect(DISK)

    async def restart(self, daemon: StorageDaemon) -> None:
        """kill -9, start, and wait until the driver has found it again."""
        daemon.kill()
        daemon.start()
        while "again" not in await asyncio.wait_for(self.lost.get(), 60):
            pass


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        made = Chain(Path(name))
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


async def test_the_host_reads_the_image_and_keeps_what_it_writes(chain: Chain) -> None:
    url = await chain.attach(await chain.serve())
    qemu_io(url, "read -P 0x41 0 4M", "read -P 0 4M 4M", "write -P 7 1M 64k")
    await chain.detach()
    second = replace(VOLUME, export=Export(generation=2, dpu="dpu-2"))
    url = await chain.attach(await chain.target.export(second, read_only=False))
    qemu_io(url, "read -P 7 1M 64k", "read -P 0x41 2M 2M")
    assert (chain.volumes.parent / "images" / IMAGE.source).read_bytes() == b"\x41" * IMAGE.size_bytes


async def test_a_killed_storage_node_loses_no_acknowledged_write_and_the_host_sees_no_error(chain: Chain) -> None:
    source = await chain.serve()
    await chain.attach(source)
    host = start_qemu_io(
        patient_options(chain.dpu, DISK), "write -P 1 0 2M", "sleep 600", "write -P 2 2M 2M", "read -P 1 0 2M"
    )
    assert "wrote 2097152/2097152" in await asyncio.to_thread(next_line, host)
    await chain.restart(chain.node)
    assert await chain.serve() == source
    said = await asyncio.to_thread(all_lines, host)
    assert host.returncode == 0
    assert said.count("wrote 2097152/2097152") == 1
    qemu_io(unix_url(chain.dpu, DISK), "read -P 1 0 2M", "read -P 2 2M 2M", "read -P 0 4M 4M")


async def test_a_killed_block_layer_comes_back_under_the_running_host(chain: Chain) -> None:
    source = await chain.serve()
    await chain.attach(source)
    host = start_qemu_io(
        patient_options(chain.dpu, DISK), "write -P 1 0 2M", "sleep 600", "write -P 2 2M 2M", "read -P 1 0 2M"
    )
    assert "wrote 2097152/2097152" in await asyncio.to_thread(next_line, host)
    await chain.restart(chain.dpu)
    assert (await chain.block.look()).disks == {}
    await chain.attach(source)
    said = await asyncio.to_thread(all_lines, host)
    assert host.returncode == 0, said
    assert (await chain.block.look()).disks[DISK].qos == Qos(iops=20_000)
    qemu_io(unix_url(chain.dpu, DISK), "read -P 1 0 2M", "read -P 2 2M 2M")


async def test_a_write_without_a_flush_survives_a_killed_storage_node(chain: Chain) -> None:
    source = await chain.serve()
    url = f"nbd://{source.host}:{source.port}/{source.export}"
    writer = start_qemu_io(url, "write -P 5 0 2M", "sleep 30000")
    assert "wrote 2097152/2097152" in await asyncio.to_thread(next_line, writer)
    chain.node.kill()
    writer.kill()
    writer.communicate()
    await chain.restart(chain.node)
    await chain.serve()
    qemu_io(url, "read -P 5 0 2M", read_only=True)


async def test_a_cut_off_generation_finds_nothing_when_it_reconnects(chain: Chain) -> None:
    url = await chain.attach(await chain.serve())
    qemu_io(url, "write -P 1 0 64k")
    second = replace(VOLUME, export=Export(generation=2, dpu="dpu-2"))
    fresh = await chain.target.export(second, read_only=False)
    late = start_qemu_io(patient_options(chain.dpu, DISK), "write -P 9 0 64k")
    qemu_io(f"nbd://{fresh.host}:{fresh.port}/{fresh.export}", "read -P 1 0 64k", "write -P 2 0 64k")
    await asyncio.sleep(0.5)
    late.kill()
    late.communicate()
    qemu_io(f"nbd://{fresh.host}:{fresh.port}/{fresh.export}", "read -P 2 0 64k")


async def test_a_disk_grows_while_the_host_writes_to_it(chain: Chain) -> None:
    await chain.attach(await chain.serve())
    writes = [f"write -P {number} {number * 64}k 64k" for number in range(1, 60)]
    host = start_qemu_io(patient_options(chain.dpu, DISK), *[word for each in writes for word in (each, "sleep 10")])
    await asyncio.sleep(0.15)
    await chain.target.resize(VOLUME, 16 * MIB)
    await chain.block.grow(DISK, 16 * MIB)
    said, _ = await asyncio.to_thread(host.communicate, timeout=30)
    assert (host.returncode, said.count("wrote")) == (0, len(writes)), said
    url = unix_url(chain.dpu, DISK)
    qemu_io(url, *(each.replace("write", "read") for each in writes), "write -P 3 15M 1M", "read -P 3 15M 1M")


async def test_a_dead_target_delays_only_its_own_disk(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "RECONNECT_DELAY_S", 3)
    url = await chain.attach(await chain.serve())
    qemu_io(url, "write -P 1 0 64k")
    chain.node.kill()
    await chain.block.conceal(DISK)
    removal = asyncio.create_task(chain.block.disconnect(DISK))
    await asyncio.sleep(0.2)
    assert not removal.done()
    assert DISK in (await chain.block.look()).disks
    await removal
    assert (await chain.block.look()).disks == {}


@pytest.mark.parametrize("busy", [False, True])
async def test_removing_a_fenced_disk_stops_neither_the_monitor_nor_another_disk(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr(sources_module, "RECONNECT_DELAY_S", 30)
    qemu_io(await chain.attach(await chain.serve()), "write -P 1 0 64k")
    source = await chain.serve(OTHER_VOLUME)
    await chain.block.connect(OTHER_DISK, source, read_only=False)
    await chain.block.expose(OTHER_DISK, read_only=False)
    host = start_qemu_io(patient_options(chain.dpu, DISK), "read -P 1 0 64k", "sleep 400", "write -P 2 0 64k")
    assert "read 65536/65536" in await asyncio.to_thread(next_line, host)
    if not busy:
        host.kill()
    await chain.target.unexport(VOLUME)
    removal = asyncio.create_task(removed(chain))
    await chain.block._session.execute("query-named-block-nodes", {"flat": True}, timeout_s=10.0)
    await asyncio.wait_for(asyncio.to_thread(qemu_io, unix_url(chain.dpu, OTHER_DISK), "write -P 3 0 64k"), 15)
    await asyncio.wait_for(chain.block.disconnect("d0123456789ad"), 10)
    await asyncio.wait_for(removal, 15)
    assert set((await chain.block.look()).disks) == {OTHER_DISK}
    host.kill()
    host.communicate()


async def removed(chain: Chain) -> None:
    """Repeats a detach until it succeeds, as the engine does."""
    while True:
        try:
            await chain.detach()
        except DpuError as error:
            if error.reason is not Reason.UNAVAILABLE:
                raise
        else:
            return


async def test_each_loss_and_return_of_a_daemon_is_told_and_calls_meanwhile_fail_at_once(chain: Chain) -> None:
    chain.dpu.kill()
    assert "went away" in await asyncio.wait_for(chain.lost.get(), 60)
    with pytest.raises(DpuError) as refused:
        await chain.block.look()
    assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
    chain.dpu.start()
    assert "again" in await asyncio.wait_for(chain.lost.get(), 60)
    assert (await chain.block.look()).disks == {}


async def test_a_frozen_daemon_is_given_up_and_found_again_when_it_thaws(chain: Chain) -> None:
    session = chain.block._session
    chain.dpu.send_signal(signal.SIGSTOP)
    with pytest.raises(DpuError) as refused:
        await session.execute("query-version", timeout_s=0.3)
    assert refused.value.reason is Reason.UNAVAILABLE
    assert "went away" in await asyncio.wait_for(chain.lost.get(), 60)
    chain.dpu.send_signal(signal.SIGCONT)
    assert "again" in await asyncio.wait_for(chain.lost.get(), 60)
    assert (await chain.block.look()).disks == {}


async def test_a_disk_whose_making_was_cut_short_can_only_be_made_anew(chain: Chain) -> None:
    source = await chain.serve()
    await chain.attach(source)
    await chain.block.conceal(DISK)
    await chain.block._session.execute("blockdev-del", {"node-name": f"{DISK}.top"})
    assert (await chain.block.look()).disks[DISK].source not in (None, source)
    await chain.attach(source)
    assert (await chain.block.look()).disks[DISK].source == source
