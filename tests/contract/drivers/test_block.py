"""What the engine believes of every BlockDriver, checked on qemu-storage-daemon, on SPDK and on fakes of both."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.protocols import BlockDriver
from dpu_daemon.model.disk import UNLIMITED, Qos
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.block_rigs import (
    HANDLE,
    MIB,
    BlockRig,
    FakeBlockRig,
    RealBlockRig,
    SpdkBlockRig,
    disk,
    elsewhere,
)
from tests.fakes.spdk_process import PROGRAM

RIGS = [pytest.param("qsd", marks=pytest.mark.real), "fake", "spdk-fake"]
RIGS += [pytest.param("spdk", marks=[pytest.mark.real, pytest.mark.timeout(900)])] if PROGRAM else []


def _rig(kind: str, directory: Path) -> BlockRig:
    match kind:
        case "qsd":
            return RealBlockRig(directory)
        case "fake":
            return FakeBlockRig()
        case _:
            return SpdkBlockRig(directory, real=kind == "spdk")


@pytest.fixture(params=RIGS)
async def rig(request: pytest.FixtureRequest, short_dir: Path) -> AsyncIterator[BlockRig]:
    chosen = _rig(request.param, short_dir)
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
    assert block.width() >= 1


async def test_a_disk_is_seen_as_it_was_asked_for(rig: BlockRig, block: BlockDriver) -> None:
    source = await rig.serve(8 * MIB)
    wanted = disk(source)
    assert await block.put_up(wanted) == 8 * MIB
    (seen,) = (await block.look()).disks.values()
    assert (await block.look(wanted)).disks[HANDLE] == seen
    assert isinstance(seen.source, type(source))
    assert (seen.source.host, seen.source.port, seen.source.export) == (source.host, source.port, source.export)
    assert (seen.handle, seen.size_bytes, seen.read_only, seen.qos) == (HANDLE, 8 * MIB, False, UNLIMITED)
    assert (seen.exposed, seen.whole, seen.encrypted, seen.trouble) == (True, True, False, "")


async def test_what_is_done_already_succeeds_again(rig: BlockRig, block: BlockDriver) -> None:
    wanted = disk(await rig.serve(8 * MIB), qos=Qos(iops=5000))
    for _ in range(2):
        assert await block.put_up(wanted) == 8 * MIB
    for _ in range(2):
        await block.limit(HANDLE, Qos(iops=7000))
    seen = (await block.look()).disks[HANDLE]
    assert (seen.exposed, seen.qos) == (True, Qos(iops=7000))
    for _ in range(2):
        await block.conceal(HANDLE)
    assert not (await block.look()).disks[HANDLE].exposed
    for _ in range(2):
        await block.disconnect(HANDLE)
    assert (await block.look()).disks == {}


async def test_a_disk_that_was_concealed_is_completed(rig: BlockRig, block: BlockDriver) -> None:
    wanted = disk(await rig.serve(8 * MIB))
    await block.put_up(wanted)
    await block.conceal(HANDLE)
    await block.put_up(wanted)
    seen = (await block.look(wanted)).disks[HANDLE]
    assert (seen.exposed, seen.whole) == (True, True)


async def test_a_handle_does_not_change_its_source(rig: BlockRig, block: BlockDriver) -> None:
    await block.put_up(disk(await rig.serve(8 * MIB)))
    other = await rig.serve(8 * MIB)
    with pytest.raises(DpuError) as refused:
        await block.put_up(disk(other))
    assert refused.value.reason is Reason.ALREADY_EXISTS


async def test_an_export_that_is_not_there_yet_may_be_asked_for_again(rig: BlockRig, block: BlockDriver) -> None:
    source = await rig.serve(8 * MIB)
    with pytest.raises(DpuError) as refused:
        await block.put_up(disk(elsewhere(source)))
    assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
    for seen in (await block.look()).disks.values():
        await block.conceal(seen.handle)
        await block.disconnect(seen.handle)
    assert (await block.look()).disks == {}
    assert await block.put_up(disk(source)) == 8 * MIB


async def test_a_read_only_disk_is_seen_as_one(rig: BlockRig, block: BlockDriver) -> None:
    await block.put_up(disk(await rig.serve(8 * MIB), read_only=True))
    assert (await block.look()).disks[HANDLE].read_only


async def test_a_seed_is_a_read_only_disk(rig: BlockRig, block: BlockDriver) -> None:
    seed = rig.seed()
    size_bytes = await block.put_up(disk(seed, read_only=True))
    seen = (await block.look()).disks[HANDLE]
    assert (seen.source, seen.read_only, seen.size_bytes) == (seed, True, size_bytes)


async def test_a_seed_that_is_not_written_is_refused(rig: BlockRig, block: BlockDriver) -> None:
    with pytest.raises(DpuError) as refused:
        await block.put_up(disk(rig.missing_seed(), read_only=True))
    assert refused.value.reason is Reason.INVALID


@pytest.mark.parametrize(
    "qos",
    [
        Qos(iops=100, bytes_per_s=MIB),
        Qos(read_bytes_per_s=MIB, write_bytes_per_s=2 * MIB),
        Qos(iops=100, read_bytes_per_s=MIB + 1),
    ],
)
async def test_limits_read_back_as_the_driver_rounds_them_and_leave_nothing_of_older_ones(
    rig: BlockRig, block: BlockDriver, qos: Qos
) -> None:
    await block.put_up(disk(await rig.serve(8 * MIB)))
    for wanted in (qos, Qos(iops=7), UNLIMITED):
        await block.limit(HANDLE, wanted)
        assert (await block.look()).disks[HANDLE].qos == block.effective(wanted)


@pytest.mark.parametrize(
    "qos", [Qos(iops=1, read_iops=1), Qos(bytes_per_s=1, write_bytes_per_s=1), Qos(iops=-1)], ids=str
)
async def test_impossible_limits_are_refused_and_change_nothing(rig: BlockRig, block: BlockDriver, qos: Qos) -> None:
    await block.put_up(disk(await rig.serve(8 * MIB)))
    with pytest.raises(DpuError) as refused:
        await block.limit(HANDLE, qos)
    assert refused.value.reason is Reason.INVALID
    assert refused.value.field.startswith("qos")
    assert (await block.look()).disks[HANDLE].qos == UNLIMITED


async def test_a_disk_that_is_not_connected_cannot_be_used(block: BlockDriver) -> None:
    for call in (block.limit(HANDLE, UNLIMITED), block.grow(HANDLE, 16 * MIB)):
        with pytest.raises(DpuError) as refused:
            await call
        assert refused.value.reason is Reason.NOT_FOUND


async def test_an_exposed_disk_is_not_torn_from_the_host(rig: BlockRig, block: BlockDriver) -> None:
    await block.put_up(disk(await rig.serve(8 * MIB)))
    with pytest.raises(DpuError) as refused:
        await block.disconnect(HANDLE)
    assert refused.value.reason is Reason.IN_USE
    assert (await block.look()).disks[HANDLE].exposed


async def test_a_disk_grows_with_its_source(rig: BlockRig, block: BlockDriver) -> None:
    source = await rig.serve(8 * MIB)
    wanted = disk(source, qos=Qos(iops=5000))
    await block.put_up(wanted)
    before = (await block.look(wanted)).disks[HANDLE]
    await rig.grow_source(source, 16 * MIB)
    for _ in range(2):
        await block.grow(HANDLE, 16 * MIB)
    assert (await block.look(wanted)).disks[HANDLE] == replace(before, size_bytes=16 * MIB)


async def test_a_disk_does_not_grow_before_its_source(rig: BlockRig, block: BlockDriver) -> None:
    await block.put_up(disk(await rig.serve(8 * MIB)))
    with pytest.raises(DpuError) as refused:
        await block.grow(HANDLE, 16 * MIB)
    assert (refused.value.reason, refused.value.retry) == (Reason.WRONG_STATE, True)
    seen = (await block.look()).disks[HANDLE]
    assert (seen.size_bytes, seen.exposed) == (8 * MIB, True)


async def test_a_disk_does_not_shrink(rig: BlockRig, block: BlockDriver) -> None:
    await block.put_up(disk(await rig.serve(8 * MIB)))
    with pytest.raises(DpuError) as refused:
        await block.grow(HANDLE, 4 * MIB)
    assert refused.value.reason is Reason.INVALID
