"""What the drivers believe of SPDK as an initiator, of keys and of logical volumes, on the fake and on spdk_tgt."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from tests.contract.drivers.spdk_rigs import HOST_NQN, WHERE, SpdkRig, until

MIB = 1 << 20
KEY = "DHHC-1:00:YzVkNDlhY2YtMDFkYi00YjBiLWE4ZTYtYzk1ZDc2MjE=:"


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


def _attach(rig: SpdkRig, nqn: str, **more: Any) -> dict[str, Any]:
    patience = {"ctrlr_loss_timeout_sec": -1, "reconnect_delay_sec": 1, "fast_io_fail_timeout_sec": 0}
    names = {"name": "C", "subnqn": nqn, "hostnqn": HOST_NQN, "multipath": "multipath"}
    return {**names, **rig.listen_address, **patience, **more}


async def test_a_namespace_comes_with_its_controller_and_goes_with_it(rig: SpdkRig) -> None:
    volume = await rig.serve(4 * MIB)
    params = _attach(rig, volume.export)
    assert await rig.ask("bdev_nvme_attach_controller", params) == ["Cn1"]
    assert await rig.ask("bdev_nvme_attach_controller", params) == -114
    assert await rig.ask("bdev_nvme_attach_controller", {**params, "name": "D"}) == -17
    (controller,) = await rig.ask("bdev_nvme_get_controllers", {"name": "C"})
    (path,) = controller["ctrlrs"]
    assert (path["state"], path["trid"]["subnqn"], path["host"]["nqn"]) == ("enabled", volume.export, HOST_NQN)
    assert isinstance(await rig.ask("bdev_nvme_get_controllers", {"name": "none"}), int)
    assert await rig.ask("bdev_nvme_detach_controller", {"name": "C"}) is True
    assert await rig.ask("bdev_get_bdevs", {"name": "Cn1"}) == -19


async def test_who_is_not_let_in_hears_the_same_as_who_finds_nobody(rig: SpdkRig) -> None:
    volume = await rig.serve(4 * MIB)
    for change in ({"subnqn": volume.export + "0"}, {"hostnqn": HOST_NQN[:-1] + "2"}, {"trsvcid": "1"}):
        assert await rig.ask("bdev_nvme_attach_controller", {**_attach(rig, volume.export), **change}) == -5
    assert await rig.ask("bdev_nvme_get_controllers") == []
    assert await rig.ask("bdev_nvme_attach_controller", _attach(rig, volume.export, reconnect_delay_sec=0)) == -22


async def test_a_volume_that_grows_at_its_target_grows_here(rig: SpdkRig) -> None:
    volume = await rig.serve(4 * MIB)
    await rig.ask("bdev_nvme_attach_controller", _attach(rig, volume.export))
    await rig.grow_source(volume, 8 * MIB)

    async def grown() -> bool:
        return bool((await rig.ask("bdev_get_bdevs", {"name": "Cn1"}))[0]["num_blocks"] == 16384)

    await until(grown)


async def test_a_controller_waits_for_a_target_that_is_killed(rig: SpdkRig) -> None:
    volume = await rig.serve(4 * MIB)
    await rig.ask("bdev_nvme_attach_controller", _attach(rig, volume.export))
    assert rig.target is not None
    await rig.target.kill()

    async def noticed() -> bool:
        return bool((await rig.ask("bdev_nvme_get_controllers"))[0]["ctrlrs"][0]["state"] != "enabled")

    await until(noticed)
    assert isinstance(await rig.ask("bdev_get_bdevs", {"name": "Cn1"}), list), "its bdev stays"


async def test_a_key_lies_in_a_file_that_only_its_owner_reads(rig: SpdkRig) -> None:
    path = rig.directory / "key"
    path.write_text(KEY, encoding="ascii")
    path.chmod(0o644)
    assert isinstance(await rig.ask("keyring_file_add_key", {"name": "k", "path": str(path)}), int)
    path.chmod(0o600)
    assert await rig.ask("keyring_file_add_key", {"name": "k", "path": str(path)}) is True
    assert isinstance(await rig.ask("keyring_file_add_key", {"name": "k", "path": str(path)}), int)
    assert [key["name"] for key in await rig.ask("keyring_get_keys")] == ["k"]
    assert await rig.ask("keyring_file_remove_key", {"name": "k"}) is True


async def test_encryption_keys_are_refused_as_expected(rig: SpdkRig) -> None:
    key = {"cipher": "AES_XTS", "key": "00" * 16, "key2": "11" * 16, "name": "K"}
    assert await rig.ask("accel_crypto_key_create", key) is True
    assert await rig.ask("accel_crypto_key_create", key) == -32602
    assert await rig.ask("accel_crypto_key_create", {**key, "name": "K2", "key": "00" * 5}) == -32602
    assert await rig.ask("accel_crypto_key_create", {**key, "name": "K2", "cipher": "ROT13"}) == -32700
    assert await rig.ask("accel_crypto_key_destroy", {"key_name": "K"}) is True
    assert await rig.ask("accel_crypto_key_destroy", {"key_name": "K"}) == -32602


async def test_an_encrypted_bdev_stands_on_its_base_and_names_its_key(rig: SpdkRig) -> None:
    if not rig.rpc.offers("bdev_crypto_create"):
        assert rig.real, "only a real one may be built without encryption"
        return
    await rig.ask("accel_crypto_key_create", {"cipher": "AES_XTS", "key": "00" * 16, "key2": "11" * 16, "name": "K"})
    await rig.ask("bdev_null_create", {"name": "N1", "block_size": 512, "num_blocks": 8192})
    crypto = {"base_bdev_name": "N1", "name": "X", "key_name": "K"}
    assert await rig.ask("bdev_crypto_create", {**crypto, "key_name": "none"}) == -32602
    assert await rig.ask("bdev_crypto_create", {**crypto, "base_bdev_name": "later", "name": "Y"}) == "Y"
    assert await rig.ask("bdev_get_bdevs", {"name": "Y"}) == -19
    assert await rig.ask("bdev_crypto_delete", {"name": "Y"}) == -19
    assert await rig.ask("bdev_crypto_create", crypto) == "X"
    assert await rig.ask("bdev_crypto_create", crypto) == -17
    (bdev,) = await rig.ask("bdev_get_bdevs", {"name": "X"})
    told = bdev["driver_specific"]["crypto"]
    assert (told["base_bdev_name"], told["key_name"]) == ("N1", "K")
    assert await rig.ask("bdev_crypto_delete", {"name": "X"}) is True


async def test_volumes_of_a_file_are_there_again_after_a_kill(rig: SpdkRig) -> None:
    path = rig.directory / "store"
    path.write_bytes(bytes(64 * MIB))
    aio = {"name": "A", "filename": str(path), "block_size": 4096}
    await rig.ask("bdev_aio_create", aio)
    store = await rig.ask("bdev_lvol_create_lvstore", {"bdev_name": "A", "lvs_name": "lvs", "cluster_sz": MIB})
    assert isinstance(store, str)
    assert await rig.ask("bdev_lvol_create_lvstore", {"bdev_name": "A", "lvs_name": "lvs"}) == -1
    lvol = {"lvol_name": "a", "size_in_mib": 4, "lvs_name": "lvs", "thin_provision": True}
    unique = await rig.ask("bdev_lvol_create", lvol)
    assert await rig.ask("bdev_lvol_create", lvol) == -17
    assert await rig.ask("bdev_lvol_create", {**lvol, "lvol_name": "x" * 64}) == -22
    assert isinstance(await rig.ask("bdev_lvol_snapshot", {"lvol_name": "lvs/a", "snapshot_name": "s"}), str)
    assert await rig.ask("bdev_lvol_snapshot", {"lvol_name": "lvs/a", "snapshot_name": "s"}) == -32602
    assert isinstance(await rig.ask("bdev_lvol_clone", {"snapshot_name": "lvs/s", "clone_name": "c"}), str)
    assert await rig.ask("bdev_lvol_clone", {"snapshot_name": "lvs/a", "clone_name": "d"}) == -32602
    assert await rig.ask("bdev_lvol_delete", {"name": "lvs/s"}) == -32603, "it has two clones"
    assert await rig.ask("bdev_lvol_resize", {"name": "lvs/a", "size_in_mib": 8}) is True
    await rig.dpu.restart()
    assert await rig.dpu.answer("bdev_aio_create", aio) == "A"
    (found,) = await rig.dpu.answer("bdev_get_bdevs", {"name": "lvs/a"})
    assert (found["uuid"], found["num_blocks"] * found["block_size"]) == (unique, 8 * MIB)
