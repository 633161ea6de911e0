"""Lists and their pages, single finds, capacity, validation, identity."""

from collections.abc import AsyncIterator

import pytest

from proto.csi.v1 import controller_pb2 as pb
from proto.csi.v1 import identity_pb2, snapshot_pb2, volume_pb2
from tests.fakes.csi import GIB, Mode, Orchestrator, capability, orchestrated
from tests.fakes.plant import Plant


async def pages(co: Orchestrator, size: int) -> AsyncIterator[list[str]]:
    token = ""
    while True:
        request = pb.ListVolumesRequest(max_entries=size, starting_token=token)
        answer = await co.call("ListVolumes", request)
        yield [entry.volume.volume_id for entry in answer.entries]
        token = answer.next_token
        if not token:
            return


async def test_volumes_are_listed_page_by_page_whatever_comes_and_goes(co: Orchestrator) -> None:
    for number in range(5):
        await co.create(f"v{number}")
    seen: list[str] = []
    async for shown in pages(co, 2):
        if not seen:
            await co.delete("v1")
            await co.create("v9")
        seen += shown
    assert seen == ["v0", "v1", "v2", "v3", "v4", "v9"]


async def test_a_list_says_where_volumes_are_published(co: Orchestrator) -> None:
    await co.create("pvc-1")
    await co.publish("pvc-1", mode=Mode.MULTI_NODE_READER_ONLY)
    await co.publish("pvc-1", "host-2", mode=Mode.MULTI_NODE_READER_ONLY)
    (entry,) = (await co.call("ListVolumes", pb.ListVolumesRequest())).entries
    assert list(entry.status.published_node_ids) == ["host-1", "host-2"]
    assert not entry.status.volume_condition.abnormal


@pytest.mark.parametrize("method", ["ListVolumes", "ListSnapshots"])
async def test_a_bad_token_is_aborted_and_a_bad_number_refused(co: Orchestrator, method: str) -> None:
    kind = pb.ListVolumesRequest if method == "ListVolumes" else snapshot_pb2.ListSnapshotsRequest
    assert await co.code(method, kind(starting_token="invalid-token")) == "ABORTED"
    assert await co.code(method, kind(max_entries=-1)) == "INVALID_ARGUMENT"


async def test_snapshots_are_listed_by_id_by_volume_and_by_page(co: Orchestrator) -> None:
    for volume in ("a", "b"):
        await co.create(volume)
        for number in range(2):
            await co.snapshot(f"{volume}-{number}", volume)

    async def listed(**asked: object) -> list[str]:
        answer = await co.call("ListSnapshots", snapshot_pb2.ListSnapshotsRequest(**asked))  # type: ignore[arg-type]
        return [entry.snapshot.snapshot_id for entry in answer.entries]

    assert await listed() == ["a-0", "a-1", "b-0", "b-1"]
    assert await listed(snapshot_id="b-1") == ["b-1"]
    assert await listed(source_volume_id="a") == ["a-0", "a-1"]
    assert await listed(snapshot_id="none") == []
    assert await listed(source_volume_id="none") == []
    assert await listed(max_entries=3) == ["a-0", "a-1", "b-0"]


async def test_a_volume_is_found_or_not(co: Orchestrator) -> None:
    made = await co.create("pvc-1")
    found = await co.call("ControllerGetVolume", pb.ControllerGetVolumeRequest(volume_id="pvc-1"))
    assert found.volume == made
    assert found.status.volume_condition.message
    assert await co.code("ControllerGetVolume", pb.ControllerGetVolumeRequest(volume_id="none")) == "NOT_FOUND"
    assert await co.code("ControllerGetVolume", pb.ControllerGetVolumeRequest()) == "INVALID_ARGUMENT"


