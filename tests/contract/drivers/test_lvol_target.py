"""What only logical volumes have: a store that is never overwritten, restarts of SPDK, subsystems, keys."""

import base64
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.drivers.lvol import SpdkTarget
from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.model.credentials import Credentials
from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import Clearing, Export, ImageFormat, Member, Volume
from proto.errors import DpuError
from proto.reasons import Reason
from tests.contract.drivers.images import MIB
from tests.contract.drivers.lvol_rigs import LvolRig
from tests.contract.drivers.target_rigs import HOST_NQN, lvol_rigs, snapshot_of, volume
from tests.fakes.spdk import FakeSpdk
from tests.fakes.spdk.refusal import RefusalError
from tests.fakes.spdk_process import RealSpdk

OTHER_NQN = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-000000000002"


@pytest.fixture(params=lvol_rigs())
async def rig(request: pytest.FixtureRequest, short_dir: Path) -> AsyncIterator[LvolRig]:
    chosen: LvolRig = request.param(short_dir)
    try:
        await chosen.start()
        yield chosen
    finally:
        await chosen.stop()


@pytest.fixture
def target(rig: LvolRig) -> SpdkTarget:
    return rig.driver


@pytest.fixture
async def client(rig: LvolRig) -> AsyncIterator[FakeSpdk | RealSpdk]:
    """A DPU's SPDK, of the same kind as the storage node's."""
    socket = rig.directory / "dpu.sock"
    process = RealSpdk(socket, core=1) if isinstance(rig.process, RealSpdk) else FakeSpdk(socket, rig.fabric)
    await process.start()
    yield process
    await process.stop()


async def _attach(client: FakeSpdk | RealSpdk, at: TargetAddress, host: str = HOST_NQN, **keys: str) -> list[str]:
    """Bdevs of a connection; none when it was refused."""
    params: dict[str, Any] = {"name": "N", "trtype": "TCP", "adrfam": "IPv4", "traddr": at.host, "hostnqn": host}
    params |= {"trsvcid": str(at.port), "subnqn": at.export, **keys}
    try:
        bdevs: list[str] = await client.answer("bdev_nvme_attach_controller", params)
    except (SpdkError, RefusalError):
        return []
    return bdevs


async def _exported(target: SpdkTarget, want: Volume) -> TargetAddress:
    await target.create(want, None)
    await target.open(want, None)
    return await target.export(want, read_only=False)


async def _bdev(process: FakeSpdk | RealSpdk, name: str) -> dict[str, Any]:
    listed = await process.answer("bdev_get_bdevs", {"name": name})
    return dict(listed[0])


async def test_sizes_are_rounded_up_to_whole_clusters(target: SpdkTarget) -> None:
    assert [await target.round_up(size) for size in (512, MIB, MIB + 512)] == [MIB, MIB, 2 * MIB]


async def test_a_device_that_is_not_blank_is_never_overwritten(rig: LvolRig) -> None:
    rig.device.write_bytes(bytes(64 * MIB) + b"somebody's data" + bytes(MIB - 15))
    driver = rig.new_driver()
    await driver.start(rig.lost.append)
    before = zlib.crc32(rig.device.read_bytes())
    with pytest.raises(DpuError) as refused:
        await driver.look()
    assert (refused.value.reason, refused.value.field) == (Reason.WRONG_STATE, "lvol.make")
    assert zlib.crc32(rig.device.read_bytes()) == before
    await driver.stop()


async def test_a_store_is_only_made_when_told_to(rig: LvolRig) -> None:
    driver = rig.new_driver(make=False)
    await driver.start(rig.lost.append)
    with pytest.raises(DpuError) as refused:
        await driver.capacity()
    assert (refused.value.reason, refused.value.field) == (Reason.WRONG_STATE, "lvol.make")
    assert "lvol.make = true" in refused.value.remedy
    await driver.stop()


async def test_after_spdk_died_volumes_are_found_and_images_and_exports_are_put_back(
    rig: LvolRig, target: SpdkTarget
) -> None:
    image = rig.image(ImageFormat.RAW)
    blank, clone = volume(generation=1), volume(handle="vclone", image=image)
    await target.open_image(image)
    address = await _exported(target, blank)
    await target.create(clone, image)
    await target.cut([Member(volume=clone, snapshot=snapshot_of(clone, 1))])
    await target.stop()
    await rig.process.restart()
    successor = rig.new_driver(make=False)
    await successor.start(rig.lost.append)
    seen = await successor.look()
    assert {handle: each.opened for handle, each in seen.volumes.items()} == {blank.handle: True, "vclone": False}
    assert (seen.images, seen.volumes[blank.handle].exported) == (frozenset(), False)
    with pytest.raises(DpuError) as refused:
        await successor.open(clone, image)
    assert (refused.value.reason, refused.value.retry) == (Reason.WRONG_STATE, True)
    await successor.open_image(image)
    await successor.open(clone, image)
    assert await successor.export(blank, read_only=False) == address
    seen = await successor.look()
    assert all(each.opened for each in seen.volumes.values())
    assert (seen.snapshots["vclone.1"].users, seen.volumes[blank.handle].exported) == (1, True)
    await successor.stop()


