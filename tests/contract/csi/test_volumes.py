"""CreateVolume, DeleteVolume, ControllerExpandVolume, ControllerModifyVolume: each rule and each code."""

import asyncio
from typing import Any

import pytest

from coordinator.core.csi.names import attachment_name
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.storage import Qos
from proto.csi.v1 import controller_pb2 as pb
from proto.csi.v1 import volume_pb2
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.csi import GIB, MIB, NAMESPACE, Mode, Orchestrator, Refused, capability, create_request, objects_of
from tests.fakes.plant import Plant

WAITS = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}


def expand(volume: str, required: int = 0, limit: int = 0) -> pb.ControllerExpandVolumeRequest:
    size = volume_pb2.CapacityRange(required_bytes=required, limit_bytes=limit)
    return pb.ControllerExpandVolumeRequest(volume_id=volume, capacity_range=size)


def modify(volume: str, **limits: str) -> pb.ControllerModifyVolumeRequest:
    parameters = {key.replace("_", "-"): value for key, value in limits.items()}
    return pb.ControllerModifyVolumeRequest(volume_id=volume, mutable_parameters=parameters)


def limits_of(plant: Plant, dpu: str = "dpu-1") -> list[Qos]:
    return [spec.qos for spec, _ in plant.dpus[dpu].disks.values()]


async def test_a_volume_is_made_once_however_often_it_is_asked_for(plant: Plant, co: Orchestrator) -> None:
    first = await co.create("pvc-1")
    assert (first.volume_id, first.capacity_bytes) == ("pvc-1", GIB)
    assert dict(first.volume_context) == {"dpupool.io/backend": "file"}
    assert await co.create("pvc-1") == first
    assert len(plant.store.volumes) == 1


@pytest.mark.parametrize("name", ["x" * 128, "PVC 1", "ünïcode", "a/../b", "%s%n", "csi-abc"])
async def test_names_that_no_object_can_have_are_names_all_the_same(plant: Plant, co: Orchestrator, name: str) -> None:
    made = await co.create(name)
    assert (await co.create(name)).volume_id == made.volume_id
    assert len(made.volume_id) <= 128
    await co.delete(made.volume_id)
    assert plant.leaks() == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (create_request(""), "INVALID_ARGUMENT"),
        (create_request("x" * 129), "INVALID_ARGUMENT"),
        (create_request("v", capabilities=[]), "INVALID_ARGUMENT"),
        (create_request("v", capabilities=[capability(Mode.MULTI_NODE_MULTI_WRITER)]), "INVALID_ARGUMENT"),
        (create_request("v", capabilities=[capability(fs="ntfs")]), "INVALID_ARGUMENT"),
        (create_request("v", capabilities=[volume_pb2.VolumeCapability()]), "INVALID_ARGUMENT"),
        (create_request("v", required=-1), "INVALID_ARGUMENT"),
        (create_request("v", required=2 * MIB, limit=MIB), "OUT_OF_RANGE"),
        (create_request("v", required=1 << 61), "OUT_OF_RANGE"),
        (create_request("v", parameters={"speed": "high"}), "INVALID_ARGUMENT"),
        (create_request("v", parameters={"backend": "none"}), "INVALID_ARGUMENT"),
        (create_request("v", parameters={"image": "none"}), "NOT_FOUND"),
        (create_request("v", mutable={"XXX_FakeKey": "1"}), "INVALID_ARGUMENT"),
        (create_request("v", snapshot="none"), "NOT_FOUND"),
        (create_request("v", volume="none"), "NOT_FOUND"),
        (create_request("v", required=MIB, parameters={"image": "tiny"}), "OUT_OF_RANGE"),
    ],
)
async def test_what_cannot_be_made_is_refused_and_leaves_nothing(
    plant: Plant, co: Orchestrator, request_: Any, code: str
) -> None:
    await plant.until(Kind.IMAGE, "tiny", lambda one: one.get("status", {}).get("phase") == "Ready")
    assert await co.code("CreateVolume", request_) == code
    assert objects_of(plant) == []
    assert plant.leaks() == []


@pytest.mark.parametrize(
    "other",
    [
        create_request("pvc-1", 2 * GIB),
        create_request("pvc-1", limit=MIB),
        create_request("pvc-1", GIB, parameters={"deletionPolicy": "Retain"}),
        create_request("pvc-1", GIB, mutable={"iops": "10"}),
    ],
)
async def test_another_volume_of_the_same_name_is_refused(co: Orchestrator, other: Any) -> None:
    await co.create("pvc-1")
    assert await co.code("CreateVolume", other) == "ALREADY_EXISTS"


