"""The gRPC clients against whole daemons on fake drivers, over loopback."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from coordinator.clients.backends.settings import File
from coordinator.clients.model import DiskSpec, EventSubject, LinkState, PortSpec, SeedSpec
from coordinator.clients.outside import RealOutside
from coordinator.clients.protocols import Backend, Dpu
from coordinator.clients.storage import ExportWish, VolumeWish
from coordinator.core.objects.storage import DiskProtocol, Qos
from coordinator.core.storage.source import Source, SourceKind
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import RunningDaemon, fake_dpu, fake_storage

MIB = 1 << 20
MACHINE = str(uuid4())


@pytest.fixture
async def daemons(tmp_path: Path) -> AsyncIterator[tuple[RunningDaemon, RunningDaemon]]:
    (tmp_path / "dpu").mkdir()
    (tmp_path / "storage").mkdir()
    async with fake_dpu(tmp_path / "dpu") as dpu, fake_storage(tmp_path / "storage", world=dpu.world) as storage:
        yield dpu, storage


@pytest.fixture
async def outside(daemons: tuple[RunningDaemon, RunningDaemon]) -> AsyncIterator[RealOutside]:
    made = RealOutside(None, {"file": File(address=daemons[1].address, server_name="storage")})
    yield made
    await made.close()


@pytest.fixture
def dpu(daemons: tuple[RunningDaemon, RunningDaemon], outside: RealOutside) -> Dpu:
    return outside.dpu("dpu-1", daemons[0].address, "dpu-1")


@pytest.fixture
def target(outside: RealOutside) -> Backend:
    return outside.backend("file")


async def disk_spec(target: Backend, volume: str, generation: int = 1) -> DiskSpec:
    made = await target.create_volume(VolumeWish(volume_id=volume, size_bytes=16 * MIB))
    address = await target.export_volume(ExportWish(volume=volume, dpu="dpu-1", generation=generation))
    digits = volume.replace("-", "")
    return DiskSpec(
        volume_id=made.volume_id,
        size_bytes=made.size_bytes,
        target=address,
        serial=digits[:20],
        nguid=digits,
        boot_order=1,
        machine_id=MACHINE,
    )


async def test_a_volume_is_made_exported_attached_and_taken_away(dpu: Dpu, target: Backend) -> None:
    volume, attachment = str(uuid4()), str(uuid4())
    spec = await disk_spec(target, volume)
    disk = await dpu.attach(attachment, 1, spec)
    assert (disk.state, disk.serial, disk.protocol) == (LinkState.READY, spec.serial, DiskProtocol.VIRTIO_BLK)
    assert await dpu.attach(attachment, 1, spec) == disk
    assert [found.attachment_id for found in await dpu.list_disks()] == [attachment]
    assert (await dpu.set_qos(attachment, Qos(iops=100))).qos.iops == 100
    await target.resize_volume(volume, 32 * MIB)
    assert (await dpu.resize(attachment, 32 * MIB)).size_bytes == 32 * MIB
    assert await dpu.detach(attachment, 1)
    await target.unexport_volume(ExportWish(volume=volume, dpu="dpu-1", generation=1))
    await target.delete_volume(volume, erase=False)
    assert await dpu.list_disks() == []


async def test_a_late_generation_comes_back_as_the_daemons_own_reason(dpu: Dpu, target: Backend) -> None:
    volume = str(uuid4())
    spec = await disk_spec(target, volume, generation=2)
    attachment = str(uuid4())
    await dpu.attach(attachment, 2, spec)
    await dpu.detach(attachment, 2)
    with pytest.raises(DpuError) as caught:
        await dpu.attach(str(uuid4()), 2, spec)
    assert caught.value.reason is Reason.STALE_GENERATION
    assert caught.value.field == "generation"
    assert not caught.value.retry


async def test_a_port_is_plugged_listed_and_unplugged(dpu: Dpu) -> None:
    port = str(uuid4())
    spec = PortSpec(mac="0a:d9:00:00:00:01", addresses=("10.0.0.5/24",), network_id=str(uuid4()), machine_id=MACHINE)
    made = await dpu.plug_port(port, 256, spec)
    assert made.state is LinkState.READY
    assert made.representor.startswith("pf0vf")
    with pytest.raises(DpuError) as caught:
        await dpu.plug_port(port, 256, replace(spec, mac="0a:d9:00:00:00:02"))
    assert (caught.value.reason, caught.value.field) == (Reason.ALREADY_EXISTS, "spec.mac")
    assert [found.machine_id for found in await dpu.list_ports()] == [MACHINE]
    await dpu.unplug_port(port, 256)
    assert await dpu.list_ports() == []


async def test_a_seed_is_put_and_released_with_the_machine(dpu: Dpu) -> None:
    seed = SeedSpec(
        machine_id=MACHINE,
        generation=256,
        user_data="#cloud-config\n{}\n",
        meta_data="instance-id: x\n",
        network_config="version: 2\n",
    )
    await dpu.put_seed(seed)
    with pytest.raises(DpuError) as caught:
        await dpu.put_seed(replace(seed, user_data="#cloud-config\na: 1\n"))
    assert caught.value.reason is Reason.ALREADY_EXISTS
    assert len(await dpu.release_machine(MACHINE, 511)) == 1
    assert await dpu.release_machine(MACHINE, 511) == []


async def test_a_probe_of_an_unknown_port_is_not_found(dpu: Dpu) -> None:
    with pytest.raises(DpuError) as caught:
        async for _ in dpu.wait_answer(str(uuid4()), "10.0.0.5", "10.0.0.250", 1.0):
            pass
    assert caught.value.reason is Reason.NOT_FOUND


async def test_a_daemon_tells_of_itself_and_of_what_happens(dpu: Dpu) -> None:
    info = await dpu.daemon()
    assert info.instance_id
    assert info.nic_slots == 4
    assert (await dpu.usage()).memory_available_bytes > 0
    port = str(uuid4())
    spec = PortSpec(mac="0a:d9:00:00:00:01", addresses=(), network_id=str(uuid4()), machine_id=MACHINE)
    await dpu.plug_port(port, 1, spec)
    async for event in dpu.events(info.event_sequence):
        if event.subject is EventSubject.PORT:
            assert event.id == port
            break


async def test_images_are_registered_once(target: Backend, daemons: tuple[RunningDaemon, RunningDaemon]) -> None:
    daemons[1].world.state.image_files["tiny.img"] = 8 * MIB
    image = str(uuid4())
    assert (await target.import_image(image, "tiny.img", "raw")).size_bytes == 8 * MIB
    wish = VolumeWish(volume_id=str(uuid4()), size_bytes=16 * MIB, source=Source(kind=SourceKind.IMAGE, handle=image))
    clone = await target.create_volume(wish)
    with pytest.raises(DpuError) as caught:
        await target.delete_image(image)
    assert caught.value.reason is Reason.IN_USE
    await target.delete_volume(clone.volume_id, erase=True)
    await target.delete_image(image)


async def test_nobody_there_is_unavailable_and_may_be_tried_again() -> None:
    outside = RealOutside(None, {})
    with pytest.raises(DpuError) as caught:
        await outside.dpu("dpu-9", "127.0.0.1:9", "dpu-9").daemon()
    await outside.close()
    assert caught.value.reason is Reason.UNAVAILABLE
    assert caught.value.retry
    assert "DPU dpu-9" in caught.value.message


async def test_a_backend_that_is_not_configured_names_the_key(outside: RealOutside) -> None:
    with pytest.raises(DpuError) as caught:
        outside.backend("rbd")
    assert caught.value.field == "spec.backend"
    assert "[storage.rbd]" in caught.value.remedy