async def test_what_is_supported_is_confirmed_and_what_is_not_is_said(co: Orchestrator) -> None:
    await co.create("pvc-1")

    async def validated(**asked: object) -> pb.ValidateVolumeCapabilitiesResponse:
        usual = {"volume_id": "pvc-1", "volume_capabilities": [capability()]}
        request = pb.ValidateVolumeCapabilitiesRequest(**(usual | asked))  # type: ignore[arg-type]
        answer: pb.ValidateVolumeCapabilitiesResponse = await co.call("ValidateVolumeCapabilities", request)
        return answer

    good = await validated(volume_context={"dpupool.io/backend": "file"}, parameters={"protocol": "nvme"})
    assert list(good.confirmed.volume_capabilities) == [capability()]
    assert dict(good.confirmed.parameters) == {"protocol": "nvme"}
    assert not good.message
    bad = (
        {"volume_capabilities": [capability(), capability(Mode.MULTI_NODE_MULTI_WRITER)]},
        {"volume_context": {"dpupool.io/backend": "other"}},
        {"parameters": {"x": "y"}},
        {"mutable_parameters": {"x": "y"}},
    )
    for asked in bad:
        answer = await validated(**asked)
        assert not answer.HasField("confirmed")
        assert answer.message


@pytest.mark.parametrize(
    ("volume", "asked", "code"),
    [
        ("", [capability()], "INVALID_ARGUMENT"),
        ("pvc-1", [], "INVALID_ARGUMENT"),
        ("none", [capability()], "NOT_FOUND"),
    ],
)
async def test_nothing_is_validated_without_its_arguments(
    co: Orchestrator, volume: str, asked: list[volume_pb2.VolumeCapability], code: str
) -> None:
    await co.create("pvc-1")
    request = pb.ValidateVolumeCapabilitiesRequest(volume_id=volume, volume_capabilities=asked)
    assert await co.code("ValidateVolumeCapabilities", request) == code


async def test_capacity_is_the_backends_and_none_where_volumes_cannot_be(plant: Plant) -> None:
    async with orchestrated(plant, pools={"file": ["a"]}) as co:

        async def free(**asked: object) -> int:
            answer = await co.call("GetCapacity", pb.GetCapacityRequest(**asked))  # type: ignore[arg-type]
            return int(answer.available_capacity)

        there = (await plant.store.capacity()).available_bytes
        assert await free() == there
        assert await free(accessible_topology={"segments": {"topology.dpupool.io/pool": "a"}}) == there
        assert await free(accessible_topology={"segments": {"topology.dpupool.io/pool": "b"}}) == 0
        assert await free(volume_capabilities=[capability(Mode.MULTI_NODE_MULTI_WRITER)]) == 0
        wrong = pb.GetCapacityRequest(parameters={"backend": "none"})
        assert await co.code("GetCapacity", wrong) == "INVALID_ARGUMENT"
        plant.store.reachable = False
        assert await co.code("GetCapacity", pb.GetCapacityRequest()) == "UNAVAILABLE"


async def test_who_the_plug_in_is_is_answered_while_everything_is_down(plant: Plant) -> None:
    plant.store.reachable = False
    async with orchestrated(plant, wait=False) as co:
        info = await co.call("GetPluginInfo", identity_pb2.GetPluginInfoRequest())
        assert info.name == "csi.dpupool.io"
        assert info.vendor_version
        kinds = identity_pb2.PluginCapability
        able = (await co.call("GetPluginCapabilities", identity_pb2.GetPluginCapabilitiesRequest())).capabilities
        assert [one.service.type for one in able if one.HasField("service")] == [
            kinds.Service.CONTROLLER_SERVICE,
            kinds.Service.GROUP_CONTROLLER_SERVICE,
        ]
        assert [one.volume_expansion.type for one in able if one.HasField("volume_expansion")] == [
            kinds.VolumeExpansion.ONLINE
        ]
        rpcs = (await co.call("ControllerGetCapabilities", pb.ControllerGetCapabilitiesRequest())).capabilities
        assert {one.rpc.type for one in rpcs} == set(range(1, 16))
        assert not await co.probe()
        assert await co.code("ListVolumes", pb.ListVolumesRequest()) == "UNAVAILABLE"


async def test_the_plug_in_is_ready_when_it_knows_its_objects(co: Orchestrator) -> None:
    assert await co.probe()


async def test_topology_is_stated_where_it_matters(plant: Plant) -> None:
    async with orchestrated(plant, pools={"file": ["a"]}) as co:
        able = (await co.call("GetPluginCapabilities", identity_pb2.GetPluginCapabilitiesRequest())).capabilities
        service = identity_pb2.PluginCapability.Service
        assert service.VOLUME_ACCESSIBILITY_CONSTRAINTS in {one.service.type for one in able}
        made = await co.create("pvc-1", GIB)
        assert len(made.accessible_topology) == 1
