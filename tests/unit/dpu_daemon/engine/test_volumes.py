"""Images, volumes and exports of a storage node."""

from dataclasses import replace

import pytest

from dpu_daemon.engine.sources import BLANK, Source
from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.model.volume import Export, ImageFormat
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import AWAY, soon

GIB = 1 << 30
QCOW2 = ImageFormat.QCOW2
FIRST = Export(generation=1, dpu="dpu-1")


@pytest.fixture
async def clone(node: StorageEngine) -> StorageEngine:
    """A node with image img-1 and its clone vol-1."""
    await node.images.register("img-1", "tiny.qcow2", QCOW2, soon())
    await node.volumes.create("vol-1", GIB, Source(image_id="img-1"), soon())
    return node


async def test_an_image_is_registered_once(node: StorageEngine, world: World) -> None:
    image = await node.images.register("img-1", "tiny.qcow2", QCOW2, soon())
    assert image.size_bytes == GIB
    assert await node.images.register("img-1", "tiny.qcow2", QCOW2, soon()) == image
    assert node.images.list() == (image,)
    world.state.image_files["other.raw"] = GIB
    with pytest.raises(DpuError) as refused:
        await node.images.register("img-1", "other.raw", ImageFormat.RAW, soon())
    assert (refused.value.reason, refused.value.field) == (Reason.ALREADY_EXISTS, "source")


async def test_an_image_that_cannot_be_used_is_not_registered(node: StorageEngine, world: World) -> None:
    with pytest.raises(DpuError) as refused:
        await node.images.register("img-1", "missing.qcow2", QCOW2, soon())
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "source")
    world.faults.errors["target.open_image"] = [AWAY]
    with pytest.raises(DpuError):
        await node.images.register("img-1", "tiny.qcow2", QCOW2, soon())
    assert node.images.list() == ()


async def test_an_image_with_clones_stays(clone: StorageEngine, world: World) -> None:
    with pytest.raises(DpuError) as refused:
        await clone.images.unregister("img-1", soon())
    assert refused.value.reason is Reason.IN_USE
    assert "vol-1" in refused.value.message
    await clone.volumes.delete("vol-1", soon(), shred=False)
    await clone.images.unregister("img-1", soon())
    await clone.images.unregister("img-1", soon())
    assert world.state.open_images == set()


async def test_the_same_volume_again_is_answered_and_another_is_refused(clone: StorageEngine, world: World) -> None:
    world.calls.clear()
    view = await clone.volumes.create("vol-1", GIB, Source(image_id="img-1"), soon())
    assert view.seen is not None
    assert world.calls == ["target.look"]
    for size, image in ((2 * GIB, Source(image_id="img-1")), (GIB, BLANK)):
        with pytest.raises(DpuError) as refused:
            await clone.volumes.create("vol-1", size, image, soon())
        assert refused.value.reason is Reason.ALREADY_EXISTS


async def test_a_volume_needs_its_image_and_is_not_smaller(clone: StorageEngine) -> None:
    with pytest.raises(DpuError) as refused:
        await clone.volumes.create("vol-2", GIB, Source(image_id="img-9"), soon())
    assert (refused.value.reason, refused.value.field) == (Reason.NOT_FOUND, "source_image_id")
    with pytest.raises(DpuError) as refused:
        await clone.volumes.create("vol-2", GIB // 2, Source(image_id="img-1"), soon())
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "size_bytes")


@pytest.mark.parametrize("call", ["target.create", "target.open"])
async def test_a_volume_that_fails_is_undone(clone: StorageEngine, world: World, call: str) -> None:
    world.faults.errors[call] = [AWAY]
    with pytest.raises(DpuError) as failed:
        await clone.volumes.create("vol-2", GIB, BLANK, soon())
    assert failed.value is AWAY
    assert len(world.state.volumes) == 1
    assert set(clone.core.ledger.volumes) == {"vol-1"}


async def test_a_full_disk_is_said_to_be_full_and_nothing_is_left(clone: StorageEngine, world: World) -> None:
    with pytest.raises(DpuError) as refused:
        await clone.volumes.create("vol-2", 2 << 40, BLANK, soon())
    assert refused.value.reason is Reason.STORAGE_FULL
    assert len(world.state.volumes) == 1


async def test_an_undo_that_fails_is_finished_by_the_next_audit(clone: StorageEngine, world: World) -> None:
    world.faults.errors |= {"target.open": [AWAY], "target.delete": [AWAY]}
    with pytest.raises(DpuError):
        await clone.volumes.create("vol-2", GIB, BLANK, soon())
    await clone.core.audit.once()
    assert set(clone.core.ledger.volumes) == {"vol-1"}
    assert len(world.state.volumes) == 1


async def test_an_exported_volume_is_not_deleted(clone: StorageEngine) -> None:
    await clone.exports.put_up("vol-1", FIRST, soon())
    with pytest.raises(DpuError) as refused:
        await clone.volumes.delete("vol-1", soon(), shred=False)
    assert refused.value.reason is Reason.IN_USE
    assert "dpu-1, generation 1" in refused.value.message


