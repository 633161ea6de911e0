"""What the engine believes of every TargetDriver's snapshots and clones."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.model.volume import ImageFormat, Member, Snapshot, SnapshotSeen, Volume
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.images import MIB
from tests.contract.drivers.target_rigs import TargetRig, rigs, snapshot_of, volume

SETTLE_S = 60.0


@pytest.fixture(params=rigs())
async def rig(request: pytest.FixtureRequest, short_dir: Path) -> AsyncIterator[TargetRig]:
    chosen: TargetRig = request.param(short_dir)
    try:
        await chosen.start()
        yield chosen
    finally:
        await chosen.stop()


@pytest.fixture
def target(rig: TargetRig) -> TargetDriver:
    return rig.driver


async def _made(target: TargetDriver, want: Volume) -> Volume:
    await target.create(want, None)
    await target.open(want, None)
    return want


async def _seen(target: TargetDriver) -> dict[str, SnapshotSeen]:
    return dict((await target.look()).snapshots)


async def _gone(target: TargetDriver, snapshot: Snapshot) -> None:
    """Drop it, and wait until its content has moved where it is needed."""
    async with asyncio.timeout(SETTLE_S):
        while snapshot.handle in await _seen(target):
            if not (await _seen(target))[snapshot.handle].merging:
                await target.drop(snapshot)
            await asyncio.sleep(0.05)


async def test_a_snapshot_is_cut_once_under_a_running_export(target: TargetDriver) -> None:
    want = await _made(target, volume(generation=1))
    await target.export(want, read_only=False)
    snapshot = snapshot_of(want, 1)
    for _ in range(2):
        await target.cut([Member(volume=want, snapshot=snapshot)])
    seen = await target.look()
    assert seen.snapshots.keys() == {snapshot.handle}
    assert (seen.snapshots[snapshot.handle].size_bytes, seen.snapshots[snapshot.handle].users) == (8 * MIB, 1)
    has = seen.volumes[want.handle]
    assert (has.opened, has.exported, has.size_bytes) == (True, True, 8 * MIB)


async def test_a_volume_that_is_not_there_is_not_cut(target: TargetDriver) -> None:
    want = volume()
    with pytest.raises(DpuError) as refused:
        await target.cut([Member(volume=want, snapshot=snapshot_of(want, 1))])
    assert refused.value.reason is Reason.NOT_FOUND


async def test_a_clone_of_a_snapshot_needs_no_volume_any_more(target: TargetDriver) -> None:
    want, clone = await _made(target, volume()), volume(handle="vclone")
    snapshot = snapshot_of(want, 1)
    await target.cut([Member(volume=want, snapshot=snapshot)])
    for _ in range(2):
        await target.create(clone, snapshot)
    await target.open(clone, None)
    assert (await _seen(target))[snapshot.handle].users == 2
    await target.delete(want)
    seen = await target.look()
    assert seen.volumes.keys() == {clone.handle}
    assert seen.snapshots[snapshot.handle].users == 1
    await _gone(target, snapshot)
    seen = await target.look()
    assert seen.volumes[clone.handle].opened
    await target.delete(clone)
    seen = await target.look()
    assert (seen.volumes, seen.snapshots) == ({}, {})


async def test_a_snapshot_with_two_users_stays(target: TargetDriver) -> None:
    want, clone = await _made(target, volume()), volume(handle="vclone")
    snapshot = snapshot_of(want, 1)
    await target.cut([Member(volume=want, snapshot=snapshot)])
    await target.create(clone, snapshot)
    with pytest.raises(DpuError) as refused:
        await target.drop(snapshot)
    assert refused.value.reason is Reason.IN_USE
    assert snapshot.handle in await _seen(target)
    await target.delete(clone)
    await _gone(target, snapshot)
    assert (await target.look()).volumes[want.handle].opened


async def test_a_clone_smaller_than_its_snapshot_is_refused(target: TargetDriver) -> None:
    want = await _made(target, volume())
    snapshot = snapshot_of(want, 1)
    await target.cut([Member(volume=want, snapshot=snapshot)])
    with pytest.raises(DpuError) as refused:
        await target.create(volume(handle="vclone", size_bytes=4 * MIB), snapshot)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "size_bytes")


async def test_a_volume_grows_after_a_snapshot_which_keeps_its_size(target: TargetDriver) -> None:
    want = await _made(target, volume())
    snapshot = snapshot_of(want, 1)
    await target.cut([Member(volume=want, snapshot=snapshot)])
    await target.resize(want, 16 * MIB)
    seen = await target.look()
    assert (seen.volumes[want.handle].size_bytes, seen.snapshots[snapshot.handle].size_bytes) == (16 * MIB, 8 * MIB)


async def test_a_volume_outlived_by_its_snapshot_does_not_come_back(target: TargetDriver) -> None:
    want = await _made(target, volume())
    snapshots = [snapshot_of(want, 1), snapshot_of(want, 2)]
    for snapshot in snapshots:
        await target.cut([Member(volume=want, snapshot=snapshot)])
    for _ in range(2):
        await target.delete(want)
    seen = await target.look()
    assert not seen.volumes
    assert set(seen.snapshots) == {snapshot.handle for snapshot in snapshots}
    clone = volume(handle="vclone")
    await target.create(clone, snapshots[1])
    await target.open(clone, None)
    await target.delete(clone)
    for snapshot in reversed(snapshots):
        await _gone(target, snapshot)
    assert (await target.look()).snapshots == {}


async def test_a_cut_that_never_began_is_abandoned_and_one_that_happened_is_not(target: TargetDriver) -> None:
    want = await _made(target, volume())
    member = Member(volume=want, snapshot=snapshot_of(want, 1))
    assert await target.abandon([member]) is False
    assert await _seen(target) == {}
    await target.cut([member])
    assert await target.abandon([member]) is True
    assert member.snapshot.handle in await _seen(target)


async def test_a_group_is_cut_at_once_where_that_is_offered(target: TargetDriver) -> None:
    volumes = [await _made(target, volume(handle=f"v{number}")) for number in range(3)]
    members = [Member(volume=each, snapshot=snapshot_of(each, 1)) for each in volumes]
    if target.cuts_groups():
        await target.cut(members)
        assert len(await _seen(target)) == 3
    else:
        with pytest.raises(DpuError) as refused:
            await target.cut(members)
        assert refused.value.reason is Reason.UNSUPPORTED
        assert await _seen(target) == {}


async def test_a_clone_of_an_image_is_snapshot_and_cloned_again(rig: TargetRig, target: TargetDriver) -> None:
    image = rig.image(ImageFormat.RAW)
    want = volume(image=image)
    await target.open_image(image)
    await target.create(want, image)
    await target.open(want, image)
    snapshot = snapshot_of(want, 1)
    await target.cut([Member(volume=want, snapshot=snapshot)])
    clone = replace(volume(handle="vclone"), base_image_id=image.image_id)
    await target.create(clone, snapshot)
    await target.open(clone, image)
    await target.delete(want)
    with pytest.raises(DpuError) as refused:
        await target.close_image(image)
    assert refused.value.reason is Reason.IN_USE
    await target.delete(clone)
    await _gone(target, snapshot)
    await target.close_image(image)
    assert (await target.look()).images == frozenset()
