import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from coordinator.endpoints.callers import Caller
from coordinator.endpoints.service import BmApi
from coordinator.endpoints.subresources import GROUP, parse
from tests.unit.coordinator.endpoints.fakes import PROTOCOL, FakeDpus, FakeObjects, a_bmc, a_machine, serving

PATH = f"/apis/{GROUP}/v1alpha1/namespaces/default/baremetalmachines/bm-01/console"


class Door:
    """A client of the console."""

    def __init__(self, session: aiohttp.ClientSession, url: str, bm_api: BmApi) -> None:
        self.bm_api = bm_api
        self._session = session
        self._url = url

    def open(self, query: str = "mode=write") -> "aiohttp.client._WSRequestContextManager":
        return self._session.ws_connect(f"{self._url}?{query}", protocols=(PROTOCOL,))

    async def refusal(self, query: str = "mode=write", **headers: str) -> tuple[int, dict[str, object]]:
        defaults = {
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }  # fmt: skip
        async with self._session.get(f"{self._url}?{query}", headers=defaults | headers) as reply:
            return reply.status, await reply.json()


@asynccontextmanager
async def a_door(objects: FakeObjects) -> AsyncIterator[Door]:
    bm_api = BmApi(objects, FakeDpus())

    async def handle(request: web.Request) -> web.StreamResponse:
        return await bm_api.handle(request, parse(request.method, request.path), Caller("ada"))

    app = web.Application()
    app.router.add_route("*", PATH, handle)
    async with serving(app) as server, aiohttp.ClientSession() as session:
        yield Door(session, str(server.make_url(PATH)), bm_api)


async def test_what_is_typed_reaches_the_bmc_and_its_answer_comes_back() -> None:
    async with a_bmc() as bmc, a_door(FakeObjects(address=bmc.url)) as door, door.open() as console:
        assert console.protocol == PROTOCOL
        assert await console.receive_bytes() == b"login: "
        await console.send_bytes(b"root\r")
        assert await console.receive_bytes() == b"ROOT\r"
        assert bmc.queries == [{"mode": "write"}]


async def test_mode_and_takeover_are_passed_on() -> None:
    async with a_bmc() as bmc, a_door(FakeObjects(address=bmc.url)) as door:
        async with door.open("mode=view") as console:
            await console.receive_bytes()
        async with door.open("mode=write&takeover=true") as console:
            await console.receive_bytes()
        assert bmc.queries == [{"mode": "view"}, {"mode": "write", "takeover": "1"}]


async def test_a_second_writer_gets_the_bmcs_own_close_code_and_reason() -> None:
    async with a_bmc() as bmc, a_door(FakeObjects(address=bmc.url)) as door, door.open() as first:
        await first.receive_bytes()
        async with door.open() as second:
            await second.receive_bytes()
            closing = await second.receive()
        assert (closing.data, closing.extra) == (4409, "root#1 writes; view, or take over")


async def test_a_console_that_ends_at_the_bmc_ends_here_with_the_same_code() -> None:
    async with a_bmc() as bmc, a_door(FakeObjects(address=bmc.url)) as door, door.open() as console:
        await console.receive_bytes()
        await console.send_bytes(b"power off")
        closing = await console.receive()
        assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1013)


async def test_the_bmc_is_left_when_the_client_leaves_and_the_session_is_no_longer_counted() -> None:
    async with a_bmc() as bmc, a_door(FakeObjects(address=bmc.url)) as door:
        async with door.open("mode=view") as console:
            await console.receive_bytes()
            assert REGISTRY.get_sample_value("dpupool_console_sessions", {"mode": "view"}) == 1
        await bmc.left.wait()
    assert REGISTRY.get_sample_value("dpupool_console_sessions", {"mode": "view"}) == 0


async def test_who_is_at_a_console_is_told_when_the_coordinator_stops() -> None:
    async with a_bmc() as bmc, a_door(FakeObjects(address=bmc.url)) as door, door.open() as console:
        await console.receive_bytes()
        stopping = asyncio.create_task(door.bm_api.close())
        assert (await console.receive()).data == 1012
        await stopping


async def test_a_machine_without_a_server_has_no_console_yet() -> None:
    machine = a_machine() | {"status": {}}
    async with a_door(FakeObjects(machine)) as door:
        status, body = await door.refusal()
    assert status == 409
    assert "no server yet" in str(body["message"])


async def test_wrong_credentials_of_the_bmc_name_the_secret() -> None:
    async with a_bmc() as bmc:
        objects = FakeObjects(address=bmc.url)
        objects.secrets["bmc"]["password"] = b"wrong"
        async with a_door(objects) as door:
            status, body = await door.refusal()
    assert status == 409
    assert "spec.bmc.credentialsSecretRef" in str(body["message"])


async def test_a_bmc_that_is_away_is_told_as_unavailable() -> None:
    async with a_bmc() as bmc:
        url = bmc.url
    async with a_door(FakeObjects(address=url)) as door:
        status, body = await door.refusal()
    assert (status, body["reason"]) == (503, "ServiceUnavailable")


async def test_a_bmc_without_redfish_has_no_console() -> None:
    async with a_door(FakeObjects(address="ipmi://127.0.0.1")) as door:
        status, body = await door.refusal()
    assert status == 405
    assert "spec.bmc.address" in str(body["message"])


async def test_a_plain_get_is_told_to_upgrade() -> None:
    async with a_door(FakeObjects()) as door:
        status, body = await door.refusal(Upgrade="none")
    assert status == 400
    assert "WebSocket" in str(body["message"])


@pytest.mark.parametrize(
    ("query", "headers"), [("mode=both", {}), ("mode=view", {"Sec-WebSocket-Protocol": "v5.channel.k8s.io"})]
)
async def test_unknown_modes_and_protocols_are_refused(query: str, headers: dict[str, str]) -> None:
    async with a_door(FakeObjects()) as door:
        status, _ = await door.refusal(query, **headers)
    assert status == 400