async def test_deleting_what_is_not_there_succeeds(node: StorageEngine) -> None:
    assert await node.volumes.delete("vol-9", soon(), shred=True) == "volume vol-9 was absent"


async def test_an_export_is_answered_again_without_touching_it(clone: StorageEngine, world: World) -> None:
    served = await clone.exports.put_up("vol-1", FIRST, soon())
    world.calls.clear()
    assert await clone.exports.put_up("vol-1", FIRST, soon()) == served
    assert world.calls == ["target.look"]
    with pytest.raises(DpuError) as refused:
        await clone.exports.put_up("vol-1", replace(FIRST, dpu="dpu-2"), soon())
    assert (refused.value.reason, refused.value.field) == (Reason.ALREADY_EXISTS, "dpu")


async def test_a_newer_generation_cuts_off_the_older_and_the_older_never_returns(
    clone: StorageEngine, world: World
) -> None:
    await clone.exports.put_up("vol-1", FIRST, soon())
    world.calls.clear()
    served = await clone.exports.put_up("vol-1", Export(generation=2, dpu="dpu-2"), soon())
    assert served.generation == 2
    assert [call for call in world.calls if "export" in call] == ["target.unexport", "target.export"]
    with pytest.raises(DpuError) as refused:
        await clone.exports.put_up("vol-1", FIRST, soon())
    assert refused.value.reason is Reason.STALE_GENERATION
    assert await clone.exports.take_away("vol-1", 1, soon()) == "fenced by generation 2; nothing done"
    assert world.state.exports


async def test_an_export_taken_away_stays_away_for_its_generation(clone: StorageEngine, world: World) -> None:
    await clone.exports.put_up("vol-1", FIRST, soon())
    assert (await clone.exports.take_away("vol-1", 1, soon())).endswith("is no longer exported")
    assert await clone.exports.take_away("vol-1", 1, soon()) == "volume vol-1 was not exported"
    assert await clone.exports.take_away("vol-9", 1, soon()) == "volume vol-9 was not exported"
    assert world.state.exports == {}
    with pytest.raises(DpuError) as refused:
        await clone.exports.put_up("vol-1", FIRST, soon())
    assert refused.value.reason is Reason.STALE_GENERATION


async def test_an_export_that_fails_is_taken_back(clone: StorageEngine, world: World) -> None:
    world.faults.errors["target.export"] = [AWAY]
    with pytest.raises(DpuError):
        await clone.exports.put_up("vol-1", FIRST, soon())
    assert clone.core.ledger.volumes["vol-1"].export is None
    assert (await clone.exports.put_up("vol-1", FIRST, soon())).generation == 1


async def test_what_does_not_exist_is_not_exported_and_not_grown(node: StorageEngine) -> None:
    for call in (node.exports.put_up("vol-9", FIRST, soon()), node.volumes.resize("vol-9", GIB, soon())):
        with pytest.raises(DpuError) as refused:
            await call
        assert refused.value.reason is Reason.NOT_FOUND


async def test_a_volume_grows_under_its_export_and_never_shrinks(clone: StorageEngine, world: World) -> None:
    served = await clone.exports.put_up("vol-1", FIRST, soon())
    view = await clone.volumes.resize("vol-1", 2 * GIB, soon())
    assert view.record.size_bytes == world.state.exports[served.target.export] == 2 * GIB
    with pytest.raises(DpuError) as refused:
        await clone.volumes.resize("vol-1", GIB, soon())
    assert refused.value.field == "size_bytes"
    world.faults.errors["target.resize"] = [AWAY]
    with pytest.raises(DpuError):
        await clone.volumes.resize("vol-1", 4 * GIB, soon())
    assert clone.core.ledger.volumes["vol-1"].size_bytes == 2 * GIB


async def test_after_a_restart_of_the_storage_daemon_everything_is_served_again(
    clone: StorageEngine, world: World
) -> None:
    served = await clone.exports.put_up("vol-1", FIRST, soon())
    world.restart_target()
    await clone.core.audit.once()
    assert world.state.exports == {served.target.export: GIB}


async def test_a_lost_file_is_told_and_not_made_anew(clone: StorageEngine, world: World) -> None:
    world.state.volumes.clear()
    await clone.core.audit.once()
    (view,) = await clone.volumes.views()
    assert view.message.endswith("its file is lost")
    assert "its file is lost" in clone.core.audit.message()
    assert world.state.volumes == {}


async def test_files_of_no_volume_are_left_alone(clone: StorageEngine, world: World) -> None:
    (seen,) = world.state.volumes.values()
    world.state.volumes["vffffffffffff"] = replace(seen, handle="vffffffffffff")
    await clone.core.audit.once()
    assert "vffffffffffff" in world.state.volumes


async def test_a_reader_is_answered_while_the_storage_daemon_is_away(clone: StorageEngine, world: World) -> None:
    world.faults.down.add("target")
    (view,) = await clone.volumes.views("vol-1")
    assert view.seen is None
    assert "does not answer" in view.message
