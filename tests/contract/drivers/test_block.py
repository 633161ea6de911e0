"""What the engine believes of every BlockDriver, checked on qemu-storage-daemon and on the fake."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpu_daemon.engine.protocols import BlockDriver
from dpu_daemon.model.disk import UNLIMITED, DiskProtocol, DiskSeen, Qos
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.block_rigs import MIB, BlockRig, FakeBlockRig, RealBlockRig, elsewhere

HANDLE = "d0123456789ab"


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.real), "fake"])
async def rig(request: pytest.FixtureRequest, short_dir: Path) -> AsyncIterator[BlockRig]:
    chosen: BlockRig = RealBlockRig(short_dir) if request.param == "real" else FakeBlockRig()
    try:
        await chosen.start()
        yield chosen
    finally:
        await chosen.stop()


@pytest.fixture
def block(rig: BlockRig) -> BlockDriver:
    return rig.driver


async def test_nothing_is_there_at_first(block: BlockDriver) -> None:
    assert (await block.look()).disks == {}
    assert block.version()
    assert block.default_protocol() is DiskProtocol.VIRTIO_BLK


async def test_a_connected_disk_is_seen_as_it_was_asked_for(rig: BlockRig, block: BlockDriver) -> None:
    source = await rig.serve(8 * MIB)
    assert await block.connect(HANDLE, source, read_only=False) == 8 * MIB
    assert (await block.look()).disks == {
        HANDLE: DiskSeen(
            handle=HANDLE, source=source, size_bytes=8 * MIB, read_only=False, qos=UNLIMITED, exposed=False
        )
    }


async def test_what_is_done_already_succeeds_again(rig: BlockRig, block: BlockDriver) -> None:
    source = await rig.serve(8 * MIB)
    for _ in range(2):
        assert await block.connect(HANDLE, source, read_only=False) == 8 * MIB
    for _ in range(2):
        await block.limit(HANDLE, Qos(iops=500))
    for _ in range(2):
        await block.expose(HANDLE, read_only=False)
    disk = (await block.look()).disks[HANDLE]
    assert (disk.exposed, disk.qos) == (True, Qos(iops=500))
    for _ in range(2):
        await block.conceal(HANDLE)
    for _ in range(2):
        await block.disconnect(HANDLE)
    assert (await block.look()).disks == {}


async def test_a_handle_does_not_change_its_source(rig: BlockRig, block: BlockDriver) -> None:
    await block.connect(HANDLE, await rig.serve(8 * MIB), read_only=False)
    other = await rig.serve(8 * MIB)
    with pytest.raises(DpuError) as refused:
        await block.connect(HANDLE, other, read_only=False)
    assert refused.value.reason is Reason.ALREADY_EXISTS


async def test_an_export_that_is_not_there_yet_may_be_asked_for_again(rig: BlockRig, block: BlockDriver) -> None:
    source = await rig.serve(8 * MIB)
    with pytest.raises(DpuError) as refused:
        await block.connect(HANDLE, elsewhere(source), read_only=False)
    assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
    assert (await block.look()).disks == {}
    assert await block.connect(HANDLE, source, read_only=False) == 8 * MIB


async def test_a_read_only_disk_stays_read_only(rig: BlockRig, block: BlockDriver) -> None:
    await block.connect(HANDLE, await rig.serve(8 * MIB), read_only=True)
    assert (await block.look()).disks[HANDLE].read_only
    with pytest.raises(DpuError) as refused:
        await block.expose(HANDLE, read_only=False)
    assert refused.value.reason is Reason.INVALID
    await block.expose(HANDLE, read_only=True)
    assert (await block.look()).disks[HANDLE].exposed


async def test_a_seed_is_a_read_only_disk(rig: BlockRig, block: BlockDriver) -> None:
    seed = rig.seed()
    size_bytes = await block.connect(HANDLE, seed, read_only=True)
    disk = (await block.look()).disks[HANDLE]
    assert (disk.source, disk.read_only, disk.size_bytes) == (seed, True, size_bytes)


async def test_a_seed_that_is_not_written_is_refused(rig: BlockRig, block: BlockDriver) -> None:
    with pytest.raises(DpuError) as refused:
        await block.connect(HANDLE, rig.missing_seed(), read_only=True)
    assert refused.value.reason is Reason.INVALID
    assert (await block.look()).disks == {}


@pytest.mark.parametrize(
    "qos",
    [
        Qos(iops=100, bytes_per_s=MIB),
        Qos(read_iops=10, write_iops=20, read_bytes_per_s=MIB, write_bytes_per_s=2 * MIB),
        Qos(iops=100, read_bytes_per_s=MIB),
    ],
)
async def test_limits_read_back_as_set_and_leave_nothing_of_older_ones(
    rig: BlockRig, block: BlockDriver, qos: Qos
) -> None:
    await block.connect(HANDLE, await rig.serve(8 * MIB), read_only=False)
    await block.limit(HANDLE, qos)
    assert (await block.look()).disks[HANDLE].qos == qos
    await block.limit(HANDLE, Qos(iops=7))
    assert (await block.look()).disks[HANDLE].qos == Qos(iops=7)
    await block.limit(HANDLE, UNLIMITED)
    assert (await block.look()).disks[HANDLE].qos == UNLIMITED


@pytest.mark.parametrize(
    "qos", [Qos(iops=1, read_iops=1), Qos(bytes_per_s=1, write_bytes_per_s=1), Qos(iops=-1)], ids=str
)
async def test_impossible_limits_are_refused_and_change_nothing(rig: BlockRig, block: BlockDriver, qos: Qos) -> None:
    await block.connect(HANDLE, await rig.serve(8 * MIB), read_only=False)
    with pytest.raises(DpuError) as refused:
        await block.limit(HANDLE, qos)
    assert refused.value.reason is Reason.INVALID
    assert refused.value.field.startswith("qos")
    assert (await block.look()).disks[HANDLE].qos == UNLIMITED


async def test_a_disk_that_is_not_connected_cannot_be_used(block: BlockDriver) -> None:
    for call in (
        block.limit(HANDLE, UNLIMITED),
        block.expose(HANDLE, read_only=False),
        block.grow(HANDLE, 16 * MIB),
    ):
        with pytest.raises(DpuError) as refused:
            await call
        assert refused.value.reason is Reason.NOT_FOUND


async def test_an_exposed_disk_is_not_torn_from_the_host(rig: BlockRig, block: BlockDriver) -> None:
    await block.connect(HANDLE, await rig.serve(8 * MIB), read_only=False)
    await block.expose(HANDLE, read_only=False)
    with pytest.raises(DpuError) as refused:
        await block.disconnect(HANDLE)
    assert refused.value.reason is Reason.IN_USE
    assert (await block.look()).disks[HANDLE].exposed


@pytest.mark.parametrize("exposed", [True, False])
async def test_a_disk_grows_with_its_source(rig: BlockRig, block: BlockDriver, exposed: bool) -> None:
    source = await rig.serve(8 * MIB)
    await block.connect(HANDLE, source, read_only=False)
    await block.limit(HANDLE, Qos(iops=5000))
    if exposed:
        await block.expose(HANDLE, read_only=False)
    await rig.grow_source(source, 16 * MIB)
    for _ in range(2):
        await block.grow(HANDLE, 16 * MIB)
    disk = (await block.look()).disks[HANDLE]
    assert (disk.size_bytes, disk.exposed, disk.qos, disk.source) == (16 * MIB, exposed, Qos(iops=5000), source)


async def test_a_disk_does_not_grow_before_its_source(rig: BlockRig, block: BlockDriver) -> None:
    await block.connect(HANDLE, await rig.serve(8 * MIB), read_only=False)
    await block.expose(HANDLE, read_only=False)
    with pytest.raises(DpuError) as refused:
        await block.grow(HANDLE, 16 * MIB)
    assert (refused.value.reason, refused.value.retry) == (Reason.WRONG_STATE, True)
    disk = (await block.look()).disks[HANDLE]
    assert (disk.size_bytes, disk.exposed) == (8 * MIB, True)


async def test_a_disk_does_not_shrink(rig: BlockRig, block: BlockDriver) -> None:
    await block.connect(HANDLE, await rig.serve(8 * MIB), read_only=False)
    with pytest.raises(DpuError) as refused:
        await block.grow(HANDLE, 4 * MIB)
    assert refused.value.reason is Reason.INVALID
