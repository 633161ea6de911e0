import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, WSMsgType, encode_basic_auth

from lab.chassis.application import Chassis
from lab.chassis.config import ChassisConfig
from lab.chassis.host import PowerState
from lab.chassis.redfish.access import SESSION_LIMIT
from lab.chassis.slots import DiskSpec, NicSpec
from tests.unit.lab.chassis.waiting import until

SYSTEM = "/redfish/v1/Systems/host-1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
SESSIONS = "/redfish/v1/SessionService/Sessions"
CD = "/redfish/v1/Managers/bmc/VirtualMedia/Cd"
BASIC = {"Authorization": encode_basic_auth("admin", "secret")}


@pytest.fixture
def config(config: ChassisConfig, tmp_path: Path) -> ChassisConfig:
    media = tmp_path / "media"
    media.mkdir()
    (media / "cd.iso").write_bytes(b"iso")
    return msgspec.structs.replace(config, bmc=msgspec.structs.replace(config.bmc, media_dir=str(media)))


@pytest.fixture
async def stranger(chassis: Chassis) -> AsyncIterator[ClientSession]:
    """A client that is not logged in."""
    async with ClientSession(chassis.url) as session:
        yield session


@pytest.fixture
async def admin(chassis: Chassis) -> AsyncIterator[ClientSession]:
    async with ClientSession(chassis.url, headers=BASIC) as session:
        yield session


async def get(session: ClientSession, path: str) -> Any:
    async with session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["OData-Version"] == "4.0"
        return await answer.json()


async def ask(session: ClientSession, method: str, path: str, body: object = None) -> tuple[int, Any]:
    async with session.request(method, path, json=body) as answer:
        return answer.status, await answer.json() if answer.content_type == "application/json" else None


async def test_every_link_of_the_service_leads_somewhere(
    admin: ClientSession, chassis: Chassis, disk: Callable[..., DiskSpec]
) -> None:
    await chassis.bus.plug(disk(0))
    await chassis.bus.plug(NicSpec(0, "vf0", "lo", "52:54:00:00:00:01"))
    waiting, seen = ["/redfish/v1/"], set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            body = await get(admin, path)
            assert body["@odata.id"] == path
            waiting += links(body)
    assert f"{SYSTEM}/Storage/dpu/Drives/disk0" in seen
    assert f"{SYSTEM}/EthernetInterfaces/nic0" in seen
    assert CD in seen


def links(body: Any) -> list[str]:
    if isinstance(body, list):
        return [path for item in body for path in links(item)]
    if not isinstance(body, dict):
        return []
    own = [body["@odata.id"]] if "@odata.id" in body else []
    return own + [path for value in body.values() for path in links(value)]


async def test_strangers_see_the_root_and_nothing_else(stranger: ClientSession) -> None:
    assert (await get(stranger, "/redfish/v1/"))["Id"] == "RootService"
    for method, path in (("GET", SYSTEM), ("POST", RESET), ("PATCH", SYSTEM), ("GET", SESSIONS), ("GET", "/console")):
        async with stranger.request(method, path) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic")
            assert (await answer.json())["error"]["code"].endswith("NoValidSession")


@pytest.mark.parametrize(
    "header",
    [encode_basic_auth("admin", "wrong"), encode_basic_auth("root", "secret"), "Basic !!!", "Bearer secret", "Basic"],
)
async def test_wrong_credentials_are_refused(stranger: ClientSession, header: str) -> None:
    async with stranger.get(SYSTEM, headers={"Authorization": header}) as answer:
        assert answer.status == 401


async def test_a_session_opens_the_service_until_it_is_closed(stranger: ClientSession) -> None:
    async with stranger.post(SESSIONS, json={"UserName": "admin", "Password": "secret"}) as answer:
        assert answer.status == 201
        token, place = answer.headers["X-Auth-Token"], answer.headers["Location"]
        assert token not in await answer.text()
    headers = {"X-Auth-Token": token}
    async with stranger.get(SYSTEM, headers=headers) as answer:
        assert answer.status == 200
    async with stranger.delete(place, headers=headers) as answer:
        assert answer.status == 204
    async with stranger.get(SYSTEM, headers=headers) as answer:
        assert answer.status == 401


