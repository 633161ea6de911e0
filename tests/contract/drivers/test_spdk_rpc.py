"""What the drivers believe of SPDK's bdevs, fronts and wire, on the fake and, where there is one, on spdk_tgt."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.drivers.spdk.together import together
from proto.errors import DpuError
from tests.contract.drivers.spdk_rigs import WHERE, SpdkRig, until

MIB = 1 << 20
FRONT = "nqn.2025-01.io.dpupool:disk:d0123456789ab"
NULL = {"name": "N1", "block_size": 512, "num_blocks": 8192}


@pytest.fixture(params=WHERE)
async def rig(request: pytest.FixtureRequest, short_dir: Path) -> AsyncIterator[SpdkRig]:
    chosen = SpdkRig(short_dir, real=request.param == "real", targets=False)
    await chosen.start()
    chosen.rpc = SpdkRpc(str(chosen.dpu_socket))
    try:
        await chosen.rpc.start(lambda _: None)
        yield chosen
    finally:
        await chosen.rpc.stop()
        await chosen.stop()


async def _wire(rig: SpdkRig, *texts: str) -> list[Any]:
    """Replies to raw texts on a connection of their own, until the server closes it or there is one for each."""
    reader, writer = await asyncio.open_unix_connection(str(rig.dpu_socket))
    replies: list[Any] = []
    writer.write("".join(texts).encode())
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(30):
            while len(replies) < len(texts) and (line := await reader.readline()):
                replies.append(json.loads(line))
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return replies


async def test_requests_need_no_framing_and_ids_come_back_as_sent(rig: SpdkRig) -> None:
    version = '{"jsonrpc":"2.0","method":"spdk_get_version","id":%s}'
    replies = await _wire(rig, *(version % number for number in ("1", '"two"')))
    assert {str(reply["id"]) for reply in replies} == {"1", "two"}


async def test_methods_without_parameters_refuse_even_none_of_them(rig: SpdkRig) -> None:
    (reply,) = await _wire(rig, '{"jsonrpc":"2.0","method":"spdk_get_version","params":{},"id":1}')
    assert reply["error"]["code"] == -32602


async def test_what_is_no_json_ends_the_connection(rig: SpdkRig) -> None:
    assert await _wire(rig, '{"jsonrpc":"2.0",nonsense}') == []


async def test_a_request_that_is_too_long_ends_the_connection(rig: SpdkRig) -> None:
    long = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "bdev_get_bdevs", "params": {"name": "x" * (257 * 1024)}})
    assert await _wire(rig, long) == []


async def test_unknown_methods_and_parameters_are_refused(rig: SpdkRig) -> None:
    assert await rig.ask("no_such_method") == -32601
    assert await rig.ask("bdev_null_create", {**NULL, "colour": "red"}) in (-32603, -32602)


async def test_a_bdev_is_made_once_and_told_as_it_is(rig: SpdkRig) -> None:
    assert await rig.ask("bdev_null_create", NULL) == "N1"
    assert await rig.ask("bdev_null_create", NULL) == -17
    (bdev,) = await rig.ask("bdev_get_bdevs", {"name": "N1"})
    assert (bdev["name"], bdev["block_size"], bdev["num_blocks"]) == ("N1", 512, 8192)
    assert await rig.ask("bdev_null_create", {**NULL, "name": "N2", "uuid": bdev["uuid"]}) == -17
    assert await rig.ask("bdev_get_bdevs", {"name": "none"}) == -19
    assert await rig.ask("bdev_null_delete", {"name": "N1"}) is True
    assert await rig.ask("bdev_null_delete", {"name": "N1"}) == -19
    assert await rig.ask("bdev_null_create", {**NULL, "name": ""}) == -22


async def test_a_null_bdev_grows_and_does_not_shrink(rig: SpdkRig) -> None:
    await rig.ask("bdev_null_create", NULL)
    assert await rig.ask("bdev_null_resize", {"name": "N1", "new_size": 8}) is True
    assert await rig.ask("bdev_null_resize", {"name": "N1", "new_size": 4}) == -22
    assert (await rig.ask("bdev_get_bdevs", {"name": "N1"}))[0]["num_blocks"] == 16384


async def test_a_file_is_opened_read_only_and_grows(rig: SpdkRig) -> None:
    path = rig.directory / "file"
    assert await rig.ask("bdev_aio_create", {"name": "A", "filename": str(path), "block_size": 512}) == -2
    path.write_bytes(bytes(MIB))
    params = {"name": "A", "filename": str(path), "block_size": 512, "readonly": True}
    assert await rig.ask("bdev_aio_create", params) == "A"
    assert await rig.ask("bdev_aio_create", params) == -17
    (bdev,) = await rig.ask("bdev_get_bdevs", {"name": "A"})
    assert bdev["driver_specific"]["aio"]["filename"] == str(path)
    assert bdev["driver_specific"]["aio"]["readonly"] is True
    path.write_bytes(bytes(2 * MIB))
    assert await rig.ask("bdev_aio_rescan", {"name": "A"}) is True
    assert (await rig.ask("bdev_get_bdevs", {"name": "A"}))[0]["num_blocks"] == 4096
    assert await rig.ask("bdev_aio_delete", {"name": "A"}) is True


async def test_a_raid_with_one_member_gives_its_bdev_a_name_and_grows_with_it(rig: SpdkRig) -> None:
    await rig.ask("bdev_null_create", NULL)
    raid = {"name": "SERIAL", "raid_level": "raid0", "strip_size_kb": 4, "base_bdevs": ["N1"]}
    assert await rig.ask("bdev_raid_create", raid) is True
    (bdev,) = await rig.ask("bdev_get_bdevs", {"name": "SERIAL"})
    assert bdev["num_blocks"] == 8192
    assert bdev["driver_specific"]["raid"]["base_bdevs_list"][0]["name"] == "N1"
    assert isinstance(await rig.ask("bdev_raid_create", raid), int)
    await rig.ask("bdev_null_resize", {"name": "N1", "new_size": 8})
    assert (await rig.ask("bdev_get_bdevs", {"name": "SERIAL"}))[0]["num_blocks"] == 16384
    assert await rig.ask("bdev_raid_delete", {"name": "SERIAL"}) is True
    assert await rig.ask("bdev_raid_delete", {"name": "SERIAL"}) == -19


async def test_limits_are_rounded_up_and_change_on_a_namespace(rig: SpdkRig) -> None:
    await _front(rig, "N1")
    for asked, kept in ((5, 1000), (12345, 13000), (0, 0)):
        assert await rig.ask("bdev_set_qos_limit", {"name": "N1", "rw_ios_per_sec": asked}) is True
        (bdev,) = await rig.ask("bdev_get_bdevs", {"name": "N1"})
        assert bdev["assigned_rate_limits"]["rw_ios_per_sec"] == kept
    await rig.ask("bdev_set_qos_limit", {"name": "N1", "rw_ios_per_sec": 2000, "r_mbytes_per_sec": 5})
    await rig.ask("bdev_set_qos_limit", {"name": "N1", "rw_ios_per_sec": 3000})
    (bdev,) = await rig.ask("bdev_get_bdevs", {"name": "N1"})
    assert bdev["assigned_rate_limits"]["r_mbytes_per_sec"] == 5, "what is not given stays"


async def test_limits_of_a_bdev_that_nobody_has_open_can_be_set_once(rig: SpdkRig) -> None:
    await rig.ask("bdev_null_create", NULL)
    assert await rig.ask("bdev_set_qos_limit", {"name": "N1"}) == -22
    assert await rig.ask("bdev_set_qos_limit", {"name": "none", "rw_ios_per_sec": 1000}) == -19
    assert await rig.ask("bdev_set_qos_limit", {"name": "N1", "rw_ios_per_sec": 5000}) is True
    assert await rig.ask("bdev_set_qos_limit", {"name": "N1", "rw_ios_per_sec": 7000}) == -32602


async def test_a_vhost_socket_without_a_client_is_nobody(rig: SpdkRig) -> None:
    await rig.ask("bdev_null_create", NULL)
    assert await rig.ask("bdev_set_qos_limit", {"name": "N1", "rw_ios_per_sec": 5000}) is True
    assert await rig.ask("vhost_create_blk_controller", {"ctrlr": "v", "dev_name": "N1"}) is True
    assert await rig.ask("bdev_set_qos_limit", {"name": "N1", "rw_ios_per_sec": 7000}) == -32602


async def _front(rig: SpdkRig, bdev: str) -> None:
    await rig.ask("bdev_null_create", {**NULL, "name": bdev})
    await rig.ask("nvmf_create_transport", {"trtype": "VFIOUSER"})
    await rig.ask("nvmf_create_subsystem", {"nqn": FRONT, "serial_number": "S1", "allow_any_host": True})
    await rig.ask("nvmf_subsystem_add_ns", {"nqn": FRONT, "namespace": {"nsid": 1, "bdev_name": bdev}})


async def test_a_whole_front_goes_out_in_one_go(rig: SpdkRig) -> None:
    await rig.ask("bdev_null_create", NULL)
    await rig.ask("nvmf_create_transport", {"trtype": "VFIOUSER"})
    (rig.directory / "0").mkdir()
    at = {"trtype": "VFIOUSER", "traddr": str(rig.directory / "0")}
    nguid, unique = "0" * 31 + "A", "cf7bb150-0000-4000-8000-000000000002"
    space = {"nsid": 1, "bdev_name": "N1", "nguid": nguid, "uuid": unique}
    answers = await together(
        rig.ask("nvmf_create_subsystem", {"nqn": FRONT, "serial_number": "S1", "max_namespaces": 1}),
        rig.ask("nvmf_subsystem_add_ns", {"nqn": FRONT, "namespace": space}),
        rig.ask("bdev_set_qos_limit", {"name": "N1", "rw_ios_per_sec": 5000}),
        rig.ask("nvmf_subsystem_add_listener", {"nqn": FRONT, "listen_address": at}),
    )
    assert answers == [True, 1, True, True]
    assert await rig.ask("bdev_set_qos_limit", {"name": "N1", "rw_ios_per_sec": 7000}) is True
    (seen,) = await rig.ask("nvmf_get_subsystems", {"nqn": FRONT})
    assert seen["serial_number"] == "S1"
    assert [each["traddr"] for each in seen["listen_addresses"]] == [at["traddr"]]
    assert {key: seen["namespaces"][0][key] for key in space} == space
    assert (rig.directory / "0" / "cntrl").is_socket()
    assert await rig.ask("nvmf_subsystem_get_controllers", {"nqn": FRONT}) == []
    assert await rig.ask("nvmf_delete_subsystem", {"nqn": FRONT}) is True
    assert not (rig.directory / "0" / "cntrl").exists()


async def test_what_is_there_already_or_missing_is_refused_with_any_code(rig: SpdkRig) -> None:
    await _front(rig, "N1")
    at = {"trtype": "VFIOUSER", "traddr": str(rig.directory / "none")}
    refused = [
        ("nvmf_create_transport", {"trtype": "VFIOUSER"}, -32603),
        ("nvmf_create_transport", {"trtype": "SMOKE"}, -32602),
        ("nvmf_create_subsystem", {"nqn": FRONT}, -32603),
        ("nvmf_create_subsystem", {"nqn": "bad"}, -32603),
        ("nvmf_create_subsystem", {"nqn": FRONT + "2", "serial_number": "x" * 21}, -32602),
        ("nvmf_subsystem_add_ns", {"nqn": FRONT, "namespace": {"nsid": 1, "bdev_name": "N1"}}, -32602),
        ("nvmf_subsystem_add_ns", {"nqn": FRONT, "namespace": {"bdev_name": "none"}}, -32602),
        ("nvmf_subsystem_add_ns", {"nqn": FRONT + "3", "namespace": {"bdev_name": "N1"}}, -32602),
        ("nvmf_subsystem_add_listener", {"nqn": FRONT, "listen_address": at}, -32602),
        ("nvmf_subsystem_remove_ns", {"nqn": FRONT, "nsid": 7}, -32602),
        ("nvmf_delete_subsystem", {"nqn": FRONT + "4"}, -32602),
        ("nvmf_subsystem_remove_host", {"nqn": FRONT, "host": "nqn.2014-08.org.nvmexpress:uuid:x"}, -32603),
        ("vhost_create_blk_controller", {"ctrlr": "v", "dev_name": "none"}, -32602),
        ("vhost_get_controllers", {"name": "v"}, -32603),
        ("vhost_delete_controller", {"ctrlr": "v"}, -32602),
        ("bdev_nvme_detach_controller", {"name": "none"}, -19),
    ]
    assert [(method, params, await rig.ask(method, params)) for method, params, _ in refused] == refused


async def test_a_bdev_goes_from_under_its_users_without_a_word(rig: SpdkRig) -> None:
    await _front(rig, "N1")
    await rig.ask("bdev_null_create", {**NULL, "name": "N2"})
    await rig.ask("vhost_create_blk_controller", {"ctrlr": "v", "dev_name": "N2"})
    assert [await rig.ask("bdev_null_delete", {"name": name}) for name in ("N1", "N2")] == [True, True]
    assert (await rig.ask("nvmf_get_subsystems", {"nqn": FRONT}))[0]["namespaces"] == []
    (vhost,) = await rig.ask("vhost_get_controllers", {"name": "v"})
    assert vhost["backend_specific"]["block"]["bdev"] is None
    assert await rig.ask("vhost_delete_controller", {"ctrlr": "v"}) is True


async def test_a_vhost_front_is_made_told_and_deleted(rig: SpdkRig) -> None:
    await rig.ask("bdev_null_create", NULL)
    vhost = {"ctrlr": "v", "dev_name": "N1", "readonly": True}
    assert await rig.ask("vhost_create_blk_controller", vhost) is True
    assert await rig.ask("vhost_create_blk_controller", vhost) == -32602
    (seen,) = await rig.ask("vhost_get_controllers", {"name": "v"})
    assert (seen["ctrlr"], seen["sessions"]) == ("v", [])
    assert seen["socket"].endswith("/v")
    assert (seen["backend_specific"]["block"]["bdev"], seen["backend_specific"]["block"]["readonly"]) == ("N1", True)
    assert await rig.ask("vhost_delete_controller", {"ctrlr": "v"}) is True


async def test_counters_are_told_in_ticks(rig: SpdkRig) -> None:
    await rig.ask("bdev_null_create", NULL)
    told = await rig.ask("bdev_get_iostat", {"names": ["N1"]})
    assert told["tick_rate"] > 1_000_000
    (counters,) = told["bdevs"]
    assert {"name", "bytes_read", "num_read_ops", "read_latency_ticks", "num_unmap_ops", "io_error"} <= set(counters)


async def test_a_process_that_is_killed_forgets_everything(rig: SpdkRig) -> None:
    await _front(rig, "N1")
    (rig.directory / "1").mkdir()
    at = {"trtype": "VFIOUSER", "traddr": str(rig.directory / "1")}
    assert await rig.ask("nvmf_subsystem_add_listener", {"nqn": FRONT, "listen_address": at}) is True
    await rig.dpu.restart()
    assert (rig.directory / "1" / "cntrl").exists()
    assert await rig.dpu.answer("bdev_get_bdevs", None) == []
    await until(lambda: _answers(rig))
    await _front(rig, "N1")
    assert await rig.ask("nvmf_subsystem_add_listener", {"nqn": FRONT, "listen_address": at}) == -32602
    (rig.directory / "1" / "cntrl").unlink()
    assert await rig.ask("nvmf_subsystem_add_listener", {"nqn": FRONT, "listen_address": at}) is True


async def _answers(rig: SpdkRig) -> bool:
    """Whether the client has found the new process."""
    try:
        await rig.ask("bdev_get_bdevs")
    except DpuError:
        return False
    return True
