"""NBD over TLS with pre-shared keys, between two real qemu-storage-daemons."""

import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.qsd import QsdBlock, QsdTarget
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import Export, Volume
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.images import MIB
from tests.contract.drivers.target_rigs import volume
from tests.fakes.ports import free_port
from tests.fakes.qsd import StorageDaemon, qemu_io, unix_url

pytestmark = pytest.mark.real

PSK = "00112233445566778899aabbccddeeff"
EXPORT = Export(generation=1, dpu="dpu-1", credentials="dpu-1")


class Pair:
    """A storage node and a DPU, each with credentials of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.node, self.dpu = StorageDaemon(directory, "st"), StorageDaemon(directory, "dpu")
        self.port = free_port()
        self.node_keys = FileCredentials(directory / "node-credentials")
        self.dpu_keys = FileCredentials(directory / "dpu-credentials")
        self.target = self.new_target(guarded=True)
        self.block = QsdBlock(qmp=self.dpu.qmp, nbd_socket=self.dpu.nbd, keys=self.dpu_keys)

    def new_target(self, *, guarded: bool) -> QsdTarget:
        return QsdTarget(
            qmp=self.node.qmp,
            nbd_host="127.0.0.1",
            nbd_port=self.port,
            volume_dir=str(self.directory / "volumes"),
            image_dir=str(self.directory / "images"),
            keys=self.node_keys,
            guarded=guarded,
        )

    async def start(self) -> None:
        self.node.start()
        self.dpu.start()
        await self.target.start(lambda _: None)
        await self.block.start(lambda _: None)

    async def stop(self) -> None:
        self.dpu.kill()
        self.node.kill()
        await self.block.stop()
        await self.target.stop()

    async def serve(self, want: Volume) -> TargetAddress:
        await self.target.create(want, None)
        await self.target.open(want, None)
        return await self.target.export(want, read_only=False)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        made = Pair(Path(name))
        try:
            await made.start()
            yield made
        finally:
            await made.stop()


async def test_a_dpu_with_the_key_reads_and_writes_and_grows(pair: Pair) -> None:
    want = replace(volume(), export=EXPORT)
    pair.node_keys.put(Credentials(name="dpu-1", tls_psk=PSK))
    pair.dpu_keys.put(Credentials(name="dpu-1", tls_psk=PSK))
    address = await pair.serve(want)
    assert address.credentials == "dpu-1"
    for _ in range(2):
        assert await pair.block.connect("d1", address, read_only=False) == 8 * MIB
    await pair.block.expose("d1", read_only=False)
    qemu_io(unix_url(pair.dpu, "d1"), "write -P 0x5a 0 1M", "flush", "read -P 0x5a 0 1M")
    await pair.target.resize(want, 16 * MIB)
    await pair.block.grow("d1", 16 * MIB)
    qemu_io(unix_url(pair.dpu, "d1"), "read -P 0x5a 0 1M", "write -P 0x11 15M 1M")
    await pair.block.conceal("d1")
    await pair.block.disconnect("d1")
    assert (await pair.block.look()).disks == {}
    assert await pair.block.connect("d1", address, read_only=False) == 16 * MIB


@pytest.mark.parametrize("key", ["ff" * 16, ""])
async def test_a_dpu_with_another_key_or_none_is_not_let_in(pair: Pair, key: str) -> None:
    pair.node_keys.put(Credentials(name="dpu-1", tls_psk=PSK))
    address = await pair.serve(replace(volume(), export=EXPORT))
    if key:
        pair.dpu_keys.put(Credentials(name="dpu-1", tls_psk=key))
    with pytest.raises(DpuError) as refused:
        await pair.block.connect("d1", address, read_only=False)
    assert PSK not in str(refused.value)
    if not key:
        assert refused.value.reason is Reason.NOT_FOUND
    with pytest.raises(DpuError):
        await pair.block.connect("d2", replace(address, credentials=""), read_only=False)
    with pytest.raises(AssertionError):
        qemu_io(f"nbd://127.0.0.1:{pair.port}/{address.export}", "read 0 4k")


async def test_a_fenced_dpu_finds_errors_though_it_has_the_key(pair: Pair) -> None:
    want = replace(volume(), export=EXPORT)
    for keys in (pair.node_keys, pair.dpu_keys):
        keys.put(Credentials(name="dpu-1", tls_psk=PSK))
        keys.put(Credentials(name="dpu-2", tls_psk="ab" * 32))
    address = await pair.serve(want)
    await pair.block.connect("d1", address, read_only=False)
    await pair.block.expose("d1", read_only=False)
    second = replace(want, export=Export(generation=2, dpu="dpu-2", credentials="dpu-2"))
    newer = await pair.target.export(second, read_only=False)
    with pytest.raises(AssertionError):
        qemu_io(unix_url(pair.dpu, "d1"), "write -P 0x66 0 64k", "flush")
    await pair.block.conceal("d1")
    await pair.block.disconnect("d1")
    assert await pair.block.connect("d2", newer, read_only=False) == 8 * MIB


async def test_guarded_and_open_exports_are_never_mixed(pair: Pair) -> None:
    with pytest.raises(DpuError) as refused:
        await pair.serve(replace(volume(), export=replace(EXPORT, credentials="")))
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "credentials")
    pair.node_keys.put(Credentials(name="dpu-1", tls_psk=PSK))
    await pair.serve(replace(volume(), export=EXPORT))
    await pair.target.stop()
    loose = pair.new_target(guarded=False)
    await loose.start(lambda _: None)
    with pytest.raises(DpuError) as refused:
        await loose.export(replace(volume(), export=EXPORT), read_only=False)
    assert (refused.value.reason, refused.value.field) == (Reason.UNSUPPORTED, "credentials")
    with pytest.raises(DpuError) as refused:
        await loose.export(replace(volume(), export=Export(generation=2, dpu="dpu-1")), read_only=False)
    assert (refused.value.reason, refused.value.field) == (Reason.WRONG_STATE, "block.guarded")
    await loose.stop()


async def test_without_its_ceph_module_or_a_monitor_an_rbd_source_is_refused_at_once(pair: Pair) -> None:
    source = TargetAddress(transport="rbd", host="127.0.0.1", port=free_port(), export="pool/image")
    with pytest.raises(DpuError) as refused:
        await pair.block.connect("d1", source, read_only=False)
    assert (refused.value.reason, refused.value.field) == (Reason.UNAVAILABLE, "source.host")
    with pytest.raises(DpuError) as refused:
        await pair.block.connect("d1", replace(source, export="image"), read_only=False)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "source.export")
