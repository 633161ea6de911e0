"""kill -9 of a storage node's daemon at every point of a volume's life: enumerated, not sampled."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.sources import BLANK, Source
from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.model.volume import CutState, Export, ImageFormat
from tests.fakes.crash import MortalJournal
from tests.fakes.daemon import FAST
from tests.fakes.target import FakeTarget
from tests.fakes.world import Killed, World

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

GIB = 1 << 30
Call = Callable[[StorageEngine], Awaitable[object]]


def _soon() -> Deadline:
    return Deadline.after(30)


def life() -> list[Call]:
    """Everything that a coordinator asks of a storage node for one image and one volume."""
    first, second = Export(generation=1, dpu="dpu-1"), Export(generation=2, dpu="dpu-2")
    return [
        lambda node: node.images.register("img-1", "tiny.qcow2", ImageFormat.QCOW2, _soon()),
        lambda node: node.volumes.create("vol-1", GIB, Source(image_id="img-1"), _soon()),
        lambda node: node.exports.put_up("vol-1", first, _soon()),
        lambda node: node.volumes.resize("vol-1", 2 * GIB, _soon()),
        lambda node: node.exports.put_up("vol-1", second, _soon()),
        lambda node: node.exports.take_away("vol-1", 2, _soon()),
        lambda node: node.volumes.delete("vol-1", _soon(), shred=True),
        lambda node: node.images.unregister("img-1", _soon()),
    ]


def family_life() -> list[Call]:
    """Snapshots, a group of them, clones of all kinds, and deletes in an order in which none is easy."""
    group = {"snap-1": "vol-1", "snap-2": "vol-2"}
    of_snapshot, of_volume = Source(snapshot_id="snap-1"), Source(volume_id="vol-1")
    return [
        lambda node: node.images.register("img-1", "tiny.qcow2", ImageFormat.QCOW2, _soon()),
        lambda node: node.volumes.create("vol-1", GIB, Source(image_id="img-1"), _soon()),
        lambda node: node.volumes.create("vol-2", GIB, BLANK, _soon()),
        lambda node: node.exports.put_up("vol-1", Export(generation=1, dpu="dpu-1"), _soon()),
        lambda node: node.snapshots.create(group, _soon()),
        lambda node: node.volumes.create("vol-3", 2 * GIB, of_snapshot, _soon()),
        lambda node: node.volumes.create("vol-4", GIB, of_volume, _soon()),
        lambda node: node.snapshots.delete("snap-1", _soon()),
        lambda node: node.exports.take_away("vol-1", 1, _soon()),
        lambda node: node.volumes.delete("vol-1", _soon(), shred=True),
        lambda node: node.volumes.resize("vol-4", 4 * GIB, _soon()),
        lambda node: node.volumes.delete("vol-3", _soon(), shred=False),
        lambda node: node.volumes.delete("vol-2", _soon(), shred=False),
        lambda node: node.volumes.delete("vol-4", _soon(), shred=False),
        lambda node: node.snapshots.delete("snap-2", _soon()),
        lambda node: node.core.audit.once(),
        lambda node: node.core.audit.once(),
        lambda node: node.images.unregister("img-1", _soon()),
    ]


async def _open(path: Path, world: World) -> StorageEngine:
    return await StorageEngine.open(MortalJournal(path, world), FakeTarget(world), FAST)


async def _recovered(path: Path, world: World, *, storage_daemon_too: bool) -> StorageEngine:
    world.faults.dead, world.faults.kill_at = False, None
    if storage_daemon_too:
        world.restart_target()
    node = await _open(path, world)
    async with asyncio.timeout(60):
        await node.core.audit.once()
    assert node.core.ready(), node.core.audit.message()
    _check_invariants(node, world)
    return node


def _check_invariants(node: StorageEngine, world: World) -> None:
    """What holds whenever nothing is in flight."""
    volumes = node.core.ledger.volumes.values()
    assert {v.handle: v.size_bytes for v in volumes} == {h: v.size_bytes for h, v in world.state.volumes.items()}
    for volume in volumes:
        seen = world.state.volumes[volume.handle]
        assert seen.opened
        assert seen.exported == (volume.export is not None)
        if volume.export is not None and volume.served is not None:
            assert volume.served.generation == volume.export.generation
    assert world.state.open_images == set(node.core.ledger.images)
    _check_family(node, world)


def _check_family(node: StorageEngine, world: World) -> None:
    """Nothing stands on what is gone, no cut is half-way, and every snapshot that somebody was told of is there."""
    there = set(world.state.snapshots)
    assert set(world.state.clones.values()) <= there | world.state.open_images
    assert not world.state.prepared
    records = node.core.ledger.snapshots.values()
    assert {r.handle for r in records if r.wanted and r.state is CutState.DONE} <= there
    assert there <= {r.handle for r in records if r.state is CutState.DONE}
    assert not [r for r in records if r.state is CutState.ORDERED]


async def _live_until_killed_at(path: Path, point: int, calls: list[Call], *, storage_daemon_too: bool) -> bool:
    world = World()
    world.state.image_files["tiny.qcow2"] = GIB
    world.faults.kill_at = point
    killed = False
    node = await _open(path, world)
    for call in calls:
        try:
            await call(node)
        except Killed:
            killed = True
            await node.core.ledger.close()
            node = await _recovered(path, world, storage_daemon_too=storage_daemon_too)
            await call(node)
        _check_invariants(node, world)
    left = (world.state.volumes, world.state.exports, world.state.open_images, world.state.clones)
    assert not any((*left, world.state.snapshots, node.core.ledger.snapshots))
    await node.core.ledger.close()
    return killed


@pytest.mark.parametrize("storage_daemon_too", [False, True])
async def test_whatever_point_of_its_life_the_daemon_is_killed_at_the_volume_lives_on(
    tmp_path: Path, *, storage_daemon_too: bool
) -> None:
    point = 1
    while await _live_until_killed_at(tmp_path / f"{point}.db", point, life(), storage_daemon_too=storage_daemon_too):
        point += 1
    assert point > 70, "the life is too short to prove anything"


@pytest.mark.parametrize("storage_daemon_too", [False, True])
async def test_whatever_point_the_daemon_is_killed_at_snapshots_and_clones_live_on(
    tmp_path: Path, *, storage_daemon_too: bool
) -> None:
    point = 1
    while await _live_until_killed_at(
        tmp_path / f"{point}.db", point, family_life(), storage_daemon_too=storage_daemon_too
    ):
        point += 1
    assert point > 150, "the life is too short to prove anything"
