"""Snapshots and groups of them: each rule and each code."""

import asyncio
from typing import Any

import pytest

from coordinator.core.objects.kinds import Kind
from proto.csi.v1 import snapshot_pb2 as pb
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.csi import GIB, NAMESPACE, Orchestrator, create_request, objects_of
from tests.fakes.plant import Plant


def group(name: str, *volumes: str, **parameters: str) -> pb.CreateVolumeGroupSnapshotRequest:
    return pb.CreateVolumeGroupSnapshotRequest(name=name, source_volume_ids=volumes, parameters=parameters)


async def cut_group(co: Orchestrator, name: str, *volumes: str) -> pb.VolumeGroupSnapshot:
    made: pb.VolumeGroupSnapshot = (await co.call("CreateVolumeGroupSnapshot", group(name, *volumes))).group_snapshot
    return made


async def drop(co: Orchestrator, snapshot: str) -> str:
    return await co.code("DeleteSnapshot", pb.DeleteSnapshotRequest(snapshot_id=snapshot))


async def test_a_snapshot_is_cut_once_however_often_it_is_asked_for(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    first = await co.snapshot("snap", "pvc-1")
    assert (first.snapshot_id, first.source_volume_id, first.size_bytes) == ("snap", "pvc-1", GIB)
    assert first.ready_to_use
    assert first.creation_time.seconds > 0
    assert await co.snapshot("snap", "pvc-1") == first
    assert len(plant.store.snapshots) == 1
    found = await co.call("GetSnapshot", pb.GetSnapshotRequest(snapshot_id="snap"))
    assert found.snapshot == first


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.CreateSnapshotRequest(source_volume_id="pvc-1"), "INVALID_ARGUMENT"),
        (pb.CreateSnapshotRequest(name="s"), "INVALID_ARGUMENT"),
        (pb.CreateSnapshotRequest(name="s", source_volume_id="none"), "NOT_FOUND"),
        (pb.CreateSnapshotRequest(name="s", source_volume_id="pvc-1", parameters={"x": "y"}), "INVALID_ARGUMENT"),
        (pb.CreateSnapshotRequest(name="taken", source_volume_id="pvc-1"), "ALREADY_EXISTS"),
    ],
)
async def test_what_cannot_be_cut_is_refused(plant: Plant, co: Orchestrator, request_: Any, code: str) -> None:
    await co.create("pvc-1")
    await co.create("pvc-2")
    await co.snapshot("taken", "pvc-2")
    assert await co.code("CreateSnapshot", request_) == code
    assert len(plant.store.snapshots) == 1


async def test_a_snapshot_that_the_backend_refuses_leaves_nothing(plant: Plant, co: Orchestrator) -> None:
    async def full(_wishes: Any) -> Any:
        raise DpuError(Reason.STORAGE_FULL, "no space left", remedy="add disks")

    plant.store.create_snapshots = full  # type: ignore[method-assign,assignment]
    await co.create("pvc-1")
    request = pb.CreateSnapshotRequest(name="s", source_volume_id="pvc-1")
    assert await co.code("CreateSnapshot", request) == "RESOURCE_EXHAUSTED"
    assert objects_of(plant) == ["Volume/pvc-1"]


