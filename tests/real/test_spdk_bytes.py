"""Real bytes through real spdk_tgt processes: what is written at a disk's front is in the volume of its target.

SPDK's own initiator (spdk_dd) plays the host; it reaches the front over NVMe/TCP, on a listener beside the one of the
function. Without SPDK_TGT there is nothing real here, and these are not collected (conftest.py).
"""

import base64
import json
import os
import subprocess
import tempfile
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.spdk.block import SpdkBlock
from dpu_daemon.drivers.spdk.names import front_nqn
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import Attachment, DiskProtocol, TargetAddress
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.block_rigs import HANDLE, disk
from tests.contract.drivers.spdk_rigs import HOST_NQN, VOLUME_NQN, SpdkRig, drivers_on, until
from tests.fakes.ports import free_port
from tests.fakes.spdk_process import MEMORY_MB, PROGRAM

MIB = 1 << 20
NQN = f"{VOLUME_NQN}bytes"
DD = Path(PROGRAM or "spdk_tgt").with_name("spdk_dd")
pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]


class Stage:
    """Target, DPU and host."""

    def __init__(self, directory: Path) -> None:
        self.rig = SpdkRig(directory, real=True, targets=True)
        self.directory = directory
        self.file = directory / "volume"
        self.file.write_bytes(bytes(8 * MIB))
        self.rpc, self.block, _ = drivers_on(self.rig)
        self.keys = FileCredentials(directory / "credentials")
        self.front_port = free_port()

    async def start(self) -> None:
        await self.rig.start()
        await self.serve()
        await self.block.start(lambda _: None)

    async def stop(self) -> None:
        await self.block.stop()
        await self.rig.stop()

    async def serve(self, dhchap_key: str = "") -> None:
        """The volume, on a target that may have just been started."""
        target = self.rig.target
        assert target is not None
        host: dict[str, str] = {"nqn": NQN, "host": HOST_NQN}
        if dhchap_key:
            path = self.directory / "target.key"
            path.write_text(dhchap_key, encoding="ascii")
            path.chmod(0o600)
            await target.answer("keyring_file_add_key", {"name": "k", "path": str(path)})
            host["dhchap_key"] = "k"
        volume = {"name": "V", "filename": str(self.file), "block_size": 512, "uuid": VOLUME_UUID}
        await target.answer("bdev_aio_create", volume)
        await target.answer("nvmf_create_subsystem", {"nqn": NQN, "serial_number": "V"})
        await target.answer("nvmf_subsystem_add_host", host)
        await target.answer("nvmf_subsystem_add_ns", {"nqn": NQN, "namespace": {"bdev_name": "V"}})
        at = {"nqn": NQN, "listen_address": self.rig.listen_address}
        await target.answer("nvmf_subsystem_add_listener", at)

    def wanted(self, **more: str) -> Attachment:
        """The disk of the volume."""
        source = TargetAddress(transport="nvme+tcp", host="127.0.0.1", port=self.rig.port, export=NQN)
        return disk(replace(source, credentials=more.pop("credentials", "")), protocol=DiskProtocol.NVME, **more)

    async def let_host_in(self) -> None:
        """A listener for spdk_dd, which cannot share memory with a vfio-user server without huge pages."""
        at = {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1", "trsvcid": str(self.front_port)}
        if not await self._has_tcp():
            await self.rpc.call("nvmf_create_transport", {"trtype": "TCP"})
        await self.rpc.call("nvmf_subsystem_add_listener", {"nqn": front_nqn(HANDLE), "listen_address": at})

    async def _has_tcp(self) -> bool:
        return any(each["trtype"] == "TCP" for each in await self.rpc.call("nvmf_get_transports"))

    def host_copies(self, *arguments: str) -> None:
        """What the host's system does: one copy from or to its disk."""
        front = {"name": "Host", "trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1"}
        front |= {"trsvcid": str(self.front_port), "subnqn": front_nqn(HANDLE)}
        iobuf = {"small_pool_count": 2048, "large_pool_count": 128}
        parts = [
            {"subsystem": "iobuf", "config": [{"method": "iobuf_set_options", "params": iobuf}]},
            {"subsystem": "bdev", "config": [{"method": "bdev_nvme_attach_controller", "params": front}]},
        ]
        config = self.directory / "host.json"
        config.write_text(json.dumps({"subsystems": parts}), encoding="ascii")
        command = [
            str(DD),
            "-m",
            "0x2",
            "--disable-cpumask-locks",
            "--no-huge",
            "-s",
            str(MEMORY_MB),
            "--no-rpc-server",
        ]
        command += ["-c", str(config), "--bs", "65536", "--count", "32", *arguments]
        subprocess.run(command, check=True, timeout=60, capture_output=True)

    def write(self, data: bytes) -> None:
        """The host writes the first 2 MiB of its disk."""
        source = self.directory / "in"
        source.write_bytes(data)
        self.host_copies("--if", str(source), "--ob", "Hostn1")

    def read(self) -> bytes:
        """The host reads them."""
        result = self.directory / "out"
        result.unlink(missing_ok=True)
        self.host_copies("--ib", "Hostn1", "--of", str(result))
        return result.read_bytes()[: 2 * MIB]


VOLUME_UUID = "cf7bb150-0000-4000-8000-0000000000b1"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as directory:
        made = Stage(Path(directory))
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


async def _identity(block: SpdkBlock, rpc_disk: Attachment, stage: Stage) -> tuple[str, str, str]:
    assert (await block.look(rpc_disk)).disks[HANDLE].whole
    (front,) = await stage.rpc.call("nvmf_get_subsystems", {"nqn": front_nqn(HANDLE)})
    return front["serial_number"], front["namespaces"][0]["nguid"], front["namespaces"][0]["uuid"]


async def test_bytes_survive_the_death_of_the_dpus_process_and_of_the_targets(stage: Stage) -> None:
    wanted, data = stage.wanted(), os.urandom(2 * MIB)
    await stage.block.put_up(wanted)
    identity = await _identity(stage.block, wanted, stage)
    await stage.let_host_in()
    stage.write(data)
    assert stage.file.read_bytes()[: 2 * MIB] == data
    stats = await stage.block.stats(HANDLE)
    assert (stats.write_bytes, stats.failed_ops) == (2 * MIB, 0)
    assert stats.write_latency_us > 0

    await stage.rig.dpu.restart()
    await until(lambda: _reachable(stage))
    await stage.block.put_up(wanted)
    assert await _identity(stage.block, wanted, stage) == identity
    await stage.let_host_in()
    assert stage.read() == data

    assert stage.rig.target is not None
    await stage.rig.target.kill()
    await until(lambda: _waits(stage, wanted))
    await stage.rig.target.start()
    await stage.rig.target.answer("nvmf_create_transport", {"trtype": "TCP"})
    await stage.serve()
    await until(lambda: _answers(stage, wanted))
    assert stage.read() == data


async def _reachable(stage: Stage) -> bool:
    try:
        return not (await stage.block.look()).disks
    except DpuError:
        return False


async def _waits(stage: Stage, wanted: Attachment) -> bool:
    return "does not answer" in (await stage.block.look(wanted)).disks[HANDLE].trouble


async def _answers(stage: Stage, wanted: Attachment) -> bool:
    return not (await stage.block.look(wanted)).disks[HANDLE].trouble


async def test_an_encrypted_disk_is_plain_at_its_front_alone(stage: Stage) -> None:
    stage.keys.put(Credentials(name="vault", volume_key=os.urandom(32)))
    wanted, data = stage.wanted(encryption="vault"), b"plain text here " * (2 * MIB // 16)
    if not stage.rpc.offers("bdev_crypto_create"):
        with pytest.raises(DpuError) as refused:
            await stage.block.put_up(wanted)
        assert refused.value.reason is Reason.UNSUPPORTED
        return
    await stage.block.put_up(wanted)
    await stage.let_host_in()
    stage.write(data)
    assert b"plain text" not in stage.file.read_bytes()
    assert stage.read() == data
    await stage.block.conceal(HANDLE)
    await stage.block.disconnect(HANDLE)
    assert [bdev["name"] for bdev in await stage.rpc.call("bdev_get_bdevs")] == ["dpupool-marker"]


def _secret(number: int) -> str:
    key = bytes([number]) * 32
    return f"DHHC-1:00:{base64.b64encode(key + zlib.crc32(key).to_bytes(4, 'little')).decode()}:"


async def test_only_the_right_key_opens_a_target(stage: Stage) -> None:
    target = stage.rig.target
    assert target is not None
    await target.answer("nvmf_delete_subsystem", {"nqn": NQN})
    await target.answer("bdev_aio_delete", {"name": "V"})
    await stage.serve(dhchap_key=_secret(1))
    stage.keys.put(Credentials(name="wrong", dhchap_key=_secret(2)))
    stage.keys.put(Credentials(name="right", dhchap_key=_secret(1)))
    for name in ("", "wrong"):
        with pytest.raises(DpuError) as refused:
            await stage.block.put_up(stage.wanted(credentials=name))
        assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
        assert "DHHC" not in str(refused.value)
        await stage.block.look()
        await stage.block.conceal(HANDLE)
    assert await stage.block.put_up(stage.wanted(credentials="right")) == 8 * MIB


async def test_a_target_that_is_not_there_is_given_up_and_named(stage: Stage) -> None:
    wanted = stage.wanted()
    source = wanted.spec.source
    assert isinstance(source, TargetAddress)
    nowhere = replace(wanted, spec=replace(wanted.spec, source=replace(source, port=free_port())))
    with pytest.raises(DpuError) as refused:
        await stage.block.put_up(nowhere)
    assert refused.value.reason is Reason.UNAVAILABLE
    assert "127.0.0.1" in refused.value.message