async def test_logging_in_wrongly_or_too_often_is_refused(stranger: ClientSession) -> None:
    assert (await ask(stranger, "POST", SESSIONS, {"UserName": "admin", "Password": "x"}))[0] == 401
    assert (await ask(stranger, "POST", SESSIONS, {"UserName": "admin"}))[0] == 400
    right = {"UserName": "admin", "Password": "secret"}
    for _ in range(SESSION_LIMIT):
        assert (await ask(stranger, "POST", SESSIONS, right))[0] == 201
    assert (await ask(stranger, "POST", SESSIONS, right))[0] == 429


async def test_reset_turns_the_host_on_and_off(admin: ClientSession, chassis: Chassis) -> None:
    assert (await get(admin, SYSTEM))["BootProgress"]["LastState"] == "None"
    assert await ask(admin, "POST", RESET, {"ResetType": "On"}) == (204, None)
    system = await get(admin, SYSTEM)
    assert system["PowerState"] == "On"
    assert system["BootProgress"]["LastState"] == "PrimaryProcessorInitializationStarted"
    assert await ask(admin, "POST", RESET, {"ResetType": "GracefulShutdown"}) == (204, None)
    await until(lambda: chassis.host.state is PowerState.OFF)
    assert (await get(admin, SYSTEM))["PowerState"] == "Off"


async def test_a_host_that_cannot_start_says_why(
    admin: ClientSession, chassis: Chassis, disk: Callable[..., DiskSpec]
) -> None:
    await chassis.bus.plug(disk(0, nbd_path="/nowhere/nbd"))
    status, body = await ask(admin, "POST", RESET, {"ResetType": "On"})
    assert status == 503
    assert "/nowhere/nbd" in body["error"]["message"]


async def test_a_read_disk_is_a_boot_that_started(
    admin: ClientSession, chassis: Chassis, disk: Callable[..., DiskSpec]
) -> None:
    await chassis.bus.plug(disk(0, boot_order=1))
    await chassis.host.power_on()
    assert (await get(admin, SYSTEM))["BootProgress"]["LastState"] == "OSBootStarted"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "related"),
    [
        ("POST", RESET, {"ResetType": "Explode"}, 400, "#/ResetType"),
        ("POST", RESET, {}, 400, "#/ResetType"),
        ("POST", RESET, ["On"], 400, ""),
        ("POST", RESET, {"ResetType": "Nmi"}, 409, ""),
        ("PATCH", SYSTEM, {"AssetTag": "x"}, 400, "#/AssetTag"),
        ("PATCH", SYSTEM, {"Boot": "Pxe"}, 400, "#/Boot"),
        ("PATCH", SYSTEM, {"Boot": {"BootSourceOverrideTarget": "Floppy"}}, 400, "#/BootSourceOverrideTarget"),
        ("PATCH", SYSTEM, {"Boot": {"BootSourceOverrideMode": "UEFI"}}, 400, "#/Boot/BootSourceOverrideMode"),
        ("PATCH", SYSTEM, {"Boot": {"Nonsense": 1}}, 400, "#/Boot/Nonsense"),
        ("POST", f"{CD}/Actions/VirtualMedia.InsertMedia", {"Image": "file:///etc/passwd"}, 400, "#/Image"),
        ("POST", f"{CD}/Actions/VirtualMedia.InsertMedia", {"Image": "ftp://host/x"}, 400, "#/Image"),
        ("POST", f"{CD}/Actions/VirtualMedia.InsertMedia", {}, 400, "#/Image"),
        ("DELETE", SYSTEM, None, 405, ""),
        ("GET", "/redfish/v1/Systems/another", None, 404, ""),
        ("GET", f"{SYSTEM}/Storage/dpu/Drives/disk7", None, 404, ""),
        ("GET", f"{SYSTEM}/EthernetInterfaces/nic7", None, 404, ""),
        ("DELETE", f"{SESSIONS}/none", None, 404, ""),
    ],
)
async def test_a_users_fault_is_never_a_server_error(
    admin: ClientSession, method: str, path: str, body: object, status: int, related: str
) -> None:
    answered, error = await ask(admin, method, path, body)
    assert answered == status
    (detail,) = error["error"]["@Message.ExtendedInfo"]
    assert detail["MessageId"] == error["error"]["code"]
    assert detail["Message"]
    assert detail.get("RelatedProperties", [""]) == [related]