async def test_a_clone_of_an_image_takes_its_size(plant: Plant, co: Orchestrator) -> None:
    await plant.until(Kind.IMAGE, "tiny", lambda one: one.get("status", {}).get("phase") == "Ready")
    made = await co.create("boot", 0, parameters={"image": "tiny"})
    assert made.capacity_bytes == 64 * MIB


async def test_a_clone_of_a_volume_names_its_source(co: Orchestrator) -> None:
    await co.create("source")
    made = await co.create("clone", 2 * GIB, volume="source")
    assert made.content_source.volume.volume_id == "source"
    assert made.capacity_bytes == 2 * GIB


async def test_a_backend_that_is_full_is_told_when_nothing_is_left_of_the_try(plant: Plant, co: Orchestrator) -> None:
    async def full(_wish: Any) -> Any:
        raise DpuError(Reason.STORAGE_FULL, "no space left", remedy="add disks")

    plant.store.create_volume = full  # type: ignore[method-assign,assignment]
    with pytest.raises(Refused, match="no space left") as refused:
        await co.create("pvc-1")
    assert refused.value.code == "RESOURCE_EXHAUSTED"
    assert objects_of(plant) == []


async def test_a_backend_that_is_away_keeps_the_call_open_and_a_repeat_joins(plant: Plant, co: Orchestrator) -> None:
    plant.store.reachable = False
    assert await co.code("CreateVolume", create_request("pvc-1", GIB), timeout_s=1) in WAITS
    assert objects_of(plant) == ["Volume/pvc-1"]
    plant.store.reachable = True
    assert (await co.create("pvc-1")).capacity_bytes == GIB


async def test_a_second_call_for_the_same_volume_is_sent_away(plant: Plant, co: Orchestrator) -> None:
    plant.store.reachable = False
    first = asyncio.create_task(co.code("CreateVolume", create_request("pvc-1", GIB), timeout_s=30))
    await plant_has(plant, "Volume/pvc-1")
    assert await co.code("CreateVolume", create_request("pvc-1", GIB)) == "ABORTED"
    assert await co.code("DeleteVolume", pb.DeleteVolumeRequest(volume_id="pvc-1")) == "ABORTED"
    assert await co.code("CreateVolume", create_request("pvc-2", GIB), timeout_s=1) in WAITS
    plant.store.reachable = True
    assert await first == "OK"


async def plant_has(plant: Plant, name: str) -> None:
    """Wait until an object is there."""
    async with asyncio.timeout(30):
        while name not in objects_of(plant):  # noqa: ASYNC110  (a fake has no watch to wait by)
            await asyncio.sleep(0.001)


async def test_a_caller_that_gives_up_frees_the_way_for_its_repeat(plant: Plant, co: Orchestrator) -> None:
    plant.store.reachable = False
    first = asyncio.create_task(co.code("CreateVolume", create_request("pvc-1", GIB), timeout_s=30))
    await plant_has(plant, "Volume/pvc-1")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    plant.store.reachable = True
    assert (await co.create("pvc-1")).volume_id == "pvc-1"


async def test_deleting_what_is_not_there_is_good(co: Orchestrator) -> None:
    for name in ("never-was", "NO/ID", "x" * 128):
        await co.delete(name)
    assert await co.code("DeleteVolume", pb.DeleteVolumeRequest()) == "INVALID_ARGUMENT"


