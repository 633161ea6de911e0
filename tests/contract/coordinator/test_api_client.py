"""What controllers rely on of an API, held by the embedded server over HTTP and by the stand-in of the tests alike."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.clients.kube import KubeApi
from coordinator.clients.protocols import Api, Change
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION, Json
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.api import RunningApi, running_api
from tests.fakes.objects import MemoryApi


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    directory: Path = tmp_path_factory.mktemp("api")
    with running_api(directory) as running:
        yield running


@pytest.fixture(params=["embedded", "memory"])
async def api(request: pytest.FixtureRequest, server: RunningApi) -> AsyncIterator[Api]:
    if request.param == "memory":
        yield MemoryApi()
        return
    client = KubeApi.by_kubeconfig(str(server.kubeconfig))
    yield client
    for kind in (Kind.NETWORK, Kind.VOLUME):
        for found in (await client.list(kind))[0]:
            meta = found["metadata"]
            await client.patch(kind, meta["name"], {"metadata": {"finalizers": None}}, meta.get("namespace", ""))
            await client.delete(kind, meta["name"], meta.get("namespace", ""))
    await client.close()


def body(kind: Kind, name: str, spec: Json, **meta: Any) -> Json:
    metadata = {"name": name, **({"namespace": "default"} if kind.namespaced else {}), **meta}
    return {"apiVersion": API_VERSION, "kind": kind.value, "metadata": metadata, "spec": spec}


async def network(api: Api, name: str = "lan", **meta: Any) -> Json:
    return await api.create(Kind.NETWORK, body(Kind.NETWORK, name, {"vlan": 5}, **meta))


async def reason(awaitable: Any) -> Reason:
    with pytest.raises(DpuError) as caught:
        await awaitable
    return caught.value.reason


async def test_a_created_object_has_identity_and_is_read_back(api: Api) -> None:
    made = await network(api)
    meta = made["metadata"]
    assert meta["uid"]
    assert meta["generation"] == 1
    assert int(meta["resourceVersion"]) > 0
    assert (await api.get(Kind.NETWORK, "lan"))["metadata"]["uid"] == meta["uid"]


async def test_creating_twice_and_reading_nothing_have_their_reasons(api: Api) -> None:
    await network(api)
    assert await reason(network(api)) is Reason.ALREADY_EXISTS
    assert await reason(api.get(Kind.NETWORK, "none")) is Reason.NOT_FOUND
    assert await reason(api.patch(Kind.NETWORK, "none", {"spec": {"vlan": 1}})) is Reason.NOT_FOUND


async def test_a_change_of_spec_raises_the_generation_and_one_of_status_does_not(api: Api) -> None:
    await network(api)
    changed = await api.patch(Kind.NETWORK, "lan", {"spec": {"vlan": 6}})
    assert changed["metadata"]["generation"] == 2
    told = await api.patch_status(Kind.NETWORK, "lan", {"status": {"ports": 3}})
    assert told["metadata"]["generation"] == 2
    assert (told["spec"]["vlan"], told["status"]["ports"]) == (6, 3)


async def test_main_and_status_each_leave_the_other_alone(api: Api) -> None:
    await network(api)
    made = await api.patch(Kind.NETWORK, "lan", {"spec": {"vlan": 7}, "status": {"ports": 9}})
    assert "ports" not in made.get("status", {})
    told = await api.patch_status(Kind.NETWORK, "lan", {"status": {"ports": 1}})
    assert told["spec"]["vlan"] == 7


async def test_a_null_takes_a_field_away(api: Api) -> None:
    await network(api)
    await api.patch_status(Kind.NETWORK, "lan", {"status": {"ports": 1}})
    told = await api.patch_status(Kind.NETWORK, "lan", {"status": {"ports": None}})
    assert "ports" not in told.get("status", {})


async def test_a_patch_that_names_an_old_version_is_refused(api: Api) -> None:
    made = await network(api)
    version = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}
    await api.patch(Kind.NETWORK, "lan", {"spec": {"vlan": 6}})
    assert await reason(api.patch(Kind.NETWORK, "lan", version | {"spec": {"vlan": 7}})) is Reason.CONFLICT
    assert await reason(api.patch_status(Kind.NETWORK, "lan", version | {"status": {"ports": 1}})) is Reason.CONFLICT


async def test_a_patch_that_changes_nothing_makes_no_version(api: Api) -> None:
    made = await network(api)
    same = await api.patch(Kind.NETWORK, "lan", {"spec": {"vlan": 5}})
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_an_object_goes_with_its_last_finalizer(api: Api) -> None:
    await network(api, finalizers=["dpupool.io/a", "dpupool.io/b"])
    await api.delete(Kind.NETWORK, "lan")
    found = await api.get(Kind.NETWORK, "lan")
    assert found["metadata"]["deletionTimestamp"]
    await api.patch(Kind.NETWORK, "lan", {"metadata": {"finalizers": ["dpupool.io/b"]}})
    await api.patch(Kind.NETWORK, "lan", {"metadata": {"finalizers": []}})
    assert await reason(api.get(Kind.NETWORK, "lan")) is Reason.NOT_FOUND


async def test_a_late_deletion_does_not_end_another_object_of_that_name(api: Api) -> None:
    older = await network(api)
    await api.delete(Kind.NETWORK, "lan", uid=older["metadata"]["uid"])
    newer = await network(api)
    assert await reason(api.delete(Kind.NETWORK, "lan", uid=older["metadata"]["uid"])) is Reason.CONFLICT
    assert (await api.get(Kind.NETWORK, "lan"))["metadata"]["uid"] == newer["metadata"]["uid"]
    await api.delete(Kind.NETWORK, "none", uid=older["metadata"]["uid"])


async def test_deleting_what_is_not_there_is_good(api: Api) -> None:
    await api.delete(Kind.NETWORK, "none")
    await api.delete(Kind.VOLUME, "none", "default")


async def test_a_watch_tells_all_that_came_after_a_list_in_order(api: Api) -> None:
    await network(api, "before")
    listed, version = await api.list(Kind.NETWORK)
    assert [one["metadata"]["name"] for one in listed] == ["before"]
    await network(api, "a")
    await api.patch(Kind.NETWORK, "a", {"spec": {"vlan": 9}})
    await api.delete(Kind.NETWORK, "a")
    told = []
    async with asyncio.timeout(30):
        async for change, found in api.watch(Kind.NETWORK, version):
            told.append((change, found["metadata"]["name"], int(found["metadata"]["resourceVersion"])))
            if change is Change.DELETED:
                break
    assert [(change, name) for change, name, _ in told] == [
        (Change.ADDED, "a"),
        (Change.MODIFIED, "a"),
        (Change.DELETED, "a"),
    ]
    assert [number for _, _, number in told] == sorted({number for _, _, number in told})


async def test_dependents_go_after_their_owner(api: Api) -> None:
    owner = await network(api, "owner")
    ref = {"apiVersion": API_VERSION, "kind": "Network", "name": "owner", "uid": owner["metadata"]["uid"]}
    await network(api, "child", ownerReferences=[ref])
    await api.delete(Kind.NETWORK, "owner")
    async with asyncio.timeout(30):
        while [one for one in (await api.list(Kind.NETWORK))[0] if one["metadata"]["name"] == "child"]:  # noqa: ASYNC110  (another process)
            await asyncio.sleep(0.02)


async def test_namespaced_kinds_are_listed_over_all_namespaces(api: Api) -> None:
    await api.create(Kind.VOLUME, body(Kind.VOLUME, "data", {"size": "1Gi"}))
    found, _ = await api.list(Kind.VOLUME)
    assert [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in found] == [("default", "data")]
    assert (await api.get(Kind.VOLUME, "data", "default"))["spec"]["size"] == "1Gi"


async def test_a_secret_that_is_not_there_has_its_reason(api: Api) -> None:
    assert await reason(api.secret("default", "none")) is Reason.NOT_FOUND


async def test_a_secret_of_ours_is_made_once_listed_and_removed_once(api: Api) -> None:
    space, name = "dpupool-system", "storage-dpu-1.file"
    await api.create_secret(space, name, {"tlsPsk": b"\x00abc"})
    assert await reason(api.create_secret(space, name, {"tlsPsk": b"other"})) is Reason.ALREADY_EXISTS
    assert await api.made_secrets(space) == {name: {"tlsPsk": b"\x00abc"}}
    assert await api.secret(space, name) == {"tlsPsk": b"\x00abc"}
    for _ in range(2):
        await api.delete_secret(space, name)
    assert await api.made_secrets(space) == {}


async def test_an_event_is_written_then_counted(api: Api) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"e.{id(api)}", "namespace": "default"},
        "involvedObject": {"apiVersion": API_VERSION, "kind": "Network", "name": "lan", "uid": "u"},
        "source": {"component": "test"},
        "reason": "Because",
        "type": "Normal",
        "message": "m",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    assert await reason(api.put_event(event, known=True)) is Reason.NOT_FOUND
    await api.put_event(event, known=False)
    assert await reason(api.put_event(event, known=False)) is Reason.ALREADY_EXISTS
    await api.put_event(event | {"count": 2}, known=True)


async def test_a_secret_is_read_in_the_clear(server: RunningApi) -> None:
    data = {"username": base64.b64encode(b"admin").decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bmc", "namespace": "default"}, "data": data}
    with server.client() as http:
        assert http.post("/api/v1/namespaces/default/secrets", json=secret).status_code == 201
    client = KubeApi.by_kubeconfig(str(server.kubeconfig))
    assert await client.secret("default", "bmc") == {"username": b"admin"}
    await client.close()


async def test_a_wrong_field_is_told_with_its_path(server: RunningApi) -> None:
    client = KubeApi.by_kubeconfig(str(server.kubeconfig))
    with pytest.raises(DpuError) as caught:
        await client.create(Kind.NETWORK, body(Kind.NETWORK, "bad", {"vlan": 9999}))
    await client.close()
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID, "spec.vlan")


async def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}],"
        " users: [{name: c, user: {token: t}}], contexts: [{name: c, context: {cluster: c, user: c}}]}"
    )
    client = KubeApi.by_kubeconfig(str(config))
    assert await reason(client.get(Kind.NETWORK, "lan")) is Reason.UNAVAILABLE
    assert await reason(client.list(Kind.NETWORK)) is Reason.UNAVAILABLE
    await client.close()


def test_a_kubeconfig_that_cannot_be_used_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(DpuError) as caught:
        KubeApi.by_kubeconfig(str(tmp_path / "none"))
    assert caught.value.field == "api.kubeconfig"