async def test_text_that_is_not_json_is_refused(admin: ClientSession) -> None:
    async with admin.post(RESET, data=b"{") as answer:
        assert answer.status == 400


async def test_a_boot_override_is_kept_and_disabled_again(admin: ClientSession) -> None:
    wanted = {"BootSourceOverrideTarget": "Pxe", "BootSourceOverrideEnabled": "Continuous"}
    assert (await ask(admin, "PATCH", SYSTEM, {"Boot": wanted | {"BootSourceOverrideMode": "Legacy"}}))[0] == 204
    assert wanted.items() <= (await get(admin, SYSTEM))["Boot"].items()
    assert (await ask(admin, "PATCH", SYSTEM, {"Boot": {"BootSourceOverrideEnabled": "Disabled"}}))[0] == 204
    assert (await get(admin, SYSTEM))["Boot"]["BootSourceOverrideTarget"] == "None"


async def test_media_inserted_while_off_is_in_the_drive_at_power_on(
    admin: ClientSession, chassis: Chassis, config: ChassisConfig
) -> None:
    image = f"file://{config.bmc.media_dir}/cd.iso"
    assert (await ask(admin, "POST", f"{CD}/Actions/VirtualMedia.InsertMedia", {"Image": image}))[0] == 204
    assert (await get(admin, CD))["Image"] == image
    await chassis.host.power_on()
    shown = await chassis.host.monitor.execute("show")
    assert shown["devices"]["cd0"]["drive"] == "cd-media"
    await chassis.host.force_off()
    assert (await ask(admin, "POST", f"{CD}/Actions/VirtualMedia.EjectMedia"))[0] == 204
    assert (await get(admin, CD))["Inserted"] is False


async def test_the_console_is_shared_to_look_and_single_to_type(admin: ClientSession, chassis: Chassis) -> None:
    await chassis.host.power_on()
    async with (
        admin.ws_connect("/console?mode=write", protocols=["plain.dpupool.io"]) as writer,
        admin.ws_connect("/console") as viewer,
        admin.ws_connect("/console?mode=write") as second,
    ):
        assert writer.protocol == "plain.dpupool.io"
        refused = await second.receive(timeout=30)
        assert (refused.type, refused.data) == (WSMsgType.CLOSE, 4409)
        assert "writes" in str(refused.extra)
        await writer.send_bytes(b"hello")
        for stream in (writer, viewer):
            seen = b""
            while b"HELLO" not in seen:
                seen += await stream.receive_bytes(timeout=30)
            assert seen == b"fake firmware\r\nHELLO"
        await viewer.send_bytes(b"let me")
        assert (await viewer.receive(timeout=30)).data == 1008
        async with admin.ws_connect("/console?mode=write&takeover=1") as third:
            assert (await writer.receive(timeout=30)).data == 4409
            await third.send_bytes(b"mine")
            seen = b""
            while b"MINE" not in seen:
                seen += await third.receive_bytes(timeout=30)


async def test_the_console_refuses_what_is_not_a_websocket_or_no_mode(admin: ClientSession) -> None:
    assert (await ask(admin, "GET", "/console"))[0] == 400
    assert (await ask(admin, "GET", "/console?mode=own"))[0] == 400


async def test_stopping_the_bmc_ends_open_consoles(config: ChassisConfig) -> None:
    chassis = Chassis(config)
    await chassis.start()
    async with ClientSession(chassis.url, headers=BASIC) as session, session.ws_connect("/console") as stream:
        stopping = asyncio.create_task(chassis.stop())
        assert (await stream.receive(timeout=30)).type is WSMsgType.CLOSE
    await stopping