async def test_a_volume_in_use_stays(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1")
    with pytest.raises(Refused, match="host-1") as refused:
        await co.delete("pvc-1")
    assert refused.value.code == "FAILED_PRECONDITION"
    assert "deletionTimestamp" not in plant.api.objects[(Kind.VOLUME, NAMESPACE, "pvc-1")]["metadata"]


async def test_a_volume_with_snapshots_stays(co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.snapshot("snap", "pvc-1")
    with pytest.raises(Refused, match="snap") as refused:
        await co.delete("pvc-1")
    assert refused.value.code == "FAILED_PRECONDITION"


async def test_a_volume_grows_at_its_backend_and_on_its_node(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1")
    answer = await co.call("ControllerExpandVolume", expand("pvc-1", 2 * GIB))
    assert (answer.capacity_bytes, answer.node_expansion_required) == (2 * GIB, True)
    assert [disk.size_bytes for _, disk in plant.dpus["dpu-1"].disks.values()] == [2 * GIB]
    assert await co.call("ControllerExpandVolume", expand("pvc-1", 2 * GIB)) == answer
    assert (await co.call("ControllerExpandVolume", expand("pvc-1", GIB))).capacity_bytes == 2 * GIB


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (expand("", GIB), "INVALID_ARGUMENT"),
        (pb.ControllerExpandVolumeRequest(volume_id="pvc-1"), "INVALID_ARGUMENT"),
        (expand("pvc-1", -1), "INVALID_ARGUMENT"),
        (expand("pvc-1", 0, GIB // 2), "OUT_OF_RANGE"),
        (expand("pvc-1", GIB + 1, GIB + 2), "OUT_OF_RANGE"),
        (expand("none", GIB), "NOT_FOUND"),
    ],
)
async def test_growth_that_cannot_be_is_refused(co: Orchestrator, request_: Any, code: str) -> None:
    await co.create("pvc-1")
    assert await co.code("ControllerExpandVolume", request_) == code


async def test_a_disk_that_cannot_grow_in_use_is_left_as_it_is(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1")
    await plant.api.patch_status(
        Kind.ATTACHMENT, attachment_name("pvc-1", "host-1"), {"status": {"liveResize": False}}, NAMESPACE
    )
    await asyncio.sleep(0.05)
    assert await co.code("ControllerExpandVolume", expand("pvc-1", 2 * GIB)) == "FAILED_PRECONDITION"
    assert [disk.size_bytes for _, disk in plant.dpus["dpu-1"].disks.values()] == [GIB]
    await co.unpublish("pvc-1")
    assert (await co.call("ControllerExpandVolume", expand("pvc-1", 2 * GIB))).capacity_bytes == 2 * GIB


async def test_growth_that_the_backend_refuses_is_undone(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")

    async def full(_volume: str, _size: int) -> Any:
        raise DpuError(Reason.STORAGE_FULL, "no space left", remedy="add disks")

    plant.store.resize_volume = full  # type: ignore[method-assign,assignment]
    assert await co.code("ControllerExpandVolume", expand("pvc-1", 2 * GIB)) == "RESOURCE_EXHAUSTED"
    assert plant.api.objects[(Kind.VOLUME, NAMESPACE, "pvc-1")]["spec"]["size"] == GIB


async def test_limits_reach_the_dpu_while_the_disk_is_in_use(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1", mutable={"iops": "100"})
    await co.publish("pvc-1")
    assert limits_of(plant) == [Qos(iops=100)]
    await co.call("ControllerModifyVolume", modify("pvc-1", read_iops="5", bytes_per_second="1Mi"))
    assert limits_of(plant) == [Qos(read_iops=5, bytes_per_second=MIB)]
    await co.call("ControllerModifyVolume", modify("pvc-1", read_iops="unlimited"))
    assert limits_of(plant) == [Qos(bytes_per_second=MIB)]


@pytest.mark.parametrize("wrong", [{"XXX_FakeKey": "1"}, {"iops": "0"}, {"iops": "9", "read_iops": "9"}])
async def test_a_wrong_parameter_changes_nothing(plant: Plant, co: Orchestrator, wrong: dict[str, str]) -> None:
    await co.create("pvc-1", mutable={"iops": "100"})
    await co.publish("pvc-1")
    before = plant.api.objects[(Kind.VOLUME, NAMESPACE, "pvc-1")]["spec"]
    request = modify("pvc-1", bytes_per_second="5Mi", **wrong)
    assert await co.code("ControllerModifyVolume", request) == "INVALID_ARGUMENT"
    assert plant.api.objects[(Kind.VOLUME, NAMESPACE, "pvc-1")]["spec"] == before
    assert limits_of(plant) == [Qos(iops=100)]


async def test_limits_of_no_volume_are_refused(co: Orchestrator) -> None:
    assert await co.code("ControllerModifyVolume", modify("none", iops="5")) == "NOT_FOUND"
    assert await co.code("ControllerModifyVolume", modify("", iops="5")) == "INVALID_ARGUMENT"


async def test_a_dpu_that_is_away_keeps_a_change_open_and_a_repeat_joins(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1")
    plant.dpus["dpu-1"].go_away()
    code = await co.code("ControllerModifyVolume", modify("pvc-1", iops="5"), timeout_s=1)
    assert code in WAITS
    plant.dpus["dpu-1"].reachable = True
    await co.call("ControllerModifyVolume", modify("pvc-1", iops="5"), timeout_s=30)
    assert limits_of(plant) == [Qos(iops=5)]
