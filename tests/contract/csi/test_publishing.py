"""ControllerPublishVolume and ControllerUnpublishVolume: each rule and each code."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from coordinator.clients.model import DaemonEvent, EventSubject, LinkState
from coordinator.core.objects.kinds import Kind
from proto.csi.v1 import controller_pb2 as pb
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.csi import NAMESPACE, Mode, Orchestrator, Refused, objects_of, orchestrated, publish_request
from tests.fakes.plant import Plant, phase

WAITS = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
READER = Mode.MULTI_NODE_READER_ONLY


def shown(plant: Plant) -> dict[str, int]:
    """Disks by DPU."""
    return {name: len(dpu.disks) for name, dpu in plant.dpus.items()}


async def test_a_node_is_told_how_to_find_its_disk_and_nothing_else(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    told = await co.publish("pvc-1")
    ((_, disk),) = plant.dpus["dpu-1"].disks.values()
    assert told == {
        "dpupool.io/serial": disk.serial,
        "dpupool.io/nguid": disk.nguid,
        "dpupool.io/protocol": "virtio-blk",
        "dpupool.io/slot": "0",
        "dpupool.io/size-bytes": str(disk.size_bytes),
    }
    assert await co.publish("pvc-1") == told
    assert shown(plant) == {"dpu-1": 1, "dpu-2": 0}


async def test_the_class_says_how_the_node_sees_its_disks(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1", parameters={"protocol": "nvme"})
    assert (await co.publish("pvc-1"))["dpupool.io/protocol"] == "nvme"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (publish_request("", "host-1"), "INVALID_ARGUMENT"),
        (publish_request("pvc-1", ""), "INVALID_ARGUMENT"),
        (pb.ControllerPublishVolumeRequest(volume_id="pvc-1", node_id="host-1"), "INVALID_ARGUMENT"),
        (publish_request("pvc-1", mode=Mode.MULTI_NODE_MULTI_WRITER), "INVALID_ARGUMENT"),
        (publish_request("pvc-1", mode=Mode.MULTI_NODE_SINGLE_WRITER), "INVALID_ARGUMENT"),
        (publish_request("pvc-1", "nowhere"), "NOT_FOUND"),
        (publish_request("none"), "NOT_FOUND"),
    ],
)
async def test_what_makes_no_sense_is_refused(plant: Plant, co: Orchestrator, request_: Any, code: str) -> None:
    await co.create("pvc-1")
    assert await co.code("ControllerPublishVolume", request_) == code
    assert shown(plant) == {"dpu-1": 0, "dpu-2": 0}


@pytest.mark.parametrize(
    "mode",
    [
        Mode.SINGLE_NODE_WRITER,
        Mode.SINGLE_NODE_SINGLE_WRITER,
        Mode.SINGLE_NODE_MULTI_WRITER,
        Mode.SINGLE_NODE_READER_ONLY,
        Mode.MULTI_NODE_READER_ONLY,
    ],
)
@pytest.mark.parametrize("fs", ["ext4", None])
async def test_each_supported_use_works_and_readers_cannot_write(
    plant: Plant, co: Orchestrator, mode: int, fs: str | None
) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1", mode=mode, fs=fs)
    ((spec, _),) = plant.dpus["dpu-1"].disks.values()
    assert spec.read_only == (mode in {Mode.SINGLE_NODE_READER_ONLY, Mode.MULTI_NODE_READER_ONLY})


@pytest.mark.parametrize("other", [{"readonly": True}, {"fs": None}, {"mode": Mode.SINGLE_NODE_MULTI_WRITER}])
async def test_another_use_on_the_same_node_is_refused(co: Orchestrator, other: dict[str, Any]) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1")
    assert await co.code("ControllerPublishVolume", publish_request("pvc-1", **other)) == "ALREADY_EXISTS"


async def test_another_node_that_has_the_volume_is_named(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1", "host-1")
    with pytest.raises(Refused, match="node host-1") as refused:
        await co.publish("pvc-1", "host-2")
    assert refused.value.code == "FAILED_PRECONDITION"
    assert shown(plant) == {"dpu-1": 1, "dpu-2": 0}


async def test_many_nodes_read_one_volume(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    both = await asyncio.gather(*(co.publish("pvc-1", node, mode=READER) for node in ("host-1", "host-2")))
    assert both[0]["dpupool.io/serial"] == both[1]["dpupool.io/serial"]
    assert shown(plant) == {"dpu-1": 1, "dpu-2": 1}
    assert await co.code("ControllerPublishVolume", publish_request("pvc-1", "host-1")) == "FAILED_PRECONDITION"
    await co.unpublish("pvc-1", "")
    assert shown(plant) == {"dpu-1": 0, "dpu-2": 0}


async def test_unpublish_takes_the_disk_away_however_often_it_is_asked_for(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1")
    for _ in range(3):
        await co.unpublish("pvc-1")
    assert shown(plant) == {"dpu-1": 0, "dpu-2": 0}
    assert objects_of(plant) == ["Volume/pvc-1"]
    await co.publish("pvc-1", "host-2")
    assert shown(plant) == {"dpu-1": 0, "dpu-2": 1}


async def test_unpublishing_what_is_not_there_is_good(co: Orchestrator) -> None:
    await co.create("pvc-1")
    for volume, node in (("pvc-1", "host-2"), ("pvc-1", "nowhere"), ("none", "host-1"), ("NO/ID", "")):
        await co.unpublish(volume, node)
    assert await co.code("ControllerUnpublishVolume", pb.ControllerUnpublishVolumeRequest()) == "INVALID_ARGUMENT"


async def test_a_full_dpu_is_told_when_nothing_is_left_of_the_try(plant: Plant, co: Orchestrator) -> None:
    async def full(*_: Any) -> Any:
        raise DpuError(Reason.EXHAUSTED, "all 8 disk slots are used", field="disk_slots", remedy="detach one")

    plant.dpus["dpu-1"].attach = full  # type: ignore[method-assign,assignment]
    await co.create("pvc-1")
    with pytest.raises(Refused, match="disk slots") as refused:
        await co.publish("pvc-1")
    assert refused.value.code == "RESOURCE_EXHAUSTED"
    assert objects_of(plant) == ["Volume/pvc-1"]
    await co.publish("pvc-1", "host-2")


async def test_a_dpu_that_is_away_keeps_the_call_open_and_a_repeat_joins(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    plant.dpus["dpu-1"].go_away()
    assert await co.code("ControllerPublishVolume", publish_request("pvc-1"), timeout_s=1) in WAITS
    plant.dpus["dpu-1"].reachable = True
    assert "dpupool.io/serial" in await co.publish("pvc-1")
    assert shown(plant)["dpu-1"] == 1


async def test_a_volume_leaves_a_node_whose_dpu_is_dead_and_is_fenced(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1")
    plant.dpus["dpu-1"].go_away()
    await plant.until(Kind.DPU, "dpu-1", lambda one: phase(one) == "Offline")
    request = pb.ControllerUnpublishVolumeRequest(volume_id="pvc-1", node_id="host-1")
    await co.call("ControllerUnpublishVolume", request, timeout_s=30)
    (volume,) = plant.store.volumes.values()
    assert volume.exported_to == ""
    await co.publish("pvc-1", "host-2")
    assert volume.exported_to == "dpu-2"


async def test_a_publish_waits_for_the_old_disk_of_its_node_to_go(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1")
    dpu = plant.dpus["dpu-1"]
    dpu.stuck = DpuError(Reason.IN_USE, "the host holds on to the disk", field="disk", remedy="wait")
    leave = pb.ControllerUnpublishVolumeRequest(volume_id="pvc-1", node_id="host-1")
    assert await co.code("ControllerUnpublishVolume", leave, timeout_s=1) in WAITS
    publishing = asyncio.create_task(co.publish("pvc-1"))
    await asyncio.sleep(0.05)
    dpu.stuck = None
    assert "dpupool.io/serial" in await publishing
    assert len(dpu.disks) == 1


async def test_a_second_call_for_the_same_volume_and_node_is_sent_away(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    plant.dpus["dpu-1"].go_away()
    first = asyncio.create_task(co.code("ControllerPublishVolume", publish_request("pvc-1"), timeout_s=30))
    await asyncio.sleep(0.05)
    assert await co.code("ControllerPublishVolume", publish_request("pvc-1")) == "ABORTED"
    assert await co.code("DeleteVolume", pb.DeleteVolumeRequest(volume_id="pvc-1")) == "ABORTED"
    plant.dpus["dpu-1"].reachable = True
    assert await first == "OK"


async def test_a_node_that_does_not_reach_the_backend_gets_no_disk(plant: Plant) -> None:
    labels = {"metadata": {"labels": {"topology.dpupool.io/pool": "a"}}}
    await plant.change(Kind.HOST, "host-1", labels)
    async with orchestrated(plant, pools={"file": ["a"]}) as co:
        made = await co.create("pvc-1")
        assert [dict(one.segments) for one in made.accessible_topology] == [{"topology.dpupool.io/pool": "a"}]
        await co.publish("pvc-1", "host-1")
        await co.unpublish("pvc-1", "host-1")
        assert await co.code("ControllerPublishVolume", publish_request("pvc-1", "host-2")) == "FAILED_PRECONDITION"


async def test_an_attachment_made_by_hand_counts(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    body = {
        "metadata": {"name": "by-hand", "namespace": NAMESPACE},
        "spec": {"volumeRef": {"name": "pvc-1"}, "hostRef": {"name": "host-1"}},
    }
    await plant.api.create(Kind.ATTACHMENT, body)
    await asyncio.sleep(0.05)
    await co.publish("pvc-1", "host-1")
    assert "VolumeAttachment/by-hand" in objects_of(plant)
    assert len(objects_of(plant)) == 2
    await co.unpublish("pvc-1", "host-1")
    assert objects_of(plant) == ["Volume/pvc-1"]


async def test_the_identity_of_a_disk_is_the_same_on_every_node(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    first = await co.publish("pvc-1", "host-1")
    await co.unpublish("pvc-1", "host-1")
    second = await co.publish("pvc-1", "host-2")
    assert first["dpupool.io/serial"] == second["dpupool.io/serial"]
    assert first["dpupool.io/nguid"] == second["dpupool.io/nguid"]


async def test_a_degraded_disk_is_told_as_a_condition(plant: Plant, co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1")
    dpu = plant.dpus["dpu-1"]
    ((key, (spec, disk)),) = dpu.disks.items()
    dpu.disks[key] = (spec, replace(disk, state=LinkState.DEGRADED, message="the target is silent"))
    news = DaemonEvent(sequence=0, subject=EventSubject.ATTACHMENT, id=key, reason="x", message="y", warning=True)
    dpu.tell(news)

    def abnormal(one: dict[str, Any]) -> bool:
        return bool(one.get("status", {}).get("condition", {}).get("abnormal"))

    async with asyncio.timeout(30):
        while not abnormal(plant.api.objects[(Kind.VOLUME, NAMESPACE, "pvc-1")]):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.01)
    found = await co.call("ControllerGetVolume", pb.ControllerGetVolumeRequest(volume_id="pvc-1"))
    assert found.status.volume_condition.abnormal
    assert "the target is silent" in found.status.volume_condition.message
    assert list(found.status.published_node_ids) == ["host-1"]
