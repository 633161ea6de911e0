"""What each kind of OPI object does beyond what all do: fields, secrets, references, limits, counters."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from dpu_daemon.model.disk import DiskStats
from dpu_daemon.model.opi import NO_LIMITS, Limits
from proto.opi_api.storage.v1 import (
    backend_null_pb2,
    backend_nvme_pb2,
    frontend_nvme_pb2,
    frontend_virtio_blk_pb2,
    frontend_virtio_scsi_pb2,
    frontend_virtio_scsi_pb2_grpc,
    middleend_encryption_pb2,
    middleend_qos_volume_pb2,
)
from proto.opi_api.storage.v1 import opicommon_pb2 as common
from tests.fakes.opi_client import HOST, KEY, NQN, PSK, TARGET, OpiClient, function, refused
from tests.fakes.opi_daemon import OpiDaemon

Code = grpc.StatusCode
INT32_MAX = (1 << 31) - 1


async def test_a_remote_subsystems_namespaces_can_be_listed_shown_and_counted(
    opi: OpiClient, daemon: OpiDaemon
) -> None:
    daemon.fake().state.targets[TARGET] = {1: 4096, 7: 8192}
    await opi.make_remote()
    await opi.make_path("p1")
    await opi.make_path("p2", port=4430)
    found = await opi.remote.ListNvmeRemoteNamespaces(
        backend_nvme_pb2.ListNvmeRemoteNamespacesRequest(parent="nvmeRemoteControllers/c1")
    )
    names = [space.name for space in found.nvme_remote_namespaces]
    assert names == [f"nvmeRemoteControllers/c1/nvmeRemoteNamespaces/n{nsid}" for nsid in (1, 7)]
    assert (await opi.get(names[1])).nsid == 7
    await opi.make_subsystem()
    await opi.make_namespace(names[1])
    await opi.delete("nvmeRemoteControllers/c1/nvmePaths/p1")
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.delete("nvmeRemoteControllers/c1/nvmePaths/p2")
    assert "nvmeSubsystems/s1/nvmeNamespaces/ns1" in error.said
    with refused(Code.FAILED_PRECONDITION):
        await opi.delete("nvmeRemoteControllers/c1")


async def test_a_path_to_a_target_that_does_not_answer_is_undone_and_can_be_asked_for_again(
    opi: OpiClient, daemon: OpiDaemon
) -> None:
    await opi.make_remote()
    with refused(Code.UNAVAILABLE):
        await opi.make_path()
    with refused(Code.NOT_FOUND):
        await opi.get("nvmeRemoteControllers/c1/nvmePaths/p1")
    daemon.fake().state.targets[TARGET] = {1: 4096}
    assert (await opi.make_path()).fabrics.hostnqn == HOST


async def test_paths_of_a_controller_share_subsystem_and_host_and_differ_in_address(
    opi: OpiClient, daemon: OpiDaemon
) -> None:
    daemon.fake().state.targets |= {TARGET: {1: 4096}, f"{TARGET}-2": {1: 4096}}
    await opi.make_remote()
    await opi.make_path()
    with refused(Code.INVALID_ARGUMENT):
        await opi.make_path("p2", port=4430, nqn=f"{TARGET}-2")
    with refused(Code.ALREADY_EXISTS):
        await opi.make_path("p2")
    await opi.make_remote("c2")
    with refused(Code.ALREADY_EXISTS) as error:
        await opi.make_path("p2", controller="c2", port=4430)
    assert "nvmeRemoteControllers/c1" in error.said


async def test_a_controller_without_multipath_has_one_path(opi: OpiClient, daemon: OpiDaemon) -> None:
    daemon.fake().state.targets[TARGET] = {1: 4096}
    await opi.make_remote(multipath=backend_nvme_pb2.NVME_MULTIPATH_DISABLE)
    await opi.make_path()
    with refused(Code.FAILED_PRECONDITION):
        await opi.make_path("p2", port=4430)


async def test_a_controllers_options_are_fixed_while_it_has_paths(opi: OpiClient, daemon: OpiDaemon) -> None:
    daemon.fake().state.targets[TARGET] = {1: 4096}
    await opi.make_remote()
    message = backend_nvme_pb2.NvmeRemoteController(io_queues_count=4)
    assert (await opi.update("nvmeRemoteControllers/c1", message, "io_queues_count")).io_queues_count == 4
    await opi.make_path()
    message = backend_nvme_pb2.NvmeRemoteController(io_queues_count=8)
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.update("nvmeRemoteControllers/c1", message, "io_queues_count")
    assert "io_queues_count" in error.said


async def test_a_reset_needs_a_path(opi: OpiClient, daemon: OpiDaemon) -> None:
    request = backend_nvme_pb2.ResetNvmeRemoteControllerRequest(name="nvmeRemoteControllers/c1")
    await opi.make_remote()
    with refused(Code.FAILED_PRECONDITION):
        await opi.remote.ResetNvmeRemoteController(request)
    daemon.fake().state.targets[TARGET] = {1: 4096}
    await opi.make_path()
    await opi.remote.ResetNvmeRemoteController(request)


async def test_secrets_are_in_the_store_and_in_no_answer_and_no_journal(
    opi: OpiClient, daemon: OpiDaemon, tmp_path: Path
) -> None:
    await opi.make_null("n1")
    encrypted = await opi.make_encrypted("nullVolumes/n1")
    remote = await opi.make_remote(tcp=backend_nvme_pb2.TcpController(psk=PSK))
    subsystem = await opi.make_subsystem(hostnqn=HOST, psk=PSK)
    assert (encrypted.key, remote.tcp.psk, subsystem.spec.psk) == (b"", b"", b"")
    assert sorted(each.tls_psk or each.volume_key.hex() for each in daemon.around.store.sets.values()) == sorted(
        [KEY.hex(), PSK.decode(), PSK.decode()]
    )
    journals = _journals(tmp_path)
    assert PSK not in journals
    assert KEY not in journals
    assert KEY.hex().encode() not in journals
    for name in ("encryptedVolumes/e1", "nvmeRemoteControllers/c1", "nvmeSubsystems/s1"):
        await opi.delete(name)
    assert daemon.around.store.sets == {}


def _journals(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.glob("dpu.db*"))


async def test_the_same_key_again_is_the_same_volume_and_another_one_is_refused(opi: OpiClient) -> None:
    await opi.make_null("n1")
    first = await opi.make_encrypted("nullVolumes/n1")
    assert await opi.make_encrypted("nullVolumes/n1") == first
    with refused(Code.ALREADY_EXISTS) as error:
        await opi.make_encrypted("nullVolumes/n1", key=bytes(reversed(KEY)))
    assert error.said == "encryptedVolumes/e1 exists with another secret"
    message = middleend_encryption_pb2.EncryptedVolume(key=bytes(reversed(KEY)))
    with refused(Code.INVALID_ARGUMENT) as error:
        await opi.update("encryptedVolumes/e1", message, "key")
    assert "fixed at creation" in error.said


@pytest.mark.parametrize("key", [b"", KEY[:31], KEY[:16] * 2, KEY * 2])
async def test_a_key_that_xts_cannot_use_is_refused_without_being_repeated(opi: OpiClient, key: bytes) -> None:
    await opi.make_null("n1")
    with refused(Code.INVALID_ARGUMENT) as error:
        await opi.make_encrypted("nullVolumes/n1", key=key)
    assert key.hex()[:8] not in error.said or not key


async def test_a_volume_has_one_user(opi: OpiClient) -> None:
    await opi.make_null("n1")
    await opi.make_encrypted("nullVolumes/n1")
    await opi.make_subsystem()
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.make_namespace("nullVolumes/n1")
    assert error.said == "nullVolumes/n1 is used by encryptedVolumes/e1"
    await opi.make_namespace("encryptedVolumes/e1")
    with refused(Code.FAILED_PRECONDITION):
        await opi.make_virtio("encryptedVolumes/e1")


async def test_limits_hold_as_soon_as_something_uses_the_volume_and_go_with_their_object(
    opi: OpiClient, daemon: OpiDaemon
) -> None:
    state = daemon.fake().state
    await opi.make_null("n1")
    await opi.make_qos("nullVolumes/n1", rw_iops_kiops=5)
    assert [bdev.limits for bdev in state.bdevs.values()] == [NO_LIMITS]
    await opi.make_subsystem()
    await opi.make_namespace("qosVolumes/q1")
    assert [bdev.limits for bdev in state.bdevs.values()] == [Limits(rw_iops_kiops=5)]
    message = middleend_qos_volume_pb2.QosVolume()
    message.limits.max.rw_bandwidth_mbs = 7
    await opi.update("qosVolumes/q1", message, "limits.max.rw_bandwidth_mbs")
    assert [bdev.limits for bdev in state.bdevs.values()] == [Limits(rw_iops_kiops=5, rw_bandwidth_mbs=7)]
    await opi.delete("nvmeSubsystems/s1/nvmeNamespaces/ns1")
    await opi.make_namespace("nullVolumes/n1")
    await opi.delete("qosVolumes/q1")
    assert [bdev.limits for bdev in state.bdevs.values()] == [NO_LIMITS]


async def test_limits_that_outlived_their_object_go_when_the_volume_is_shown_again(
    opi: OpiClient, daemon: OpiDaemon
) -> None:
    await opi.make_null("n1")
    await opi.make_qos("nullVolumes/n1")
    await opi.make_virtio("nullVolumes/n1")
    await opi.delete("virtioBlks/v1")
    await opi.delete("qosVolumes/q1")
    await opi.make_virtio("nullVolumes/n1")
    assert [bdev.limits for bdev in daemon.fake().state.bdevs.values()] == [NO_LIMITS]


async def test_two_objects_do_not_limit_one_volume(opi: OpiClient) -> None:
    await opi.make_null("n1")
    await opi.make_qos("nullVolumes/n1")
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.make_qos("nullVolumes/n1", "q2")
    assert error.said == "nullVolumes/n1 has its limits from qosVolumes/q1"
    with refused(Code.FAILED_PRECONDITION):
        await opi.make_virtio("nullVolumes/n1", max_limit=common.QosLimit(rw_iops_kiops=1))


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"rd_iops_kiops": 1}, Code.UNIMPLEMENTED),
        ({"rw_iops_kiops": -1}, Code.INVALID_ARGUMENT),
        ({"rw_bandwidth_mbs": 0}, Code.INVALID_ARGUMENT),
    ],
)
async def test_limits_that_cannot_be_are_refused(opi: OpiClient, limits: dict[str, Any], code: grpc.StatusCode) -> None:
    await opi.make_null("n1")
    with refused(code):
        await opi.make_qos("nullVolumes/n1", **limits)


async def test_a_guaranteed_minimum_is_refused(opi: OpiClient) -> None:
    await opi.make_null("n1")
    with refused(Code.UNIMPLEMENTED):
        await opi.make_virtio("nullVolumes/n1", min_limit=common.QosLimit(rw_iops_kiops=1))


async def test_namespaces_get_ids_of_their_own(opi: OpiClient) -> None:
    await opi.make_subsystem(max_namespaces=2)
    for number in (1, 2, 3):
        await opi.make_null(f"n{number}")
    first = await opi.make_namespace("nullVolumes/n1", "ns1")
    second = await opi.make_namespace("nullVolumes/n2", "ns2")
    assert (first.spec.host_nsid, second.spec.host_nsid) == (1, 2)
    assert first.spec.nguid != second.spec.nguid
    assert first.status.oper_state == frontend_nvme_pb2.NvmeNamespaceStatus.OPER_STATE_ONLINE
    with refused(Code.RESOURCE_EXHAUSTED) as error:
        await opi.make_namespace("nullVolumes/n3", "ns3")
    assert "max_namespaces" in error.said
    await opi.delete("nvmeSubsystems/s1/nvmeNamespaces/ns1")
    with refused(Code.ALREADY_EXISTS):
        await opi.make_namespace("nullVolumes/n3", "ns3", host_nsid=2)
    assert (await opi.make_namespace("nullVolumes/n3", "ns3")).spec.host_nsid == 1


async def test_an_nguid_may_be_written_like_a_uuid(opi: OpiClient) -> None:
    await opi.make_subsystem()
    await opi.make_null("n1")
    made = await opi.make_namespace(
        "nullVolumes/n1", nguid="1B4E28BA-2fa1-11d2-883f-b9a761bde3fb", eui64=1967554867335598546
    )
    assert made.spec.nguid == "1b4e28ba2fa111d2883fb9a761bde3fb"
    assert made.spec.eui64 == 1967554867335598546


async def test_a_function_is_given_once_to_opi_or_to_an_attachment(opi: OpiClient, daemon: OpiDaemon) -> None:
    await opi.make_null("n1")
    await opi.make_subsystem()
    await opi.make_controller("c1", slot=3)
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.make_virtio("nullVolumes/n1", slot=3)
    assert "nvmeSubsystems/s1/nvmeControllers/c1" in error.said
    assert (await opi.get("nvmeSubsystems/s1/nvmeControllers/c1")).status.active


async def test_labels_of_a_controller_change_and_its_endpoint_does_not(opi: OpiClient) -> None:
    await opi.make_subsystem()
    made = await opi.make_controller()
    message = frontend_nvme_pb2.NvmeController()
    message.spec.max_nsq = 5
    assert (await opi.update(made.name, message, "spec.max_nsq")).spec.max_nsq == 5
    message.spec.fabrics_id.CopyFrom(made.spec.fabrics_id)
    message.spec.fabrics_id.trsvcid = "4499"
    with refused(Code.INVALID_ARGUMENT):
        await opi.update(made.name, message, "spec.fabrics_id")


async def test_a_subsystem_lets_in_whom_it_names(opi: OpiClient, daemon: OpiDaemon) -> None:
    made = await opi.make_subsystem()
    assert daemon.fake().state.subsystems[NQN].any_host
    made.spec.hostnqn = HOST
    await opi.update(made.name, made, "spec.hostnqn")
    seen = daemon.fake().state.subsystems[NQN]
    assert (seen.any_host, seen.hosts) == (False, frozenset({HOST}))
    made.spec.hostnqn = ""
    await opi.update(made.name, made, "spec.hostnqn")
    seen = daemon.fake().state.subsystems[NQN]
    assert (seen.any_host, seen.hosts) == (True, frozenset())


@pytest.mark.parametrize(
    "nqn",
    [
        "",
        "nqn",
        "nqn.2026-13.io.example:x",
        "nqn.2026-01.io.example:with blank",
        "nqn.2026-01.io.example:" + "x" * 220,
        "nqn.2014-08.org.nvmexpress.discovery",
        "nqn.2025-01.io.dpupool:disk:d0123456789ab",
    ],
)
async def test_an_nqn_that_is_none_or_not_free_is_refused(opi: OpiClient, nqn: str) -> None:
    with refused(Code.INVALID_ARGUMENT):
        await opi.make_subsystem(nqn=nqn)


async def test_an_nqn_that_somebody_else_serves_is_refused(opi: OpiClient, daemon: OpiDaemon) -> None:
    await opi.make_subsystem()
    daemon.fake().state.subsystems["nqn.2026-01.io.example:other"] = daemon.fake().state.subsystems[NQN]
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.make_subsystem("s2", nqn="nqn.2026-01.io.example:other")
    assert "is served already" in error.said
    with refused(Code.ALREADY_EXISTS):
        await opi.make_subsystem("s3")


@pytest.mark.parametrize("change", [{"block_size": 500}, {"blocks_count": 0}, {"blocks_count": 1 << 60}, {"uuid": "x"}])
async def test_a_volume_that_cannot_be_is_refused(opi: OpiClient, change: dict[str, Any]) -> None:
    volume = backend_null_pb2.NullVolume(**{"block_size": 512, "blocks_count": 2048, **change})
    with refused(Code.INVALID_ARGUMENT):
        await opi.null.CreateNullVolume(backend_null_pb2.CreateNullVolumeRequest(null_volume=volume))


@pytest.mark.parametrize("path", ["", "relative", "/a/../b", "/a\0b", "/" + "x" * 5000])
async def test_a_file_name_that_is_no_absolute_path_is_refused(opi: OpiClient, path: str) -> None:
    with refused(Code.INVALID_ARGUMENT):
        await opi.make_aio(path)


async def test_a_disk_that_the_host_has_open_is_not_deleted(opi: OpiClient, daemon: OpiDaemon) -> None:
    await opi.make_malloc()
    await opi.make_virtio("mallocVolumes/m1")
    state = daemon.fake().state
    handle, seen = next(iter(state.virtio_blks.items()))
    state.virtio_blks[handle] = type(seen)(bdev=seen.bdev, connected=True)
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.delete("virtioBlks/v1")
    assert error.said == "virtioBlks/v1 is open in the host"
    assert (await opi.get("virtioBlks/v1")).volume_name_ref == "mallocVolumes/m1"


async def test_a_disk_needs_its_function(opi: OpiClient) -> None:
    await opi.make_malloc()
    request = frontend_virtio_blk_pb2.CreateVirtioBlkRequest(
        virtio_blk=frontend_virtio_blk_pb2.VirtioBlk(volume_name_ref="mallocVolumes/m1")
    )
    with refused(Code.INVALID_ARGUMENT):
        await opi.virtio.CreateVirtioBlk(request)
    assert function(3).physical_function.value == 3


async def test_counters_stay_at_the_largest_int32_and_never_wrap(opi: OpiClient, daemon: OpiDaemon) -> None:
    await opi.make_null("n1")
    await opi.make_subsystem()
    await opi.make_controller()
    await opi.make_namespace("nullVolumes/n1")
    handle = next(iter(daemon.fake().state.bdevs))
    daemon.fake().state.stats[handle] = DiskStats(read_bytes=1 << 40, read_ops=7, write_latency_us=9, unmap_ops=3)
    for name in (
        "nullVolumes/n1",
        "nvmeSubsystems/s1",
        "nvmeSubsystems/s1/nvmeControllers/c1",
        "nvmeSubsystems/s1/nvmeNamespaces/ns1",
    ):
        stats = await opi.stats(name)
        assert (stats.read_bytes_count, stats.read_ops_count) == (INT32_MAX, 7)
        assert (stats.write_latency_ticks, stats.unmap_ops_count) == (9, 3)
    await opi.make_controller("c2", port=4490)
    with refused(Code.UNIMPLEMENTED):
        await opi.stats("nvmeSubsystems/s1/nvmeControllers/c2")


async def test_scsi_is_refused_with_the_reason(daemon: OpiDaemon) -> None:
    stub = frontend_virtio_scsi_pb2_grpc.FrontendVirtioScsiServiceStub(daemon.channel)
    with refused(Code.UNIMPLEMENTED) as error:
        await stub.CreateVirtioScsiController(frontend_virtio_scsi_pb2.CreateVirtioScsiControllerRequest())
    assert "OPI ties no SCSI target to a controller" in error.said
