"""The attacher over somebody else's OPI server: our own server over a fake SPDK, in a process of its own."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.drivers.opi import OpiBlock, OpiBus, OpiServer
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.intent import AskedDisk
from dpu_daemon.engine.journal import Journal
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import (
    UNLIMITED,
    Attachment,
    AttachmentState,
    DiskProtocol,
    FunctionSeen,
    Qos,
    SeedFile,
    TargetAddress,
)
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.block_rigs import HANDLE, MIB, disk
from tests.contract.drivers.spdk_rigs import HOST_NQN
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.opi import MemoryCredentials
from tests.fakes.opi_client import KEY
from tests.fakes.world import World


class ForeignDpu:
    """The other process.

    Args:
        directory: for its sockets.
    """

    def __init__(self, directory: Path) -> None:
        self.address = f"unix:{directory}/opi.sock"
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.fakes.opi_process",
            str(self._directory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await self._line() == ["ready"]

    async def _line(self) -> list[str]:
        assert self._process is not None
        assert self._process.stdout is not None
        while True:
            words = (await self._process.stdout.readline()).decode().split()
            if not words or not words[0].startswith("20"):
                return words

    async def tell(self, sentence: str) -> list[str]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{sentence}\n".encode())
        return await self._line()

    async def serve(self, size_bytes: int) -> TargetAddress:
        host, port, nqn = await self.tell(f"serve {size_bytes}")
        return TargetAddress(transport="nvme+tcp", host=host, port=int(port), export=nqn)

    async def stop(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@pytest.fixture
async def foreign(short_dir: Path) -> AsyncIterator[ForeignDpu]:
    dpu = ForeignDpu(short_dir)
    try:
        await dpu.start()
        yield dpu
    finally:
        await dpu.stop()


@pytest.fixture
def store() -> MemoryCredentials:
    return MemoryCredentials()


@pytest.fixture
async def server(foreign: ForeignDpu) -> AsyncIterator[OpiServer]:
    server = OpiServer(foreign.address)
    await server.start(lambda _: None)
    yield server
    await server.stop()


@pytest.fixture
def block(server: OpiServer, store: MemoryCredentials) -> OpiBlock:
    return OpiBlock(server, host_nqn=HOST_NQN, secrets=store)


@pytest.fixture
def bus(server: OpiServer) -> OpiBus:
    return OpiBus(server, slots=8)


def _nvme(source: TargetAddress, **spec: Any) -> Attachment:
    return disk(source, protocol=DiskProtocol.NVME, **spec)


def _function(wanted: Attachment, slot: int = 1) -> FunctionSeen:
    return FunctionSeen(
        slot=slot,
        handle=wanted.handle,
        protocol=DiskProtocol.NVME,
        serial=wanted.spec.serial,
        nguid=wanted.spec.nguid,
        read_only=False,
        boot_order=wanted.spec.boot_order,
        present=True,
    )


async def test_a_disk_is_seen_as_it_was_asked_for_and_goes_whole(foreign: ForeignDpu, block: OpiBlock) -> None:
    assert (await block.look()).disks == {}
    source = await foreign.serve(8 * MIB)
    wanted = _nvme(source, qos=Qos(iops=5000))
    for _ in range(2):
        assert await block.put_up(wanted) == 8 * MIB
    (seen,) = (await block.look()).disks.values()
    assert (seen.handle, seen.source, seen.size_bytes) == (HANDLE, replace(source, nsid=1), 8 * MIB)
    assert (seen.qos, seen.exposed, seen.whole, seen.encrypted) == (Qos(iops=5000), True, True, False)
    with pytest.raises(DpuError) as refused:
        await block.disconnect(HANDLE)
    assert refused.value.reason is Reason.IN_USE
    for _ in range(2):
        await block.conceal(HANDLE)
    assert not (await block.look()).disks[HANDLE].exposed
    for _ in range(2):
        await block.disconnect(HANDLE)
    assert (await block.look()).disks == {}


async def test_limits_read_back_as_rounded_and_go_again(foreign: ForeignDpu, block: OpiBlock) -> None:
    await block.put_up(_nvme(await foreign.serve(8 * MIB)))
    for qos in (Qos(iops=7, read_bytes_per_s=MIB + 1), Qos(bytes_per_s=3 * MIB), UNLIMITED):
        await block.limit(HANDLE, qos)
        assert (await block.look()).disks[HANDLE].qos == block.effective(qos)
    with pytest.raises(DpuError) as refused:
        await block.limit(HANDLE, Qos(read_iops=5))
    assert refused.value.reason is Reason.UNSUPPORTED


async def test_a_handle_does_not_change_its_source_and_a_missing_target_may_be_asked_for_again(
    foreign: ForeignDpu, block: OpiBlock
) -> None:
    source = await foreign.serve(8 * MIB)
    with pytest.raises(DpuError) as refused:
        await block.put_up(_nvme(replace(source, export=f"{source.export}-none")))
    assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
    await block.put_up(_nvme(source))
    with pytest.raises(DpuError) as refused:
        await block.put_up(_nvme(await foreign.serve(8 * MIB)))
    assert refused.value.reason is Reason.ALREADY_EXISTS


async def test_a_disk_can_be_encrypted_there(foreign: ForeignDpu, block: OpiBlock, store: MemoryCredentials) -> None:
    store.put(Credentials(name="key", volume_key=KEY))
    await block.put_up(_nvme(await foreign.serve(8 * MIB), encryption="key"))
    assert (await block.look()).disks[HANDLE].encrypted
    await block.conceal(HANDLE)
    await block.disconnect(HANDLE)
    assert (await block.look()).disks == {}


async def test_what_the_api_has_no_word_for_is_refused(
    foreign: ForeignDpu, block: OpiBlock, bus: OpiBus, store: MemoryCredentials
) -> None:
    source = await foreign.serve(8 * MIB)
    store.put(Credentials(name="chap", dhchap_key="DHHC-1:00:x:"))
    for wanted in (
        _nvme(source, read_only=True),
        disk(source),
        disk(SeedFile(path="/seed"), protocol=DiskProtocol.NVME),
        _nvme(replace(source, transport="rbd")),
        _nvme(replace(source, credentials="chap")),
    ):
        with pytest.raises(DpuError) as refused:
            await block.put_up(wanted)
        assert refused.value.reason is Reason.UNSUPPORTED
    await block.put_up(_nvme(source))
    for call in (block.grow(HANDLE, 16 * MIB), bus.grow_disk(1, 16 * MIB)):
        with pytest.raises(DpuError) as refused:
            await call
        assert refused.value.reason is Reason.UNSUPPORTED
    await block.grow(HANDLE, 8 * MIB)
    assert (await block.stats(HANDLE)).failed_ops == 0


async def test_a_plugged_disk_is_seen_in_its_slot_and_goes_again(
    foreign: ForeignDpu, block: OpiBlock, bus: OpiBus
) -> None:
    wanted = _nvme(await foreign.serve(8 * MIB), boot_order=1)
    await block.put_up(wanted)
    for _ in range(2):
        await bus.plug_disk(_function(wanted))
    assert await bus.look_disks() == {1: _function(wanted)}
    with pytest.raises(DpuError) as refused:
        await bus.plug_disk(_function(replace(wanted, handle="d999999999999")))
    assert refused.value.reason is Reason.IN_USE
    await bus.unplug_disk(1, "d999999999999", timeout_s=1, force=False)
    assert 1 in await bus.look_disks()
    for _ in range(2):
        await bus.unplug_disk(1, HANDLE, timeout_s=1, force=False)
    assert await bus.look_disks() == {}


def _asked(source: TargetAddress, generation: int) -> AskedDisk:
    spec = _nvme(source).spec
    return AskedDisk(attachment_id="att-1", generation=generation, spec=replace(spec, size_bytes=8 * MIB))


async def test_an_engine_attaches_repairs_and_detaches_through_the_other_dpu(
    foreign: ForeignDpu, block: OpiBlock, bus: OpiBus, tmp_path: Path
) -> None:
    source = await foreign.serve(8 * MIB)
    world = World()
    world.add_links(NETWORK.vf_pattern, NETWORK.vf_count)
    drivers = replace(fake_drivers(world), block=block, bus=bus)
    engine = await DpuEngine.open(Journal(tmp_path / "dpu.db"), drivers, NETWORK, FAST)
    view = await engine.disks.attach(_asked(source, 1), Deadline.after(30))
    assert view.state is AttachmentState.ATTACHED
    before = await bus.look_disks()
    with pytest.raises(DpuError) as refused:
        await engine.disks.resize("att-1", 16 * MIB, Deadline.after(30))
    assert refused.value.reason is Reason.UNSUPPORTED
    await bus.unplug_disk(view.record.slot, view.record.handle, timeout_s=1, force=False)
    await engine.core.audit.once()
    assert await bus.look_disks() == before
    assert await foreign.tell("restart") == ["restarted"]
    assert (await engine.disks.reader.view("att-1")).state is AttachmentState.ATTACHED
    await engine.disks.detach("att-1", 1, Deadline.after(30), force=False)
    assert (await block.look()).disks == {}
    await engine.core.operations.stop(1.0)
    await engine.core.ledger.close()