async def test_a_volume_is_cloned_from_a_snapshot_with_at_least_its_size(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1", 2 * GIB)
    await co.snapshot("snap", "pvc-1")
    clone = await co.create("clone", 0, snapshot="snap")
    assert clone.capacity_bytes == 2 * GIB
    assert clone.content_source.snapshot.snapshot_id == "snap"
    assert await co.code("CreateVolume", create_request("small", GIB, snapshot="snap")) == "OUT_OF_RANGE"
    assert "Volume/small" not in objects_of(plant)


async def test_deleting_a_snapshot_that_is_not_there_is_good(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.snapshot("snap", "pvc-1")
    for name in ("snap", "snap", "none", "NO/ID"):
        assert await drop(co, name) == "OK"
    assert plant.store.snapshots == {}
    assert await drop(co, "") == "INVALID_ARGUMENT"


async def test_no_snapshot_is_found_where_there_is_none(co: Orchestrator) -> None:
    assert await co.code("GetSnapshot", pb.GetSnapshotRequest(snapshot_id="none")) == "NOT_FOUND"
    assert await co.code("GetSnapshot", pb.GetSnapshotRequest()) == "INVALID_ARGUMENT"


async def test_a_group_is_cut_at_one_instant(plant: Plant, co: Orchestrator) -> None:
    for name in ("a", "b", "c"):
        await co.create(name)
    made = await cut_group(co, "group", "b", "a")
    assert made.group_snapshot_id == "group"
    assert {one.source_volume_id for one in made.snapshots} == {"a", "b"}
    assert {one.group_snapshot_id for one in made.snapshots} == {"group"}
    assert made.ready_to_use
    assert len({one.instant for one in plant.store.snapshots.values()}) == 1
    assert await cut_group(co, "group", "a", "b") == made
    names = [one.snapshot_id for one in made.snapshots]
    found = await co.call(
        "GetVolumeGroupSnapshot", pb.GetVolumeGroupSnapshotRequest(group_snapshot_id="group", snapshot_ids=names)
    )
    assert found.group_snapshot == made


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (group("", "a"), "INVALID_ARGUMENT"),
        (group("g"), "INVALID_ARGUMENT"),
        (group("g", "a", "a"), "INVALID_ARGUMENT"),
        (group("g", "a", "none"), "NOT_FOUND"),
        (group("g", "a", fast="yes"), "INVALID_ARGUMENT"),
        (group("taken", "a"), "ALREADY_EXISTS"),
    ],
)
async def test_a_group_that_cannot_be_is_refused(plant: Plant, co: Orchestrator, request_: Any, code: str) -> None:
    await co.create("a")
    await co.create("b")
    await cut_group(co, "taken", "a", "b")
    assert await co.code("CreateVolumeGroupSnapshot", request_) == code
    assert len(plant.store.snapshots) == 2


async def test_a_snapshot_of_a_group_goes_with_its_group_alone(plant: Plant, co: Orchestrator) -> None:
    await co.create("a")
    await co.create("b")
    made = await cut_group(co, "group", "a", "b")
    one, other = (snapshot.snapshot_id for snapshot in made.snapshots)
    assert await drop(co, one) == "INVALID_ARGUMENT"
    for wrong in ([one], [one, other, "z"]):
        request = pb.GetVolumeGroupSnapshotRequest(group_snapshot_id="group", snapshot_ids=wrong)
        assert await co.code("GetVolumeGroupSnapshot", request) == "INVALID_ARGUMENT"
    wrong_delete = pb.DeleteVolumeGroupSnapshotRequest(group_snapshot_id="group", snapshot_ids=[one])
    assert await co.code("DeleteVolumeGroupSnapshot", wrong_delete) == "INVALID_ARGUMENT"
    right = pb.DeleteVolumeGroupSnapshotRequest(group_snapshot_id="group", snapshot_ids=[one, other])
    for _ in range(2):
        assert await co.code("DeleteVolumeGroupSnapshot", right) == "OK"
    assert plant.store.snapshots == {}


async def test_no_group_is_found_where_there_is_none(co: Orchestrator) -> None:
    find, empty = pb.GetVolumeGroupSnapshotRequest(group_snapshot_id="none"), pb.GetVolumeGroupSnapshotRequest()
    assert await co.code("GetVolumeGroupSnapshot", find) == "NOT_FOUND"
    assert await co.code("GetVolumeGroupSnapshot", empty) == "INVALID_ARGUMENT"
    delete = pb.DeleteVolumeGroupSnapshotRequest()
    assert await co.code("DeleteVolumeGroupSnapshot", delete) == "INVALID_ARGUMENT"


async def test_a_backend_that_is_away_keeps_a_cut_open_and_a_repeat_joins(plant: Plant, co: Orchestrator) -> None:
    await co.create("a")
    await co.create("b")
    plant.store.reachable = False
    code = await co.code("CreateVolumeGroupSnapshot", group("g", "a", "b"), timeout_s=1)
    assert code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    plant.store.reachable = True
    assert len((await cut_group(co, "g", "a", "b")).snapshots) == 2


async def test_a_snapshot_that_is_not_ready_yet_is_told_as_such(plant: Plant, co: Orchestrator) -> None:
    await co.create("a")
    await co.snapshot("s", "a")
    await plant.api.patch_status(Kind.SNAPSHOT, "s", {"status": {"readyToUse": False}}, NAMESPACE)
    async with asyncio.timeout(30):
        while (await co.snapshot("s", "a")).ready_to_use is False:  # noqa: ASYNC110  (as a sidecar repeats)
            await asyncio.sleep(0.005)
