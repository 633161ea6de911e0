import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp.test_utils import TestServer

from coordinator.endpoints.aggregated import Gate, application, listener_context
from coordinator.endpoints.delegated import Delegated
from coordinator.endpoints.discovery import AGGREGATED
from coordinator.endpoints.health import Checks
from coordinator.endpoints.service import BmApi
from coordinator.endpoints.subresources import GROUP, Action
from tests.unit.coordinator.endpoints.certificates import Authority
from tests.unit.coordinator.endpoints.fakes import FakeDpus, FakeObjects
from tests.unit.coordinator.endpoints.test_delegated import FakeReviews

ROOT = f"/apis/{GROUP}/v1alpha1"
STOP = f"{ROOT}/namespaces/default/baremetalmachines/bm-01/stop"
PROXIES, SERVERS = Authority("front-proxy-ca"), Authority("server-ca")
OPS = {"X-Remote-User": "ada", "X-Remote-Group": "ops"}


class FakeConfigMaps:
    def __init__(self) -> None:
        self.authorities = PROXIES.pem

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        assert (namespace, name) == ("kube-system", "extension-apiserver-authentication")
        return {"requestheader-client-ca-file": self.authorities, "requestheader-allowed-names": '["proxy"]'}


class Behind:
    """bm-api as it stands behind an aggregator, and clients with and without certificate."""

    def __init__(self, server: TestServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self.objects = FakeObjects()
        self.config_maps = FakeConfigMaps()
        self.checks = Checks()

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, *, signed: Authority | None = None
    ) -> tuple[int, str]:
        tls = ssl.create_default_context(cadata=SERVERS.pem)
        if signed is not None:
            file = self._folder / "client.pem"
            file.write_text(signed.issue("proxy")[1])
            tls.load_cert_chain(file)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self._server.make_url(path), headers=headers or {}, ssl=tls) as reply,
        ):
            return reply.status, await reply.text()


@asynccontextmanager
async def behind(folder: Path) -> AsyncIterator[Behind]:
    file = folder / "server.pem"
    file.write_text(SERVERS.issue("bm-api")[1])
    tls = listener_context(str(file), str(file))
    objects, config_maps, checks = FakeObjects(), FakeConfigMaps(), Checks()
    gate = Gate(config_maps, Delegated(FakeReviews()), tls)
    await gate.refresh()
    server = TestServer(application(BmApi(objects, FakeDpus()), gate, checks), scheme="https")
    await server.start_server(ssl=tls)
    try:
        found = Behind(server, folder)
        found.objects, found.config_maps, found.checks = objects, config_maps, checks
        yield found
    finally:
        await server.close()


async def test_the_aggregators_word_for_a_caller_is_taken(tmp_path: Path) -> None:
    async with behind(tmp_path) as api:
        status, _ = await api.ask("PUT", STOP, OPS, signed=PROXIES)
        assert (status, api.objects.stored["spec"]["power"]) == (200, "Off")


async def test_the_same_headers_without_its_certificate_are_worth_nothing(tmp_path: Path) -> None:
    async with behind(tmp_path) as api:
        status, body = await api.ask("PUT", STOP, OPS)
        assert (status, api.objects.stored["spec"]["power"]) == (401, "On")
    assert "Unauthorized" in body


async def test_a_caller_without_the_right_is_refused_although_the_aggregator_let_him_pass(tmp_path: Path) -> None:
    async with behind(tmp_path) as api:
        status, body = await api.ask("PUT", STOP, {"X-Remote-User": "bob"}, signed=PROXIES)
        assert (status, api.objects.stored["spec"]["power"]) == (403, "On")
    assert "baremetalmachines/stop" in body


async def test_a_direct_caller_shows_a_token(tmp_path: Path) -> None:
    async with behind(tmp_path) as api:
        assert (await api.ask("PUT", STOP, {"Authorization": "Bearer good"}))[0] == 200
        assert (await api.ask("PUT", STOP, {"Authorization": "Bearer bad"}))[0] == 401


async def test_discovery_is_open_and_tells_every_action(tmp_path: Path) -> None:
    async with behind(tmp_path) as api:
        for path in ("/", "/apis", f"/apis/{GROUP}", ROOT, "/openapi/v3", f"/openapi/v3{ROOT}"):
            status, body = await api.ask("GET", path)
            assert status == 200
        status, body = await api.ask("GET", ROOT)
        assert all(f'"{action.path}"' in body for action in Action)
        status, body = await api.ask("GET", "/apis", {"Accept": AGGREGATED})
        assert '"APIGroupDiscoveryList"' in body


async def test_readiness_says_which_part_is_not_ready_and_why(tmp_path: Path) -> None:
    async with behind(tmp_path) as api:
        assert (await api.ask("GET", "/readyz"))[0] == 200
        api.checks.add("machines", lambda: "has not listed hosts yet")
        status, body = await api.ask("GET", "/readyz")
    assert status == 503
    assert "[-] machines: has not listed hosts yet" in body
