"""What OPI clients get of a daemon over SPDK: on the fake always, on spdk_tgt where there is one."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.spdk.emulation import SocketEmulation
from dpu_daemon.drivers.spdk.opi import SpdkOpi
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.opi.objects import OpiLayer
from proto.errors import DpuError
from proto.opi_api.storage.v1 import backend_null_pb2, backend_nvme_pb2, middleend_qos_volume_pb2
from tests.contract.drivers.spdk_rigs import HOST_NQN, WHERE, SpdkRig
from tests.fakes.opi_client import HOST, KEY, NQN, PSK, OpiClient, refused
from tests.fakes.opi_daemon import OpiDaemon, OpiWorld, opi_daemon
from tests.fakes.opi_life import check_settled
from tests.fakes.ports import free_port

Code = grpc.StatusCode
MIB = 1 << 20
REMOTE_NAMESPACE = "nvmeRemoteControllers/c1/nvmeRemoteNamespaces/n1"


@pytest.fixture(params=WHERE)
async def rig(request: pytest.FixtureRequest, short_dir: Path) -> AsyncIterator[SpdkRig]:
    chosen = SpdkRig(short_dir, real=request.param == "real", targets=True)
    await chosen.start()
    chosen.rpc = SpdkRpc(str(chosen.dpu_socket))
    try:
        await chosen.rpc.start(lambda _: None)
        yield chosen
    finally:
        await chosen.rpc.stop()
        await chosen.stop()


@pytest.fixture
async def daemon(rig: SpdkRig, tmp_path: Path) -> AsyncIterator[OpiDaemon]:
    rpc = SpdkRpc(str(rig.dpu_socket))
    keys = FileCredentials(rig.directory / "credentials")
    emulation = SocketEmulation(directory=rig.directory / "vfu", slots=8)
    around = OpiWorld()
    layer = OpiLayer(SpdkOpi(rpc, emulation=emulation, keys=keys), keys)
    drivers = replace(around.drivers(), opi=layer)
    async with opi_daemon(tmp_path, around, drivers) as running:
        yield running


@pytest.fixture
def opi(daemon: OpiDaemon) -> OpiClient:
    return OpiClient(daemon.channel)


async def _names(rig: SpdkRig) -> list[str]:
    return [bdev["name"] for bdev in await rig.ask("bdev_get_bdevs")]


async def _encrypted(rig: SpdkRig, opi: OpiClient, volume: str) -> str:
    """Encryption over a volume; the volume itself where SPDK was built without, which the daemon has to say."""
    if "bdev_crypto_create" in await rig.ask("rpc_get_methods"):
        return str((await opi.make_encrypted(volume, key=KEY)).name)
    with refused(Code.UNIMPLEMENTED) as error:
        await opi.make_encrypted(volume, key=KEY)
    assert "built without encryption" in error.said
    return volume


async def test_volumes_come_grow_and_go(rig: SpdkRig, opi: OpiClient) -> None:
    file = rig.directory / "aio.img"
    file.write_bytes(bytes(4 * MIB))
    null = await opi.make_null(blocks=8192)
    await opi.make_malloc(blocks=4096)
    aio = await opi.make_aio(str(file))
    assert aio.blocks_count == 8192
    assert {bdev["uuid"] for bdev in await rig.ask("bdev_get_bdevs")} >= {null.uuid, aio.uuid}
    grown = await opi.update("nullVolumes/n1", backend_null_pb2.NullVolume(blocks_count=16384), "blocks_count")
    assert grown.blocks_count == 16384
    with refused(Code.INVALID_ARGUMENT):
        await opi.update("nullVolumes/n1", backend_null_pb2.NullVolume(blocks_count=16385), "blocks_count")
    assert (await opi.get("nullVolumes/n1")).blocks_count == 16384
    assert (await opi.stats("mallocVolumes/m1")).write_ops_count == 0
    for name in ("nullVolumes/n1", "mallocVolumes/m1", "aioVolumes/a1"):
        await opi.delete(name)
    assert await _names(rig) == []


async def test_a_file_that_is_not_there_or_too_small_is_named(rig: SpdkRig, opi: OpiClient) -> None:
    with refused(Code.INVALID_ARGUMENT):
        await opi.make_aio(str(rig.directory / "none"))
    file = rig.directory / "aio.img"
    file.write_bytes(bytes(MIB))
    with refused(Code.INVALID_ARGUMENT) as error:
        await opi.make_aio(str(file), blocks_count=1 << 20)
    assert "2048 blocks" in error.said
    assert await _names(rig) == []


async def test_a_volume_larger_than_the_memory_is_refused(rig: SpdkRig, opi: OpiClient) -> None:
    with refused(Code.RESOURCE_EXHAUSTED):
        await opi.make_malloc(blocks=1 << 30)
    assert await _names(rig) == []


async def test_a_namespace_shows_an_encrypted_and_limited_volume(rig: SpdkRig, opi: OpiClient) -> None:
    await opi.make_malloc()
    volume = await _encrypted(rig, opi, "mallocVolumes/m1")
    await opi.make_qos(volume, rw_iops_kiops=5, rd_bandwidth_mbs=20)
    await opi.make_subsystem()
    space = await opi.make_namespace("qosVolumes/q1", eui64=-2)
    await opi.make_controller(port=free_port())
    (seen,) = [each for each in await rig.ask("nvmf_get_subsystems") if each["nqn"] == NQN]
    (namespace,) = seen["namespaces"]
    assert namespace["nguid"].lower() == space.spec.nguid
    assert namespace["uuid"] == space.spec.uuid
    (limited,) = await rig.ask("bdev_get_bdevs", {"name": namespace["bdev_name"]})
    limits = limited["assigned_rate_limits"]
    assert (limits["rw_ios_per_sec"], limits["r_mbytes_per_sec"]) == (5000, 20)
    message = middleend_qos_volume_pb2.QosVolume()
    message.limits.max.rw_iops_kiops = 9
    await opi.update("qosVolumes/q1", message, "limits")
    (limited,) = await rig.ask("bdev_get_bdevs", {"name": namespace["bdev_name"]})
    limits = limited["assigned_rate_limits"]
    assert (limits["rw_ios_per_sec"], limits["r_mbytes_per_sec"]) == (9000, 0)
    assert (await opi.stats("nvmeSubsystems/s1/nvmeNamespaces/ns1")).write_ops_count == 0
    for name in (
        "nvmeSubsystems/s1/nvmeControllers/c1",
        "nvmeSubsystems/s1/nvmeNamespaces/ns1",
        "nvmeSubsystems/s1",
        "qosVolumes/q1",
        "encryptedVolumes/e1",
        "mallocVolumes/m1",
    ):
        await opi.delete(name, allow_missing=True)
    assert await _names(rig) == []
    assert await rig.ask("accel_crypto_keys_get") == []


async def test_a_host_with_a_key_may_be_let_in_alone(rig: SpdkRig, opi: OpiClient) -> None:
    await opi.make_subsystem(hostnqn=HOST, psk=PSK)
    (seen,) = [each for each in await rig.ask("nvmf_get_subsystems") if each["nqn"] == NQN]
    assert (seen["allow_any_host"], [host["nqn"] for host in seen["hosts"]]) == (False, [HOST])
    await opi.make_controller(port=free_port())
    assert (await opi.get("nvmeSubsystems/s1/nvmeControllers/c1")).status.active
    await opi.delete("nvmeSubsystems/s1/nvmeControllers/c1")
    await opi.delete("nvmeSubsystems/s1")


async def test_the_host_that_is_named_finds_the_namespace_and_a_stranger_does_not(rig: SpdkRig, opi: OpiClient) -> None:
    await opi.make_malloc()
    await opi.make_subsystem(hostnqn=HOST)
    space = await opi.make_namespace("mallocVolumes/m1")
    port = free_port()
    await opi.make_controller(port=port)
    assert rig.target is not None
    where = {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(port), "subnqn": NQN}
    with pytest.raises(Exception, match=r"-5|Input/output"):
        await rig.target.answer("bdev_nvme_attach_controller", {"name": "S", "hostnqn": HOST_NQN, **where})
    found = await rig.target.answer("bdev_nvme_attach_controller", {"name": "H", "hostnqn": HOST, **where})
    assert found == ["Hn1"]
    (seen,) = await rig.target.answer("bdev_get_bdevs", {"name": "Hn1"})
    assert (seen["uuid"], seen["num_blocks"]) == (space.spec.uuid, 2048)
    await rig.target.answer("bdev_nvme_detach_controller", {"name": "H"})


async def test_a_function_of_the_host_shows_a_subsystem_or_a_disk(rig: SpdkRig, opi: OpiClient) -> None:
    await opi.make_null()
    await opi.make_malloc()
    await opi.make_subsystem()
    await opi.make_namespace("nullVolumes/n1")
    if isinstance(await rig.ask("nvmf_create_transport", {"trtype": "VFIOUSER"}), bool):
        await opi.make_controller(slot=2)
        assert (rig.directory / "vfu" / "2" / "function.json").exists()
        assert (await opi.get("nvmeSubsystems/s1/nvmeControllers/c1")).status.active
        await opi.delete("nvmeSubsystems/s1/nvmeControllers/c1")
        assert not (rig.directory / "vfu" / "2" / "function.json").exists()
    else:
        with refused(Code.UNAVAILABLE):
            await opi.make_controller(slot=2)
    await opi.make_virtio("mallocVolumes/m1", slot=3)
    assert [each["backend_specific"]["block"]["bdev"] for each in await rig.ask("vhost_get_controllers")]
    assert (rig.directory / "vfu" / "3" / "function.json").exists()
    with refused(Code.RESOURCE_EXHAUSTED):
        await opi.make_controller("c2", slot=8)
    await opi.delete("virtioBlks/v1")
    assert await rig.ask("vhost_get_controllers") == []


async def test_a_remote_namespace_is_reached_shown_and_let_go(rig: SpdkRig, opi: OpiClient) -> None:
    volume = await rig.serve(4 * MIB)
    await opi.make_remote()
    await opi.make_path(host=volume.host, port=volume.port, nqn=volume.export, hostnqn=HOST_NQN)
    found = await opi.remote.ListNvmeRemoteNamespaces(
        backend_nvme_pb2.ListNvmeRemoteNamespacesRequest(parent="nvmeRemoteControllers/c1")
    )
    assert [space.name for space in found.nvme_remote_namespaces] == [REMOTE_NAMESPACE]
    await opi.make_subsystem()
    await opi.make_namespace(REMOTE_NAMESPACE)
    with refused(Code.FAILED_PRECONDITION):
        await opi.delete("nvmeRemoteControllers/c1/nvmePaths/p1")
    await opi.remote.ResetNvmeRemoteController(
        backend_nvme_pb2.ResetNvmeRemoteControllerRequest(name="nvmeRemoteControllers/c1")
    )
    for name in (
        "nvmeSubsystems/s1/nvmeNamespaces/ns1",
        "nvmeRemoteControllers/c1/nvmePaths/p1",
        "nvmeRemoteControllers/c1",
    ):
        await opi.delete(name)
    assert await _names(rig) == []
    assert await rig.ask("bdev_nvme_get_controllers") == []


async def test_a_target_that_does_not_answer_is_unavailable_and_nothing_stays(rig: SpdkRig, opi: OpiClient) -> None:
    await opi.make_remote()
    with refused(Code.UNAVAILABLE) as error:
        await opi.make_path(port=free_port())
    assert "cannot connect" in error.said
    assert await rig.ask("bdev_nvme_get_controllers") == []


async def test_after_a_restart_of_spdk_everything_comes_back_with_the_same_identity(
    rig: SpdkRig, opi: OpiClient, daemon: OpiDaemon
) -> None:
    volume = await rig.serve(4 * MIB)
    await opi.make_remote()
    await opi.make_path(host=volume.host, port=volume.port, nqn=volume.export, hostnqn=HOST_NQN)
    await opi.make_subsystem()
    await opi.make_namespace(await _encrypted(rig, opi, REMOTE_NAMESPACE))
    await opi.make_controller(port=free_port())
    await opi.make_malloc()
    await opi.make_virtio("mallocVolumes/m1")
    before = [each for each in await rig.ask("nvmf_get_subsystems") if each["nqn"] == NQN]
    await rig.dpu.restart()
    await _settled(daemon)
    async with asyncio.timeout(20):
        await rig.rpc.stop()
        rig.rpc = SpdkRpc(str(rig.dpu_socket))
        await rig.rpc.start(lambda _: None)
    assert [each for each in await rig.ask("nvmf_get_subsystems") if each["nqn"] == NQN] == before


async def _settled(daemon: OpiDaemon) -> None:
    """Wait until everything is there as wanted."""
    async with asyncio.timeout(60):
        while True:
            try:
                await check_settled(daemon.objects)
            except (DpuError, AssertionError):
                await asyncio.sleep(0.1)
            else:
                return
