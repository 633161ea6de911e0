"""The server around the objects: what others add, limits, odd bodies, watchers that stall or leave."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import web

from coordinator.api import resources
from coordinator.api.history import Bounds
from coordinator.api.routes import Call, ExtraResource, RouteGroup
from tests.fakes.api import ADMIN_TOKEN, NOBODY_TOKEN, RunningApi, running_api

CONFIGS = "/api/v1/namespaces/default/configmaps"
MERGE = {"Content-Type": "application/merge-patch+json"}


async def console(call: Call) -> web.StreamResponse:
    told = {"user": call.user.name, "verb": call.info.verb.value, "name": call.info.name, "rest": list(call.info.rest)}
    remote = [name for name in call.request.headers if name.lower().startswith("x-remote-")]
    return web.json_response(told | {"remote": remote, "body": (await call.request.text())})


async def broken(call: Call) -> web.StreamResponse:
    raise ZeroDivisionError(call.info.name)


EXTRA = RouteGroup(
    "subresources.dpupool.io",
    "v1alpha1",
    (
        ExtraResource("baremetalmachines/console", "Console", namespaced=True, verbs=("get",), handler=console),
        ExtraResource("baremetalmachines/start", "Start", namespaced=True, verbs=("update",), handler=console),
        ExtraResource("baremetalmachines/broken", "Broken", namespaced=True, verbs=("get",), handler=broken),
    ),
    paths={"/metrics": console},
)
MACHINE = "/apis/subresources.dpupool.io/v1alpha1/namespaces/default/baremetalmachines/m1"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    with running_api(tmp_path, extra=[EXTRA]) as found:
        yield found


@pytest.fixture
def http(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client() as found:
        yield found


def test_an_added_subresource_gets_user_and_attributes(api: RunningApi, http: httpx.Client) -> None:
    answer = http.get(f"{MACHINE}/console/tail", headers={"X-Remote-User": "root"})
    assert answer.json() == {
        "user": "admin",
        "verb": "get",
        "name": "m1",
        "rest": ["tail"],
        "remote": [],
        "body": "",
    }
    assert http.put(f"{MACHINE}/start", content="now").json()["body"] == "now"
    assert http.post(f"{MACHINE}/start").status_code == 405
    assert http.get("/metrics").json()["verb"] == "get"
    with api.client(NOBODY_TOKEN) as nobody:
        assert nobody.get(f"{MACHINE}/console").status_code == 403
        assert nobody.get("/metrics").status_code == 403


def test_an_added_group_is_discovered(http: httpx.Client) -> None:
    names = [each["name"] for each in http.get("/apis/subresources.dpupool.io/v1alpha1").json()["resources"]]
    assert names == ["baremetalmachines/console", "baremetalmachines/start", "baremetalmachines/broken"]
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    items = http.get("/apis", headers={"Accept": accept}).json()["items"]
    group = next(item for item in items if item["metadata"]["name"] == "subresources.dpupool.io")
    (row,) = group["versions"][0]["resources"]
    assert "responseKind" not in row
    assert [each["subresource"] for each in row["subresources"]] == ["console", "start", "broken"]


def test_a_fault_of_a_handler_is_answered_without_its_secrets(http: httpx.Client) -> None:
    answer = http.get(f"{MACHINE}/broken")
    assert answer.status_code == 500
    assert answer.json()["reason"] == "InternalError"
    assert "ZeroDivision" not in answer.text


def test_a_body_that_is_too_large_is_refused(http: httpx.Client) -> None:
    body = {"metadata": {"name": "big"}, "data": {"a": "x" * (3 << 20)}}
    answer = http.post(CONFIGS, json=body)
    assert (answer.status_code, answer.json()["reason"]) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize("depth", [500, 5_000, 100_000])
def test_a_body_that_is_nested_too_deeply_is_refused(http: httpx.Client, depth: int) -> None:
    text = '{"metadata":{"name":"deep"},"data":' + '{"a":' * depth + "1" + "}" * depth + "}"
    answer = http.post(CONFIGS, content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert http.get(f"{CONFIGS}/deep").status_code == 404


def test_a_full_store_refuses_with_507_and_keeps_serving(tmp_path: Path) -> None:
    with running_api(tmp_path, max_bytes=600_000) as api, api.client() as http:
        for number in range(200):
            body = {"metadata": {"name": f"c{number}"}, "data": {"a": "x" * 20_000}}
            answer = http.post(CONFIGS, json=body)
            if answer.status_code != 201:
                break
        assert answer.status_code == 507
        assert answer.json()["reason"] == "StorageFull"
        assert str(api.database) in answer.json()["message"]
        assert len(http.get(CONFIGS).json()["items"]) == number
        assert http.get(f"{CONFIGS}/c{number}").status_code == 404
        probe = http.get("/readyz")
        assert probe.status_code == 500
        assert "no space left" in probe.text
        assert http.get("/livez").status_code == 200


def test_the_values_of_secrets_are_not_logged(http: httpx.Client, capfd: pytest.CaptureFixture[str]) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    http.post(secrets, json={"metadata": {"name": "s"}, "stringData": {"a": "xyzzy-value"}})
    http.patch(f"{secrets}/s", json={"data": {"a": "eHl6enk="}}, headers=MERGE)
    http.patch(f"{secrets}/s", json={"data": {"a": 5}}, headers=MERGE)
    http.get(secrets)
    told = "".join(capfd.readouterr())
    assert "/secrets" in told
    assert "xyzzy" not in told
    assert "eHl6" not in told
    assert ADMIN_TOKEN not in told


def test_a_restarted_server_lets_a_watch_go_on_where_it_was(tmp_path: Path) -> None:
    with running_api(tmp_path) as api, api.client() as http:
        first = http.post(CONFIGS, json={"metadata": {"name": "a"}}).json()["metadata"]["resourceVersion"]
        http.post(CONFIGS, json={"metadata": {"name": "b"}})
        http.delete(f"{CONFIGS}/a")
    with running_api(tmp_path) as api, api.client() as http:
        query = {"watch": "true", "resourceVersion": first}
        with http.stream("GET", CONFIGS, params=query) as response:
            lines = response.iter_lines()
            events = [json.loads(next(lines)) for _ in range(2)]
    assert [(each["type"], each["object"]["metadata"]["name"]) for each in events] == [("ADDED", "b"), ("DELETED", "a")]


def test_a_version_that_is_forgotten_or_not_yet_given_is_410(tmp_path: Path) -> None:
    with running_api(tmp_path, bounds=Bounds(events=5)) as api, api.client() as http:
        made = http.post(CONFIGS, json={"metadata": {"name": "a"}}).json()["metadata"]["resourceVersion"]
        page = http.get(CONFIGS, params={"limit": 1}).json()["metadata"]
        for number in range(10):
            http.patch(f"{CONFIGS}/a", json={"data": {"n": str(number)}}, headers=MERGE)
        for version in (made, "99999999"):
            answer = http.get(CONFIGS, params={"watch": "true", "resourceVersion": version})
            assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")
        assert "continue" not in page
        exact = http.get(CONFIGS, params={"resourceVersion": made, "resourceVersionMatch": "Exact"})
        assert exact.status_code == 410


def test_an_expired_page_is_410(tmp_path: Path) -> None:
    with running_api(tmp_path, bounds=Bounds(events=5)) as api, api.client() as http:
        for name in ("a", "b", "c"):
            http.post(CONFIGS, json={"metadata": {"name": name}})
        token = http.get(CONFIGS, params={"limit": 1}).json()["metadata"]["continue"]
        for number in range(10):
            http.patch(f"{CONFIGS}/a", json={"data": {"n": str(number)}}, headers=MERGE)
        answer = http.get(CONFIGS, params={"limit": 1, "continue": token})
        assert (answer.status_code, answer.json()["reason"]) == (410, "Expired")


def client_context(api: RunningApi) -> ssl.SSLContext:
    assert api.pki is not None
    return ssl.create_default_context(cafile=str(api.pki.ca_file))


def lazy_watch(api: RunningApi, query: str) -> ssl.SSLSocket:
    """A watcher that asks and then reads nothing."""
    port = int(api.url.rpartition(":")[2])
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
    found = client_context(api).wrap_socket(raw, server_hostname="localhost")
    request = f"GET {CONFIGS}?watch=true&{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
    found.sendall(request.encode())
    return found


def test_a_watcher_that_does_not_read_is_cut(tmp_path: Path) -> None:
    with running_api(tmp_path, bounds=Bounds(events=20)) as api, api.client() as http:
        version = http.post(CONFIGS, json={"metadata": {"name": "a"}}).json()["metadata"]["resourceVersion"]
        lazy = lazy_watch(api, f"resourceVersion={version}")
        for number in range(150):
            http.patch(f"{CONFIGS}/a", json={"data": {"n": f"{number}" + "x" * 60_000}}, headers=MERGE)
        lazy.settimeout(20)
        received = b""
        while chunk := lazy.recv(1 << 16):
            received += chunk
            if b'"code":410' in received or received.endswith(b"0\r\n\r\n"):
                break
        lazy.close()
        assert b'"type":"ERROR"' in received
        assert b'"reason":"Expired"' in received
        assert received.count(b'"MODIFIED"') < 150
        assert http.get("/healthz").status_code == 200


def test_a_watcher_that_takes_nothing_for_too_long_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "WRITE_TIMEOUT_S", 0.2)
    with running_api(tmp_path) as api, api.client() as http:
        lazy = lazy_watch(api, "resourceVersion=0")
        for number in range(150):
            http.patch(f"{CONFIGS}/a", json={}, headers=MERGE)
            http.post(CONFIGS, json={"metadata": {"name": f"a{number}"}, "data": {"n": "x" * 60_000}})
        lazy.settimeout(20)
        received = 0
        try:
            while chunk := lazy.recv(1 << 16):
                received += len(chunk)
        except OSError:
            pass
        lazy.close()
        assert received < 150 * 60_000


def test_a_server_that_stops_ends_its_watches_at_once(tmp_path: Path) -> None:
    with running_api(tmp_path) as api, api.client() as http:
        stream = http.stream("GET", CONFIGS, params={"watch": "true"})
        response = stream.__enter__()
        began = time.monotonic()
        api.run(api.server.close)
        assert list(response.iter_lines()) == []
        assert time.monotonic() - began < 4.5  # aiohttp would cut streams after five
        stream.__exit__(None, None, None)


async def follow(
    session: aiohttp.ClientSession, url: str, context: ssl.SSLContext, count: int
) -> list[tuple[str, str, int]]:
    """The first events of a watch: type, name, version."""
    found: list[tuple[str, str, int]] = []
    params = {"watch": "true", "resourceVersion": "0"}
    async with session.get(url, params=params, ssl=context, timeout=aiohttp.ClientTimeout(total=90)) as response:
        async for line in response.content:
            event = json.loads(line)
            metadata = event["object"]["metadata"]
            found.append((event["type"], metadata["name"], int(metadata["resourceVersion"])))
            if len(found) == count:
                break
    return found


async def test_fifty_watchers_of_a_thousand_objects_lose_no_event(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        context, url = client_context(api), api.url + CONFIGS
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=headers, read_bufsize=1 << 20) as session:
            watchers = [asyncio.create_task(follow(session, url, context, 1_300)) for _ in range(50)]
            made = asyncio.Queue[int]()
            for number in range(1_000):
                made.put_nowait(number)

            async def work() -> None:
                while not made.empty():
                    number = made.get_nowait()
                    body = {"metadata": {"name": f"c{number}"}, "data": {}}
                    async with session.post(url, json=body, ssl=context) as answer:
                        assert answer.status == 201
                    if number % 10 == 0:
                        patch = session.patch(f"{url}/c{number}", json={"data": {"x": "y"}}, headers=MERGE, ssl=context)
                        assert (await patch).status == 200
                    if number % 5 == 0:
                        async with session.delete(f"{url}/c{number}", ssl=context) as answer:
                            assert answer.status == 200

            await asyncio.gather(*(work() for _ in range(16)))
            seen = await asyncio.gather(*watchers)
    expected = sorted(seen[0], key=lambda event: event[2])
    assert len({version for _, _, version in expected}) == 1_300
    assert sum(kind == "DELETED" for kind, _, _ in expected) == 200
    for each in seen:
        assert each == expected
