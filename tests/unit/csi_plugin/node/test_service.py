"""The Node service over a real channel, on a kernel in memory: codes, rules of publishing, repeats."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from csi_plugin.node.model import FileSystem
from csi_plugin.node.service import NodeIdentity, NodeService
from csi_plugin.sockets import UnixServer
from proto.csi.v1 import csi_pb2_grpc, node_pb2, volume_pb2
from tests.fakes.csi_kernel import FakeKernel
from tests.fakes.csi_node import Mode, mounted, raw

LIMIT_S = 20.0
SERIAL = "d0123456789ab"
STAGING, TARGET, OTHER = "/staging/v", "/pods/a/v", "/pods/b/v"
CONTEXT = {"dpupool.io/serial": SERIAL}
Code = grpc.StatusCode


@dataclass
class Node:
    """A client and what it talks of."""

    stub: csi_pb2_grpc.NodeStub
    kernel: FakeKernel

    async def stage(self, wanted: Any = None, path: str = STAGING, **changed: Any) -> None:
        values: dict[str, Any] = {
            "volume_id": "v",
            "publish_context": CONTEXT,
            "staging_target_path": path,
            "volume_capability": wanted or mounted("ext4"),
        }
        await self.stub.NodeStageVolume(node_pb2.NodeStageVolumeRequest(**values | changed), timeout=LIMIT_S)

    async def publish(
        self, wanted: Any = None, target: str = TARGET, *, readonly: bool = False, staging: str = STAGING
    ) -> None:
        request = node_pb2.NodePublishVolumeRequest(
            volume_id="v",
            staging_target_path=staging,
            target_path=target,
            volume_capability=wanted or mounted("ext4"),
            readonly=readonly,
        )
        await self.stub.NodePublishVolume(request, timeout=LIMIT_S)

    async def unpublish(self, target: str = TARGET) -> None:
        request = node_pb2.NodeUnpublishVolumeRequest(volume_id="v", target_path=target)
        await self.stub.NodeUnpublishVolume(request, timeout=LIMIT_S)

    async def unstage(self, path: str = STAGING) -> None:
        request = node_pb2.NodeUnstageVolumeRequest(volume_id="v", staging_target_path=path)
        await self.stub.NodeUnstageVolume(request, timeout=LIMIT_S)

    async def stats(self, path: str) -> node_pb2.NodeGetVolumeStatsResponse:
        request = node_pb2.NodeGetVolumeStatsRequest(volume_id="v", volume_path=path)
        answer: node_pb2.NodeGetVolumeStatsResponse = await self.stub.NodeGetVolumeStats(request, timeout=LIMIT_S)
        return answer

    async def expand(self, path: str, required: int = 0, limit: int = 0) -> int:
        request = node_pb2.NodeExpandVolumeRequest(
            volume_id="v",
            volume_path=path,
            capacity_range=volume_pb2.CapacityRange(required_bytes=required, limit_bytes=limit),
        )
        return int((await self.stub.NodeExpandVolume(request, timeout=LIMIT_S)).capacity_bytes)


@pytest.fixture
async def node(tmp_path: Path, records: Path) -> AsyncIterator[Node]:
    kernel = FakeKernel()
    kernel.plug(SERIAL)
    service = NodeService(NodeIdentity("host-1", 7, "east"), kernel.host(records))
    server = UnixServer(tmp_path / "csi.sock", lambda made: csi_pb2_grpc.add_NodeServicer_to_server(service, made))
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{server.path}") as channel:
        yield Node(csi_pb2_grpc.NodeStub(channel), kernel)
    await server.stop(0)
    await service.drain(LIMIT_S)


async def refused(call: Awaitable[Any], code: grpc.StatusCode, word: str = "") -> None:
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await call
    assert told.value.code() is code, told.value.details()
    assert word in (told.value.details() or "")
    assert told.value.details()


async def test_the_node_says_its_name_its_room_and_its_pool(node: Node) -> None:
    info = await node.stub.NodeGetInfo(node_pb2.NodeGetInfoRequest(), timeout=LIMIT_S)
    assert (info.node_id, info.max_volumes_per_node) == ("host-1", 7)
    assert dict(info.accessible_topology.segments) == {"topology.dpupool.io/pool": "east"}


async def test_the_node_states_what_it_can_and_leaves_groups_of_files_to_the_caller(node: Node) -> None:
    answer = await node.stub.NodeGetCapabilities(node_pb2.NodeGetCapabilitiesRequest(), timeout=LIMIT_S)
    kind = node_pb2.NodeServiceCapability.RPC.Type
    assert {each.rpc.type for each in answer.capabilities} == {
        kind.STAGE_UNSTAGE_VOLUME,
        kind.GET_VOLUME_STATS,
        kind.EXPAND_VOLUME,
        kind.VOLUME_CONDITION,
        kind.SINGLE_NODE_MULTI_WRITER,
    }


async def test_every_call_may_be_repeated(node: Node) -> None:
    for call in (node.stage, node.publish, node.unpublish, node.unstage):
        repeated: Callable[[], Awaitable[None]] = call
        for _ in range(3):
            await repeated()
    assert (node.kernel.mounts, node.kernel.paths - {STAGING}) == ({}, set())


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (node_pb2.NodeStageVolumeRequest(), "volume_id"),
        (node_pb2.NodeStageVolumeRequest(volume_id="v"), "staging_target_path"),
        (node_pb2.NodeStageVolumeRequest(volume_id="v", staging_target_path="/s"), "volume_capability"),
        (node_pb2.NodeStageVolumeRequest(volume_id="v" * 129), "volume_id"),
        (node_pb2.NodeStageVolumeRequest(volume_id="v", staging_target_path="relative"), "staging_target_path"),
        (node_pb2.NodeStageVolumeRequest(volume_id="v", staging_target_path="/s/../t"), "staging_target_path"),
        (
            node_pb2.NodeStageVolumeRequest(
                volume_id="v", staging_target_path="/s", volume_capability=volume_pb2.VolumeCapability()
            ),
            "access_type",
        ),
        (
            node_pb2.NodeStageVolumeRequest(
                volume_id="v", staging_target_path="/s", volume_capability=mounted("", Mode.UNKNOWN)
            ),
            "access_mode",
        ),
        (
            node_pb2.NodeStageVolumeRequest(volume_id="v", staging_target_path="/s", volume_capability=mounted()),
            "publish_context",
        ),
        (node_pb2.NodePublishVolumeRequest(), "volume_id"),
        (node_pb2.NodePublishVolumeRequest(volume_id="v"), "target_path"),
        (node_pb2.NodePublishVolumeRequest(volume_id="v", target_path="/t"), "volume_capability"),
        (node_pb2.NodeUnpublishVolumeRequest(), "volume_id"),
        (node_pb2.NodeUnpublishVolumeRequest(volume_id="v"), "target_path"),
        (node_pb2.NodeUnpublishVolumeRequest(volume_id="v", target_path="/"), "target_path"),
        (node_pb2.NodeUnstageVolumeRequest(), "volume_id"),
        (node_pb2.NodeUnstageVolumeRequest(volume_id="v"), "staging_target_path"),
        (node_pb2.NodeGetVolumeStatsRequest(), "volume_id"),
        (node_pb2.NodeGetVolumeStatsRequest(volume_id="v"), "volume_path"),
        (node_pb2.NodeExpandVolumeRequest(), "volume_id"),
        (node_pb2.NodeExpandVolumeRequest(volume_id="v"), "volume_path"),
    ],
)
async def test_what_is_missing_or_wrong_is_named(node: Node, request_: Any, field: str) -> None:
    method = getattr(node.stub, type(request_).__name__.removesuffix("Request"))
    await refused(method(request_, timeout=LIMIT_S), Code.INVALID_ARGUMENT, field)


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        (mounted("btrfs"), "fs_type"),
        (mounted("ext4", Mode.MULTI_NODE_MULTI_WRITER), "access_mode"),
        (mounted("ext4", Mode.MULTI_NODE_SINGLE_WRITER), "access_mode"),
        (
            volume_pb2.VolumeCapability(
                mount=volume_pb2.VolumeCapability.MountVolume(volume_mount_group="1000"),
                access_mode=volume_pb2.VolumeCapability.AccessMode(mode=Mode.SINGLE_NODE_WRITER),
            ),
            "volume_mount_group",
        ),
    ],
)
async def test_a_capability_that_cannot_be_is_refused_before_anything_is_done(
    node: Node, wanted: volume_pb2.VolumeCapability, word: str
) -> None:
    await refused(node.stage(wanted), Code.FAILED_PRECONDITION, word)
    assert node.kernel.points == 0


async def test_a_volume_staged_otherwise_or_elsewhere_is_refused(node: Node) -> None:
    await node.stage()
    await refused(node.stage(mounted("ext4", Mode.SINGLE_NODE_READER_ONLY)), Code.ALREADY_EXISTS)
    await refused(node.stage(raw()), Code.ALREADY_EXISTS)
    await refused(node.stage(path="/staging/elsewhere"), Code.FAILED_PRECONDITION, STAGING)


async def test_a_stage_that_came_to_nothing_may_be_asked_for_otherwise(node: Node) -> None:
    disk = node.kernel.disks.pop(SERIAL)
    await refused(node.stage(mounted("ext4")), Code.DEADLINE_EXCEEDED)
    node.kernel.disks[SERIAL] = disk
    await node.stage(mounted("xfs"))
    assert disk.content == "xfs"


async def test_what_is_not_staged_cannot_be_published(node: Node) -> None:
    await refused(node.publish(), Code.FAILED_PRECONDITION, "not staged")
    await node.stage()
    await refused(node.publish(staging=""), Code.FAILED_PRECONDITION)
    await refused(node.publish(staging="/staging/elsewhere"), Code.FAILED_PRECONDITION)
    await refused(node.publish(raw()), Code.FAILED_PRECONDITION, "staged as mount")


async def test_the_same_path_with_other_arguments_is_refused(node: Node) -> None:
    await node.stage()
    await node.publish()
    await refused(node.publish(readonly=True), Code.ALREADY_EXISTS)


@pytest.mark.parametrize(
    ("mode", "allowed"),
    [
        (Mode.SINGLE_NODE_WRITER, False),
        (Mode.SINGLE_NODE_READER_ONLY, False),
        (Mode.SINGLE_NODE_SINGLE_WRITER, False),
        (Mode.SINGLE_NODE_MULTI_WRITER, True),
        (Mode.MULTI_NODE_READER_ONLY, True),
        (Mode.MULTI_NODE_SINGLE_WRITER, True),
        (Mode.MULTI_NODE_MULTI_WRITER, True),
    ],
)
async def test_the_access_mode_says_whether_there_may_be_a_second_path(node: Node, mode: Mode, allowed: bool) -> None:
    await node.stage(raw(mode))
    await node.publish(raw(mode))
    if allowed:
        await node.publish(raw(mode), OTHER)
    else:
        await refused(node.publish(raw(mode), OTHER), Code.FAILED_PRECONDITION, TARGET)


async def test_a_disk_is_not_writable_at_one_path_and_protected_at_another(node: Node) -> None:
    wanted = raw(Mode.SINGLE_NODE_MULTI_WRITER)
    await node.stage(wanted)
    await node.publish(wanted)
    await refused(node.publish(wanted, OTHER, readonly=True), Code.FAILED_PRECONDITION, "readonly")
    await node.unpublish()
    await node.publish(wanted, OTHER, readonly=True)
    assert node.kernel.disks[SERIAL].protected


async def test_a_published_volume_is_not_unstaged(node: Node) -> None:
    await node.stage()
    await node.publish()
    await refused(node.unstage(), Code.FAILED_PRECONDITION, TARGET)


async def test_what_is_open_keeps_its_mount_until_it_is_closed(node: Node) -> None:
    await node.stage()
    await node.publish()
    node.kernel.busy.add(TARGET)
    await refused(node.unpublish(), Code.FAILED_PRECONDITION)
    node.kernel.busy.clear()
    await node.unpublish()


async def test_a_mount_whose_disk_is_gone_goes_though_something_uses_it(node: Node) -> None:
    await node.stage()
    await node.publish()
    node.kernel.disks.clear()
    node.kernel.busy.update({TARGET, STAGING})
    await node.unpublish()
    await node.unstage()
    assert node.kernel.mounts == {}


async def test_a_disk_that_came_back_as_another_device_is_staged_and_published_anew(node: Node) -> None:
    await node.stage()
    await node.publish()
    node.kernel.disks[SERIAL].number = "259:9"
    await refused(node.publish(), Code.FAILED_PRECONDITION, "stage it again")
    await node.stage()
    await node.publish()
    assert {entry.device for entry in node.kernel.mounts.values()} == {"259:9"}


async def test_a_living_mount_of_somebody_else_is_left_alone(node: Node) -> None:
    node.kernel.plug("foreign", content="ext4")
    await node.stage()
    entry = node.kernel.mounts[STAGING]
    foreign = type(entry)(TARGET, "253:2", "/", entry.options, "ext4", frozenset(), shared=True)
    node.kernel.mounts[TARGET] = foreign
    await refused(node.publish(), Code.ALREADY_EXISTS, "something else")
    assert node.kernel.mounts[TARGET] is foreign


async def test_a_folder_with_data_of_its_own_is_not_removed(node: Node) -> None:
    node.kernel.paths.add(TARGET)
    node.kernel.full.add(TARGET)
    await refused(node.unpublish(), Code.FAILED_PRECONDITION)


@pytest.mark.parametrize("content", ["crypto_LUKS", "LVM2_member", "gpt", "ntfs", "xfs"])
async def test_a_disk_with_a_signature_is_never_formatted(node: Node, content: str) -> None:
    node.kernel.disks[SERIAL].content = content
    await refused(node.stage(mounted("ext4")), Code.FAILED_PRECONDITION, content)
    assert node.kernel.disks[SERIAL].content == content


async def test_what_is_on_the_disk_is_taken_when_no_file_system_is_asked_for(node: Node) -> None:
    node.kernel.disks[SERIAL].content = "xfs"
    await node.stage(mounted())
    assert node.kernel.mounts[STAGING].kind == "xfs"
    assert "nouuid" in node.kernel.mounts[STAGING].options


async def test_a_blank_disk_gets_the_file_system_of_the_settings(node: Node) -> None:
    await node.stage(mounted())
    assert node.kernel.disks[SERIAL].content == FileSystem.EXT4.value


async def test_a_clone_larger_than_its_source_is_filled_when_it_is_staged(node: Node) -> None:
    disk = node.kernel.disks[SERIAL]
    disk.content, disk.filled_bytes = "ext4", disk.size_bytes // 2
    await node.stage()
    assert disk.filled_bytes == disk.size_bytes


async def test_a_disk_that_only_reads_is_mounted_without_replaying_its_journal(node: Node) -> None:
    disk = node.kernel.disks[SERIAL]
    disk.content, disk.read_only = "ext4", True
    await node.stage()
    assert {"ro", "noload"} <= node.kernel.mounts[STAGING].options


async def test_a_volume_elsewhere_is_not_found(node: Node) -> None:
    await refused(node.stats(TARGET), Code.NOT_FOUND)
    await refused(node.expand(TARGET), Code.NOT_FOUND)
    await node.stage()
    await refused(node.stats(TARGET), Code.NOT_FOUND)
    assert len((await node.stats(STAGING)).usage) == 2


async def test_a_disk_that_is_away_or_silent_is_told(node: Node) -> None:
    await node.stage()
    node.kernel.silent.add(node.kernel.disks[SERIAL].number)
    assert "does not answer" in (await node.stats(STAGING)).volume_condition.message
    node.kernel.disks.clear()
    condition = (await node.stats(STAGING)).volume_condition
    assert condition.abnormal
    assert "went away" in condition.message


async def test_a_volume_grows_within_its_limits(node: Node) -> None:
    await node.stage()
    await node.publish()
    disk = node.kernel.disks[SERIAL]
    await refused(node.expand(TARGET, disk.size_bytes + 1), Code.UNAVAILABLE)
    disk.size_bytes *= 2
    assert await node.expand(TARGET, disk.size_bytes) == disk.size_bytes
    assert disk.filled_bytes == disk.size_bytes
    await refused(node.expand(TARGET, 1, disk.size_bytes - 1), Code.OUT_OF_RANGE)
    await refused(node.expand(TARGET, 9, 8), Code.OUT_OF_RANGE)
    await refused(node.expand(TARGET, -1), Code.INVALID_ARGUMENT)


async def test_a_volume_mounted_for_reading_does_not_grow(node: Node) -> None:
    node.kernel.disks[SERIAL].content = "ext4"
    await node.stage(mounted("ext4", Mode.SINGLE_NODE_READER_ONLY))
    await refused(node.expand(STAGING), Code.FAILED_PRECONDITION, "read-only")


async def test_a_disk_given_to_a_driver_is_published_as_its_group_and_comes_back(node: Node) -> None:
    context = {"dpupool.io/driver": "vfio-pci"}
    await node.stage(raw(), volume_context=context)
    assert node.kernel.disks[SERIAL].driver == "vfio-pci"
    await node.stage(raw(), volume_context=context)
    await node.publish(raw())
    assert node.kernel.mounts[TARGET].device == "dev:/dev/vfio/7"
    assert not (await node.stats(TARGET)).volume_condition.abnormal
    await node.unpublish()
    await node.unstage()
    assert node.kernel.disks[SERIAL].driver == "virtio-pci"


async def test_a_driver_is_only_given_whole_disks_that_are_pci_functions(node: Node) -> None:
    context = {"dpupool.io/driver": "vfio-pci"}
    await refused(node.stage(mounted(), volume_context=context), Code.FAILED_PRECONDITION)
    await refused(node.stage(raw(), volume_context={"dpupool.io/driver": "nvme"}), Code.INVALID_ARGUMENT)
    node.kernel.disks[SERIAL].pci_address = ""
    await refused(node.stage(raw(), volume_context=context), Code.FAILED_PRECONDITION, "no PCI function")


async def test_two_calls_at_once_for_one_volume_are_not_both_run(node: Node) -> None:
    answers = await asyncio.gather(*(node.stage() for _ in range(8)), return_exceptions=True)
    codes = {answer.code() for answer in answers if isinstance(answer, grpc.aio.AioRpcError)}
    assert codes <= {Code.ABORTED}
    assert None in answers
