"""Snapshots and clones of a storage node: what is asked twice, refused, undone, kept and let go."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.sources import BLANK, Source
from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.volume import CutState, Export, ImageFormat, Volume
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import FAST
from tests.fakes.target import FakeTarget
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import AWAY, soon

GIB = 1 << 30
GROUP = {"snap-1": "vol-1", "snap-2": "vol-2"}


@pytest.fixture
async def pair(node: StorageEngine) -> StorageEngine:
    """A node with vol-1, a clone of an image, and vol-2, blank."""
    await node.images.register("img-1", "tiny.qcow2", ImageFormat.QCOW2, soon())
    await node.volumes.create("vol-1", GIB, Source(image_id="img-1"), soon())
    await node.volumes.create("vol-2", GIB, BLANK, soon())
    return node


async def _settled(node: StorageEngine) -> None:
    for _ in range(3):
        await node.core.audit.once()


async def test_snapshots_of_a_group_are_cut_by_one_call_and_answered_again(pair: StorageEngine, world: World) -> None:
    views = await pair.snapshots.create(GROUP, soon())
    assert [(v.record.snapshot_id, v.record.volume_id, v.record.size_bytes) for v in views] == [
        ("snap-1", "vol-1", GIB),
        ("snap-2", "vol-2", GIB),
    ]
    assert all(view.record.created_unix_ms > 0 and view.message.endswith("is there") for view in views)
    assert world.calls.count("target.cut") == 1
    world.calls.clear()
    again = await pair.snapshots.create(dict(reversed(GROUP.items())), soon())
    assert {view.record for view in again} == {view.record for view in views}
    assert "target.cut" not in world.calls
    assert [view.record.snapshot_id for view in await pair.snapshots.views()] == ["snap-1", "snap-2"]


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        ({}, Reason.INVALID, "members"),
        ({"a": "vol-1", "b": "vol-1"}, Reason.INVALID, "members"),
        ({"a": "vol-9"}, Reason.NOT_FOUND, "volume_id"),
        ({"snap-1": "vol-2"}, Reason.ALREADY_EXISTS, "snapshot_id"),
        ({"snap-1": "vol-1", "snap-3": "vol-2"}, Reason.ALREADY_EXISTS, "members"),
    ],
)
async def test_what_cannot_be_cut_is_refused_by_name(
    pair: StorageEngine, asked: dict[str, str], reason: Reason, field: str
) -> None:
    await pair.snapshots.create({"snap-1": "vol-1"}, soon())
    with pytest.raises(DpuError) as refused:
        await pair.snapshots.create(asked, soon())
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert set(pair.core.ledger.snapshots) == {"snap-1"}


async def test_a_group_is_refused_where_nothing_is_cut_at_one_instant(
    pair: StorageEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeTarget, "cuts_groups", lambda _: False)
    with pytest.raises(DpuError) as refused:
        await pair.snapshots.create(GROUP, soon())
    assert refused.value.reason is Reason.UNSUPPORTED
    await pair.snapshots.create({"snap-1": "vol-1"}, soon())


@pytest.mark.parametrize("call", ["target.prepare", "target.cut"])
async def test_a_cut_that_fails_leaves_nothing(pair: StorageEngine, world: World, call: str) -> None:
    world.faults.errors[call] = [AWAY]
    with pytest.raises(DpuError) as failed:
        await pair.snapshots.create(GROUP, soon())
    assert failed.value is AWAY
    assert not pair.core.ledger.snapshots
    assert not world.state.prepared
    await pair.snapshots.create(GROUP, soon())


async def test_a_cut_whose_answer_was_lost_is_seen_and_answered(pair: StorageEngine, world: World) -> None:
    world.faults.lost_answers["target.cut"] = [AWAY]
    await asyncio.gather(*[pair.snapshots.create(GROUP, soon())], return_exceptions=True)
    await _settled(pair)
    told = {view.record.snapshot_id for view in await pair.snapshots.views()}
    assert set(world.state.snapshots) == {pair.core.ledger.snapshots[each].handle for each in told}


async def test_an_undo_that_fails_is_finished_by_the_next_audit(pair: StorageEngine, world: World) -> None:
    world.faults.errors |= {"target.cut": [AWAY], "target.abandon": [AWAY, AWAY]}
    with pytest.raises(DpuError):
        await pair.snapshots.create(GROUP, soon())
    assert {each.wanted for each in pair.core.ledger.snapshots.values()} == {False}
    await _settled(pair)
    assert (dict(pair.core.ledger.snapshots), world.state.prepared, world.state.snapshots) == ({}, set(), {})
    assert pair.core.audit.message() == ""


async def test_a_repeat_ends_the_undo_that_failed_and_cuts_anew(pair: StorageEngine, world: World) -> None:
    world.faults.errors |= {"target.cut": [AWAY], "target.abandon": [AWAY, AWAY]}
    for _ in range(2):
        with pytest.raises(DpuError) as failed:
            await pair.snapshots.create(GROUP, soon())
        assert failed.value is AWAY
    views = await pair.snapshots.create(GROUP, soon())
    assert {view.record.snapshot_id: view.record.volume_id for view in views} == GROUP
    assert set(world.state.snapshots) == {view.record.handle for view in views}
    assert not world.state.prepared


@pytest.mark.parametrize("source", [Source(snapshot_id="snap-1"), Source(volume_id="vol-1")])
async def test_a_clone_is_made_of_a_snapshot_or_of_a_volume_as_it_is(
    pair: StorageEngine, world: World, source: Source
) -> None:
    await pair.snapshots.create({"snap-1": "vol-1"}, soon())
    view = await pair.volumes.create("vol-3", 2 * GIB, source, soon())
    assert (view.record.root_image_id, view.record.size_bytes) == ("img-1", 2 * GIB)
    assert await pair.volumes.create("vol-3", 2 * GIB, source, soon())
    with pytest.raises(DpuError) as refused:
        await pair.volumes.create("vol-3", 2 * GIB, Source(snapshot_id="snap-2"), soon())
    assert refused.value.reason is Reason.ALREADY_EXISTS
    assert [each.record.snapshot_id for each in await pair.snapshots.views()] == ["snap-1"]
    with pytest.raises(DpuError) as refused:
        await pair.images.unregister("img-1", soon())
    assert refused.value.reason is Reason.IN_USE
    assert len(world.state.snapshots) == 1 + bool(source.volume_id)


@pytest.mark.parametrize(
    ("source", "reason", "field"),
    [
        (Source(snapshot_id="none"), Reason.NOT_FOUND, "source_snapshot_id"),
        (Source(volume_id="none"), Reason.NOT_FOUND, "source_volume_id"),
        (Source(snapshot_id="snap-1"), Reason.INVALID, "size_bytes"),
        (Source(volume_id="vol-1"), Reason.INVALID, "size_bytes"),
    ],
)
async def test_a_clone_needs_its_source_and_is_not_smaller(
    pair: StorageEngine, source: Source, reason: Reason, field: str
) -> None:
    await pair.snapshots.create({"snap-1": "vol-1"}, soon())
    with pytest.raises(DpuError) as refused:
        await pair.volumes.create("vol-3", GIB // 2, source, soon())
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert set(pair.core.ledger.volumes) == {"vol-1", "vol-2"}


@pytest.mark.parametrize("call", ["target.cut", "target.create", "target.open"])
async def test_a_clone_of_a_volume_that_fails_leaves_nothing(pair: StorageEngine, world: World, call: str) -> None:
    world.faults.errors[call] = [AWAY]
    with pytest.raises(DpuError):
        await pair.volumes.create("vol-3", GIB, Source(volume_id="vol-1"), soon())
    await _settled(pair)
    assert set(pair.core.ledger.volumes) == {"vol-1", "vol-2"}
    assert (dict(pair.core.ledger.snapshots), world.state.snapshots, len(world.state.volumes)) == ({}, {}, 2)


Delete = Callable[[StorageEngine], Awaitable[object]]
DELETES: dict[str, Delete] = {
    "snapshot": lambda node: node.snapshots.delete("snap-1", soon()),
    "volume": lambda node: node.volumes.delete("vol-1", soon(), shred=False),
    "clone": lambda node: node.volumes.delete("vol-3", soon(), shred=False),
}


@pytest.mark.parametrize("first", DELETES)
@pytest.mark.parametrize("last", DELETES)
async def test_snapshot_volume_and_clone_go_in_any_order(
    pair: StorageEngine, world: World, first: str, last: str
) -> None:
    await pair.snapshots.create({"snap-1": "vol-1"}, soon())
    await pair.volumes.create("vol-3", GIB, Source(snapshot_id="snap-1"), soon())
    between = [name for name in DELETES if name not in (first, last)]
    for name in dict.fromkeys((first, *between, last)):
        await DELETES[name](pair)
        await _settled(pair)
        records = pair.core.ledger.volumes.values()
        assert {record.handle for record in records} == set(world.state.volumes)
        assert all(world.state.volumes[record.handle].opened for record in records)
        assert set(world.state.clones.values()) <= set(world.state.snapshots) | world.state.open_images
    assert (world.state.snapshots, dict(pair.core.ledger.snapshots)) == ({}, {})
    await pair.images.unregister("img-1", soon())


async def test_a_deleted_snapshot_with_clones_is_gone_for_callers_and_stays_for_clones(
    pair: StorageEngine, world: World
) -> None:
    await pair.snapshots.create({"snap-1": "vol-1"}, soon())
    await pair.volumes.create("vol-3", GIB, Source(snapshot_id="snap-1"), soon())
    outcome = await pair.snapshots.delete("snap-1", soon())
    assert "is kept, unseen, for 2 others" in outcome
    assert await pair.snapshots.views() == ()
    assert len(world.state.snapshots) == 1
    for call, reason in (
        (pair.snapshots.create({"snap-1": "vol-1"}, soon()), Reason.ALREADY_EXISTS),
        (pair.volumes.create("vol-4", GIB, Source(snapshot_id="snap-1"), soon()), Reason.NOT_FOUND),
    ):
        with pytest.raises(DpuError) as refused:
            await call
        assert refused.value.reason is reason
    assert "is kept" in await pair.snapshots.delete("snap-1", soon())
    assert await pair.snapshots.delete("snap-9", soon()) == "snapshot snap-9 was absent"


async def test_a_volume_made_anew_takes_no_place_of_one_whose_snapshots_stay(pair: StorageEngine) -> None:
    handle = pair.core.ledger.volumes["vol-2"].handle
    await pair.snapshots.create({"snap-2": "vol-2"}, soon())
    await pair.volumes.delete("vol-2", soon(), shred=False)
    view = await pair.volumes.create("vol-2", GIB, BLANK, soon())
    assert view.record.handle != handle


async def test_shredding_a_volume_shreds_what_only_its_snapshots_still_hold(pair: StorageEngine, world: World) -> None:
    await pair.snapshots.create({"snap-2": "vol-2"}, soon())
    await pair.volumes.delete("vol-2", soon(), shred=True)
    assert pair.core.ledger.snapshots["snap-2"].shred
    world.faults.unshreddable.add(pair.core.ledger.volumes["vol-1"].handle)
    with pytest.raises(DpuError) as refused:
        await pair.volumes.delete("vol-1", soon(), shred=True)
    assert (refused.value.reason, refused.value.field) == (Reason.UNSUPPORTED, "shred")
    assert pair.core.ledger.volumes["vol-1"].wanted


async def test_a_lost_snapshot_is_told(pair: StorageEngine, world: World) -> None:
    await pair.snapshots.create({"snap-2": "vol-2"}, soon())
    world.state.snapshots.clear()
    world.state.clones.clear()
    await pair.core.audit.once()
    (view,) = await pair.snapshots.views()
    assert view.message.endswith("its data is lost")
    assert "its data is lost" in pair.core.audit.message()


async def test_a_reader_is_answered_while_the_storage_daemon_is_away(pair: StorageEngine, world: World) -> None:
    await pair.snapshots.create({"snap-2": "vol-2"}, soon())
    world.faults.down.add("target")
    (view,) = await pair.snapshots.views()
    assert view.seen is None
    assert "does not answer" in view.message


async def test_cuts_clones_and_deletes_of_one_family_at_once_end_well(pair: StorageEngine, world: World) -> None:
    calls: list[Awaitable[object]] = [
        pair.snapshots.create({"s-1": "vol-1", "s-2": "vol-2"}, soon()),
        pair.snapshots.create({"s-3": "vol-2"}, soon()),
        pair.volumes.create("vol-5", GIB, Source(volume_id="vol-1"), soon()),
        pair.volumes.create("vol-6", GIB, Source(volume_id="vol-2"), soon()),
        pair.volumes.resize("vol-1", 2 * GIB, soon()),
        pair.snapshots.delete("s-3", soon()),
        pair.core.audit.once(),
    ]
    failed = [each for each in await asyncio.gather(*calls, return_exceptions=True) if isinstance(each, BaseException)]
    assert all(isinstance(each, DpuError) and each.reason is Reason.INVALID for each in failed)
    await _settled(pair)
    assert not world.state.prepared
    handles = {record.handle for record in pair.core.ledger.snapshots.values()}
    assert set(world.state.snapshots) == handles
    assert set(world.state.clones.values()) <= handles | world.state.open_images


async def _of_its_own(tmp_path: Path, world: World, store: FileCredentials | None = None) -> StorageEngine:
    """A node that the test stops itself."""
    return await StorageEngine.open(Journal(tmp_path / "own.db"), FakeTarget(world), FAST, store)


async def test_a_restarted_daemon_knows_its_snapshots(world: World, tmp_path: Path) -> None:
    node = await _of_its_own(tmp_path, world)
    for volume_id in GROUP.values():
        await node.volumes.create(volume_id, GIB, BLANK, soon())
    await node.snapshots.create(GROUP, soon())
    records = dict(node.core.ledger.snapshots)
    await node.core.stop(1.0)
    successor = await _of_its_own(tmp_path, world)
    assert dict(successor.core.ledger.snapshots) == records
    assert {record.state for record in records.values()} == {CutState.DONE}
    await successor.core.stop(1.0)


async def test_a_row_of_a_daemon_without_snapshots_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "own.db")
    old = b'{"volume_id":"vol-0","handle":"v0","size_bytes":512,"source_image_id":"img-1","created":true}'
    journal._db.execute("INSERT INTO wanted VALUES ('volume', 'vol-0', NULL, ?)", (old,))
    (volume,) = journal.read().records
    assert isinstance(volume, Volume)
    assert (volume.cuts, volume.root_image_id, volume.created) == (0, "img-1", True)
    journal.close()


async def test_credentials_stay_while_an_export_is_guarded_with_them(world: World, tmp_path: Path) -> None:
    store = FileCredentials(tmp_path / "credentials")
    node = await _of_its_own(tmp_path, world, store)
    await node.volumes.create("vol-1", GIB, BLANK, soon())
    await node.secrets.put(Credentials(name="dpu-1", tls_psk="ab" * 16))
    await node.exports.put_up("vol-1", Export(generation=1, dpu="dpu-1", credentials="dpu-1"), soon())
    with pytest.raises(DpuError) as refused:
        await node.secrets.delete("dpu-1")
    assert refused.value.reason is Reason.IN_USE
    assert store.names() == {"dpu-1"}
    await node.exports.take_away("vol-1", 1, soon())
    for _ in range(2):
        await node.secrets.delete("dpu-1")
    assert not store.names()
    await node.core.stop(1.0)
    journalled = (tmp_path / "own.db").read_bytes()
    assert b"dpu-1" in journalled
    assert b"ab" * 16 not in journalled


async def test_without_a_place_for_credentials_none_are_taken(pair: StorageEngine) -> None:
    with pytest.raises(DpuError) as refused:
        await pair.secrets.put(Credentials(name="dpu-1"))
    assert refused.value.reason is Reason.UNSUPPORTED
