"""What the controllers rely on, for every driver; what a backend cannot do it refuses, and nothing has changed."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from coordinator.clients.backends.node import NodeBackend
from coordinator.clients.backends.nvmeof import NvmeOfBackend
from coordinator.clients.backends.rbd import RbdBackend
from coordinator.clients.storage import ExportWish, SnapshotWish, VolumeInfo, VolumeWish
from coordinator.core.storage.abilities import Ability
from coordinator.core.storage.source import Source, SourceKind
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.backends.rigs import IMAGE, MIB, MakeRig, Rig, new_id, rigs

NQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"


@pytest.fixture(params=rigs())
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    make: MakeRig = request.param
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as directory:
        async with make(Path(directory)) as found:
            yield found


async def able(rig: Rig, *needed: Ability) -> bool:
    return set(needed) <= (await rig.backend.traits()).abilities


def wish(rig: Rig, number: int = 0, size_bytes: int = 64 * MIB, source: Source | None = None) -> VolumeWish:
    """A wish for the volume of a number, the same each time for one rig."""
    parameters = {"namespace": rig.namespaces[number]} if rig.namespaces else {}
    return VolumeWish(
        volume_id=f"00000000-0000-4000-8000-{number:012d}",
        size_bytes=size_bytes,
        source=source,
        parameters=parameters,
    )


async def make(rig: Rig, number: int = 0, **asked: Any) -> VolumeInfo:
    return await rig.backend.create_volume(wish(rig, number, **asked))


async def reason_of(awaitable: Any) -> Reason:
    with pytest.raises(DpuError) as told:
        await awaitable
    assert told.value.message
    return told.value.reason


@asynccontextmanager
async def refuses_without(rig: Rig, *needed: Ability) -> AsyncIterator[bool]:
    """The body for backends that can; the rest must say UNSUPPORTED in it, and have the same volumes afterwards."""
    if await able(rig, *needed):
        yield True
        return
    before = {one.volume_id for one in await rig.backend.list_volumes()}
    with pytest.raises(DpuError) as told:
        yield False
    assert told.value.reason is Reason.UNSUPPORTED
    assert told.value.remedy
    assert {one.volume_id for one in await rig.backend.list_volumes()} == before


async def test_a_volume_is_made_once_however_often_it_is_asked_for(rig: Rig) -> None:
    first, second = await make(rig), await make(rig)
    assert (first.volume_id, first.size_bytes) == (second.volume_id, 64 * MIB)
    assert first.volume_id in {one.volume_id for one in await rig.backend.list_volumes()}
    third = await rig.again().create_volume(wish(rig))
    assert (third.volume_id, third.context) == (first.volume_id, first.context)


async def test_an_id_belongs_to_one_volume(rig: Rig) -> None:
    await make(rig)
    if rig.namespaces:
        other = VolumeWish(volume_id=new_id(), size_bytes=64 * MIB, parameters=wish(rig).parameters)
        assert await reason_of(rig.backend.create_volume(other)) is Reason.IN_USE
    else:
        assert await reason_of(make(rig, size_bytes=128 * MIB)) is Reason.ALREADY_EXISTS


async def test_a_volume_goes_once_however_often_it_is_asked_to(rig: Rig) -> None:
    made = await make(rig)
    async with refuses_without(rig, Ability.DELETE):
        for _ in range(2):
            await rig.backend.delete_volume(made.volume_id, erase=False)
        assert made.volume_id not in {one.volume_id for one in await rig.backend.list_volumes()}


async def test_a_volume_that_never_was_goes_without_a_word(rig: Rig) -> None:
    await rig.backend.delete_volume(new_id(), erase=False)


async def test_bytes_are_overwritten_or_the_wish_is_refused(rig: Rig) -> None:
    made = await make(rig)
    async with refuses_without(rig, Ability.ERASE):
        await rig.backend.delete_volume(made.volume_id, erase=True)
        assert made.volume_id not in {one.volume_id for one in await rig.backend.list_volumes()}


async def test_a_volume_whose_making_was_not_heard_of_is_found(rig: Rig) -> None:
    made = await make(rig)
    backend = rig.backend if rig.namespaces else rig.again()
    assert await backend.find_volume(wish(rig)) == made.volume_id


async def test_a_volume_grows_and_does_not_shrink(rig: Rig) -> None:
    made = await make(rig)
    async with refuses_without(rig, Ability.RESIZE):
        for _ in range(2):
            assert (await rig.backend.resize_volume(made.volume_id, 128 * MIB)).size_bytes == 128 * MIB
    if await able(rig, Ability.RESIZE):
        try:
            kept = await rig.backend.resize_volume(made.volume_id, 32 * MIB)
        except DpuError as error:
            final = error.reason is Reason.INVALID and not error.retry
        else:
            final = kept.size_bytes == 128 * MIB
        assert final


async def test_a_snapshot_is_cut_once_and_goes_once(rig: Rig) -> None:
    made = await make(rig)
    asked = SnapshotWish(snapshot_id=new_id(), volume=made.volume_id)
    async with refuses_without(rig, Ability.SNAPSHOT):
        (first,), (second,) = [await rig.backend.create_snapshots([asked]) for _ in range(2)]
        assert first == second
        assert (first.snapshot_id, first.volume, first.size_bytes) == (asked.snapshot_id, made.volume_id, 64 * MIB)
        assert first.created_unix_ms > 0
        assert await rig.again().find_snapshot(asked) == first.handle
        assert [one.handle for one in await rig.backend.list_snapshots()] == [first.handle]
        for _ in range(2):
            await rig.backend.delete_snapshot(first.handle)
        assert await rig.backend.list_snapshots() == []


async def test_a_group_is_cut_at_one_instant_or_not_at_all(rig: Rig) -> None:
    made = [await make(rig, number) for number in range(2)]
    wishes = [SnapshotWish(snapshot_id=new_id(), volume=one.volume_id) for one in made]
    async with refuses_without(rig, Ability.GROUP):
        found = await rig.backend.create_snapshots(wishes)
        assert [one.volume for one in found] == [one.volume_id for one in made]
        assert await rig.backend.create_snapshots(wishes) == found
    if not await able(rig, Ability.GROUP):
        assert await rig.backend.list_snapshots() == []


async def test_a_clone_of_a_snapshot_outlives_it_and_its_volume(rig: Rig) -> None:
    made = await make(rig)
    source = Source(kind=SourceKind.SNAPSHOT, handle="none")
    async with refuses_without(rig, Ability.SNAPSHOT, Ability.CLONE_SNAPSHOT) as can:
        if can:
            (cut,) = await rig.backend.create_snapshots([SnapshotWish(snapshot_id=new_id(), volume=made.volume_id)])
            source = Source(kind=SourceKind.SNAPSHOT, handle=cut.handle)
        clone = await make(rig, 1, source=source)
        assert (await make(rig, 1, source=source)).volume_id == clone.volume_id
        await rig.backend.delete_snapshot(source.handle)
        await rig.backend.delete_volume(made.volume_id, erase=False)
        assert [one.volume_id for one in await rig.backend.list_volumes()] == [clone.volume_id]
        await rig.backend.delete_volume(clone.volume_id, erase=False)
        assert await rig.backend.list_volumes() == []


async def test_a_clone_of_a_volume_outlives_it_and_may_be_larger(rig: Rig) -> None:
    made = await make(rig)
    source = Source(kind=SourceKind.VOLUME, handle=made.volume_id)
    async with refuses_without(rig, Ability.CLONE_VOLUME):
        clone = await make(rig, 1, source=source, size_bytes=128 * MIB)
        assert clone.size_bytes == 128 * MIB
        assert (await make(rig, 1, source=source, size_bytes=128 * MIB)).volume_id == clone.volume_id
        await rig.backend.delete_volume(made.volume_id, erase=False)
        assert [one.volume_id for one in await rig.backend.list_volumes()] == [clone.volume_id]
        assert await rig.backend.list_snapshots() == []


async def test_a_clone_of_an_image_is_as_large_as_it_at_least(rig: Rig) -> None:
    image = new_id()
    async with refuses_without(rig, Ability.IMAGE, Ability.CLONE_IMAGE):
        for _ in range(2):
            assert (await rig.backend.import_image(image, IMAGE, "raw")).size_bytes == 4 * MIB
        source = Source(kind=SourceKind.IMAGE, handle=image)
        clone = await make(rig, source=source)
        assert clone.size_bytes == 64 * MIB
        assert await reason_of(make(rig, 1, source=source, size_bytes=MIB)) is Reason.INVALID
        await rig.backend.delete_volume(clone.volume_id, erase=False)
        for _ in range(2):
            await rig.backend.delete_image(image)


async def test_a_source_that_is_not_there_is_final(rig: Rig) -> None:
    for kind, needed in ((SourceKind.SNAPSHOT, Ability.CLONE_SNAPSHOT), (SourceKind.VOLUME, Ability.CLONE_VOLUME)):
        with pytest.raises(DpuError) as told:
            await make(rig, 2, source=Source(kind=kind, handle=new_id()))
        wanted = Reason.NOT_FOUND if await able(rig, needed) else Reason.UNSUPPORTED
        assert (told.value.reason, told.value.retry) == (wanted, False)
    assert await able(rig, Ability.CLAIM) or await rig.backend.list_volumes() == []


async def test_a_late_unexport_does_not_end_the_newer_export(rig: Rig) -> None:
    made = await make(rig)

    def turn(generation: int, dpu: str = "dpu-1") -> ExportWish:
        return ExportWish(volume=made.volume_id, dpu=dpu, generation=generation, host_nqn=NQN, context=made.context)

    if not rig.reachable:
        with pytest.raises(DpuError) as told:
            await rig.backend.export_volume(turn(1))
        assert told.value.reason is Reason.UNSUPPORTED
        assert "storage.san.address.export" in told.value.field
        return
    first = await rig.backend.export_volume(turn(1))
    assert await rig.backend.export_volume(turn(1)) == first
    second = await rig.backend.export_volume(turn(2))
    await rig.backend.unexport_volume(turn(1))
    assert await rig.backend.export_volume(turn(2)) == second
    if rig.fenced:
        assert await reason_of(rig.backend.export_volume(turn(1))) is Reason.STALE_GENERATION
        await rig.backend.unexport_volume(turn(2))
        assert await reason_of(rig.backend.export_volume(turn(2))) is Reason.STALE_GENERATION
    await rig.backend.unexport_volume(turn(2))
    await rig.backend.export_volume(turn(3, "dpu-2"))
    await rig.backend.unexport_volume(turn(3, "dpu-2"))
    if await able(rig, Ability.DELETE):
        await rig.backend.delete_volume(made.volume_id, erase=False)


async def test_a_volume_in_use_stays(rig: Rig) -> None:
    made = await make(rig)
    if not rig.reachable or not await able(rig, Ability.DELETE):
        return
    held = ExportWish(volume=made.volume_id, dpu="dpu-1", generation=1, host_nqn=NQN, context=made.context)
    await rig.backend.export_volume(held)
    with pytest.raises(DpuError) as told:
        await rig.backend.delete_volume(made.volume_id, erase=False)
    assert (told.value.reason, told.value.retry) == (Reason.IN_USE, True)
    await rig.backend.unexport_volume(held)
    await rig.backend.delete_volume(made.volume_id, erase=False)


async def test_a_parameter_that_means_nothing_is_refused_or_passed_on(rig: Rig) -> None:
    asked = VolumeWish(volume_id=new_id(), size_bytes=64 * MIB, parameters={"Colour": "blue"})
    try:
        await rig.backend.create_volume(asked)
    except DpuError as error:
        refused = error.reason is Reason.INVALID and not error.retry
    else:
        refused = False
    assert refused or not isinstance(rig.backend, NodeBackend | RbdBackend | NvmeOfBackend)


async def test_space_is_told_or_not_known(rig: Rig) -> None:
    found = await rig.backend.capacity()
    assert (found.available_bytes is not None) == await able(rig, Ability.CAPACITY)
    assert found.available_bytes is None or found.available_bytes > 0
