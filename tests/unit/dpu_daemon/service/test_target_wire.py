"""Storage node calls over the wire: sources, snapshots, credentials, and what is wrong with them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from dpu_daemon.service.target_wire import check_nqn, to_members, to_source
from proto.dpu.v1 import storage_pb2, target_pb2, target_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import fake_storage

MIB = 1 << 20
NQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111"


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[Any]:
    async with fake_storage(tmp_path) as storage:
        yield target_pb2_grpc.TargetServiceStub(storage.channel())


async def _volume(stub: Any, volume_id: str, **source: str) -> target_pb2.VolumeInfo:
    request = target_pb2.CreateVolumeRequest(volume_id=volume_id, size_bytes=8 * MIB, **source)
    made: target_pb2.VolumeInfo = await stub.CreateVolume(request)
    return made


def _group(**members: str) -> target_pb2.CreateSnapshotsRequest:
    asked = [target_pb2.SnapshotMember(snapshot_id=key, volume_id=value) for key, value in members.items()]
    return target_pb2.CreateSnapshotsRequest(members=asked)


async def test_snapshots_are_cut_listed_cloned_and_deleted(stub: Any) -> None:
    for volume_id in ("vol-1", "vol-2"):
        await _volume(stub, volume_id)
    cut = await stub.CreateSnapshots(_group(a="vol-1", b="vol-2"))
    assert [(each.snapshot_id, each.volume_id, each.size_bytes) for each in cut.snapshots] == [
        ("a", "vol-1", 8 * MIB),
        ("b", "vol-2", 8 * MIB),
    ]
    assert all(each.created_unix_ms and each.message for each in cut.snapshots)
    clone = await _volume(stub, "vol-3", source_snapshot_id="a")
    copy = await _volume(stub, "vol-4", source_volume_id="vol-2")
    assert (clone.source_snapshot_id, clone.source_volume_id) == ("a", "")
    assert (copy.source_snapshot_id, copy.source_volume_id) == ("", "vol-2")
    await stub.DeleteSnapshot(target_pb2.DeleteSnapshotRequest(snapshot_id="a"))
    listed = await stub.ListSnapshots(target_pb2.ListSnapshotsRequest())
    assert [each.snapshot_id for each in listed.snapshots] == ["b"]
    capacity = await stub.GetCapacity(target_pb2.GetCapacityRequest())
    assert (capacity.consistent_groups, capacity.transport) == (True, "nbd+tcp")


async def test_secrets_are_kept_and_never_sent_back_nor_deleted_in_use(stub: Any, tmp_path: Path) -> None:
    await _volume(stub, "vol-1")
    sent = storage_pb2.StorageCredentials(name="dpu-1", tls_psk="ab" * 16)
    await stub.PutCredentials(storage_pb2.PutCredentialsRequest(credentials=sent))
    asked = target_pb2.ExportVolumeRequest(
        volume_id="vol-1", dpu="dpu-1", generation=1, host_nqn=NQN, credentials="dpu-1"
    )
    await stub.ExportVolume(asked)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.DeleteCredentials(storage_pb2.DeleteCredentialsRequest(name="dpu-1"))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    bad = storage_pb2.StorageCredentials(name="dpu-1", tls_psk="hunter2")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.PutCredentials(storage_pb2.PutCredentialsRequest(credentials=bad))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "hunter2" not in str(refused.value)


def test_a_volume_has_one_source_at_most_and_not_itself() -> None:
    for request in (
        target_pb2.CreateVolumeRequest(volume_id="v", source_image_id="i", source_snapshot_id="s"),
        target_pb2.CreateVolumeRequest(volume_id="v", source_volume_id="v"),
    ):
        with pytest.raises(DpuError) as refused:
            to_source(request)
        assert refused.value.reason is Reason.INVALID


def test_a_snapshot_id_comes_once() -> None:
    twice = [target_pb2.SnapshotMember(snapshot_id="s", volume_id=each) for each in ("v", "w")]
    with pytest.raises(DpuError) as refused:
        to_members(target_pb2.CreateSnapshotsRequest(members=twice))
    assert refused.value.field == "members[1].snapshot_id"


@pytest.mark.parametrize("value", [NQN, "", "nqn.2025-01.io.dpupool:x"])
def test_a_name_of_a_host_is_taken(value: str) -> None:
    assert check_nqn("host_nqn", value) == value


@pytest.mark.parametrize(
    "value", ["nqn", "nqn.2026-13.io.x:a", "nqn.2026-01.io.x:" + "a" * 223, "nqn.2026-01.io.x:a b"]
)
def test_what_spdk_would_take_for_a_name_is_refused(value: str) -> None:
    with pytest.raises(DpuError) as refused:
        check_nqn("host_nqn", value)
    assert refused.value.field == "host_nqn"