async def test_one_host_is_let_in_and_an_older_generation_is_cut_off(
    target: SpdkTarget, client: FakeSpdk | RealSpdk
) -> None:
    address = await _exported(target, volume(generation=1))
    assert await _attach(client, address, OTHER_NQN) == []
    (bdev,) = await _attach(client, address)
    shown = await _bdev(client, bdev)
    assert shown["num_blocks"] * shown["block_size"] == 8 * MIB
    await client.answer("bdev_nvme_detach_controller", {"name": "N"})
    second = Export(generation=2, dpu="dpu-2", host_nqn=OTHER_NQN)
    newer = await target.export(replace(volume(), export=second), read_only=False)
    assert await _attach(client, address) == []
    (bdev,) = await _attach(client, newer, OTHER_NQN)
    assert (await _bdev(client, bdev))["uuid"] == shown["uuid"]
    await client.answer("bdev_nvme_detach_controller", {"name": "N"})


async def test_an_export_that_a_kill_left_half_made_is_finished(rig: LvolRig, target: SpdkTarget) -> None:
    want = volume(generation=1)
    address = await _exported(target, want)
    listener = {"trtype": "TCP", "adrfam": "IPv4", "traddr": address.host, "trsvcid": str(address.port)}
    params = {"nqn": address.export, "listen_address": listener}
    await rig.process.answer("nvmf_subsystem_remove_listener", {**params, "listen_address": listener})
    assert not (await target.look()).volumes[want.handle].exported
    assert await target.export(want, read_only=False) == address
    assert (await target.look()).volumes[want.handle].exported


async def test_an_export_needs_the_name_of_its_host(target: SpdkTarget) -> None:
    want = replace(volume(), export=Export(generation=1, dpu="dpu-1"))
    with pytest.raises(DpuError) as refused:
        await _exported(target, want)
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "host_nqn")


def _chap_key(letter: str) -> str:
    secret = letter.encode() * 32
    return "DHHC-1:00:" + base64.b64encode(secret + zlib.crc32(secret).to_bytes(4, "little")).decode() + ":"


def _key_file(rig: LvolRig, name: str, secret: str) -> dict[str, str]:
    path = rig.directory / name
    path.touch(mode=0o600)
    path.write_text(secret, encoding="ascii")
    return {"name": name, "path": str(path)}


async def test_a_host_without_the_key_is_not_let_in(
    rig: LvolRig, target: SpdkTarget, client: FakeSpdk | RealSpdk
) -> None:
    rig.keys.put(Credentials(name="dpu-1", dhchap_key=_chap_key("k")))
    want = volume(generation=1)
    assert want.export is not None
    want = replace(want, export=replace(want.export, credentials="dpu-1"))
    address = await _exported(target, want)
    assert address.credentials == "dpu-1"
    for name, letter in (("right", "k"), ("wrong", "w")):
        await client.answer("keyring_file_add_key", _key_file(rig, name, _chap_key(letter)))
    assert await _attach(client, address) == []
    assert await _attach(client, address, dhchap_key="wrong") == []
    assert len(await _attach(client, address, dhchap_key="right")) == 1
    await client.answer("bdev_nvme_detach_controller", {"name": "N"})


def _tls_key(letter: str) -> str:
    secret = letter.encode() * 32
    return "NVMeTLSkey-1:01:" + base64.b64encode(secret + zlib.crc32(secret).to_bytes(4, "little")).decode() + ":"


async def test_over_tls_a_host_without_the_key_is_not_let_in(
    rig: LvolRig, target: SpdkTarget, client: FakeSpdk | RealSpdk
) -> None:
    rig.keys.put(Credentials(name="dpu-1", tls_psk=_tls_key("k")))
    export = Export(generation=1, dpu="dpu-1", host_nqn=HOST_NQN, credentials="dpu-1")
    address = await _exported(target, replace(volume(), export=export))
    assert address.port == rig.tls_port
    for name, letter in (("right", "k"), ("wrong", "w")):
        await client.answer("keyring_file_add_key", _key_file(rig, name, _tls_key(letter)))
    assert await _attach(client, address) == []
    assert await _attach(client, address, psk="wrong") == []
    assert len(await _attach(client, address, psk="right")) == 1
    await client.answer("bdev_nvme_detach_controller", {"name": "N"})


async def test_a_set_that_is_not_there_lets_nobody_in(target: SpdkTarget) -> None:
    want = replace(volume(), export=Export(generation=1, dpu="d", host_nqn=HOST_NQN, credentials="none"))
    with pytest.raises(DpuError) as refused:
        await _exported(target, want)
    assert refused.value.reason is Reason.NOT_FOUND
    assert not (await target.look()).volumes[want.handle].exported


async def test_only_what_was_made_to_be_cleared_can_be_shredded(rig: LvolRig) -> None:
    clearing = rig.new_driver(clearing=Clearing.WRITE_ZEROES)
    of_image = replace(volume(), base_image_id="img-1")
    assert [clearing.can_shred(each) for each in (volume(), of_image)] == [True, False]
    assert not rig.driver.can_shred(volume())
