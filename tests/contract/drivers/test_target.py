"""What the engine believes of every TargetDriver, checked on qemu-storage-daemon and on the fake."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.model.volume import ImageFormat, Volume
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.images import IMAGE_BYTES, IMAGE_ID, MIB
from tests.contract.drivers.target_rigs import TargetRig, rigs, volume


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


async def test_nothing_is_there_at_first(target: TargetDriver) -> None:
    seen = await target.look()
    assert (seen.volumes, seen.images) == ({}, frozenset())
    total_bytes, available_bytes = await target.capacity()
    assert total_bytes >= available_bytes > 0
    assert target.version()


@pytest.mark.parametrize("image_format", ImageFormat)
async def test_an_image_opens_once_and_closes(rig: TargetRig, target: TargetDriver, image_format: ImageFormat) -> None:
    image = rig.image(image_format)
    if image_format not in rig.formats:
        with pytest.raises(DpuError) as refused:
            await target.open_image(image)
        assert (refused.value.reason, refused.value.field) == (Reason.UNSUPPORTED, "format")
        return
    assert await target.inspect_image(image.source, image_format) == IMAGE_BYTES
    for _ in range(2):
        await target.open_image(image)
    assert (await target.look()).images == {IMAGE_ID}
    for _ in range(2):
        await target.close_image(image)
    assert (await target.look()).images == frozenset()


async def test_an_image_that_is_not_there_is_refused(target: TargetDriver) -> None:
    with pytest.raises(DpuError) as refused:
        await target.inspect_image("none.raw", ImageFormat.RAW)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "source")
    assert refused.value.remedy


@pytest.mark.parametrize("image_format", ImageFormat)
async def test_a_clone_is_made_opened_and_deleted(
    rig: TargetRig, target: TargetDriver, image_format: ImageFormat
) -> None:
    image = rig.image(image_format if image_format in rig.formats else ImageFormat.RAW)
    want = volume(image=image)
    await target.open_image(image)
    for _ in range(2):
        await target.create(want, image)
    made = (await target.look()).volumes[want.handle]
    assert (made.file_exists, made.exported, made.size_bytes) == (True, False, 8 * MIB)
    assert made.opened is not rig.opens_apart
    for _ in range(2):
        await target.open(want, image)
    assert (await target.look()).volumes[want.handle].opened
    for _ in range(2):
        await target.delete(want)
    assert (await target.look()).volumes == {}
    await target.close_image(image)


async def test_a_clone_uses_little_space(rig: TargetRig, target: TargetDriver) -> None:
    image = rig.image(ImageFormat.RAW)
    want = volume(image=image, size_bytes=64 << 30)
    await target.open_image(image)
    await target.create(want, image)
    assert 0 <= (await target.look()).volumes[want.handle].allocated_bytes < MIB


async def test_a_volume_smaller_than_its_image_is_refused(rig: TargetRig, target: TargetDriver) -> None:
    image = rig.image(ImageFormat.RAW)
    await target.open_image(image)
    with pytest.raises(DpuError) as refused:
        await target.create(volume(image=image, size_bytes=MIB), image)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "size_bytes")
    assert (await target.look()).volumes == {}


async def test_an_image_with_an_open_clone_stays_open(rig: TargetRig, target: TargetDriver) -> None:
    image = rig.image(ImageFormat.RAW)
    want = volume(image=image)
    await target.open_image(image)
    await target.create(want, image)
    await target.open(want, image)
    with pytest.raises(DpuError) as refused:
        await target.close_image(image)
    assert refused.value.reason is Reason.IN_USE
    assert (await target.look()).images == {IMAGE_ID}


async def test_a_clone_does_not_open_without_its_image(rig: TargetRig, target: TargetDriver) -> None:
    image = rig.image(ImageFormat.RAW)
    want = volume(image=image)
    await target.open_image(image)
    await target.create(want, image)
    if not rig.opens_apart:
        with pytest.raises(DpuError) as refused:
            await target.close_image(image)
        assert refused.value.reason is Reason.IN_USE
        return
    await target.close_image(image)
    with pytest.raises(DpuError) as refused:
        await target.open(want, image)
    assert (refused.value.reason, refused.value.retry) == (Reason.WRONG_STATE, True)
    await target.open_image(image)
    await target.open(want, image)


async def test_a_volume_without_a_file_is_never_opened(target: TargetDriver) -> None:
    with pytest.raises(DpuError) as refused:
        await target.open(volume(), None)
    assert refused.value.reason is Reason.NOT_FOUND


async def _exported(target: TargetDriver, want: Volume) -> str:
    await target.create(want, None)
    await target.open(want, None)
    return (await target.export(want, read_only=False)).export


async def test_an_export_is_reached_under_one_name_until_it_is_cut_off(target: TargetDriver) -> None:
    want = volume(generation=1)
    name = await _exported(target, want)
    assert (await target.export(want, read_only=False)).export == name
    seen = (await target.look()).volumes[want.handle]
    assert (seen.exported, seen.export_read_only) == (True, False)
    for _ in range(2):
        await target.unexport(want)
    assert not (await target.look()).volumes[want.handle].exported


async def test_each_generation_has_a_name_of_its_own(target: TargetDriver) -> None:
    first = await _exported(target, volume(generation=1))
    await target.unexport(volume(generation=1))
    second = (await target.export(volume(generation=2), read_only=False)).export
    assert first != second


async def test_a_read_only_export_is_seen_as_such(target: TargetDriver) -> None:
    want = volume(generation=1, read_only=True)
    await target.create(want, None)
    await target.open(want, None)
    await target.export(want, read_only=True)
    assert (await target.look()).volumes[want.handle].export_read_only


async def test_an_unopened_volume_is_not_exported(rig: TargetRig, target: TargetDriver) -> None:
    want = volume(generation=1)
    if rig.opens_apart:
        await target.create(want, None)
    with pytest.raises(DpuError) as refused:
        await target.export(want, read_only=False)
    assert refused.value.reason is Reason.NOT_FOUND


@pytest.mark.parametrize("generation", [0, 3])
async def test_a_volume_grows_and_keeps_its_export(target: TargetDriver, generation: int) -> None:
    want = volume(generation=generation)
    await target.create(want, None)
    await target.open(want, None)
    if generation:
        await target.export(want, read_only=False)
    for _ in range(2):
        await target.resize(want, 16 * MIB)
    seen = (await target.look()).volumes[want.handle]
    assert (seen.size_bytes, seen.exported) == (16 * MIB, bool(generation))


async def test_a_volume_does_not_shrink(target: TargetDriver) -> None:
    want = volume()
    await target.create(want, None)
    await target.open(want, None)
    with pytest.raises(DpuError) as refused:
        await target.resize(want, 4 * MIB)
    assert refused.value.reason is Reason.INVALID


@pytest.mark.parametrize("shred", [False, True])
async def test_deleting_takes_export_and_file_along(target: TargetDriver, shred: bool) -> None:
    want = replace(volume(generation=1), shred=shred)
    await _exported(target, want)
    await target.delete(want)
    assert (await target.look()).volumes == {}
    await target.delete(want)
