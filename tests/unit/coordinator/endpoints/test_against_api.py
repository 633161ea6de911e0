"""The delegated gate against an API server that speaks the reviews for real."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from lightkube.config.kubeconfig import KubeConfig

from coordinator.api.rules import Binding, Rule
from coordinator.clients.kube import KubeApi
from coordinator.clients.reviews import KubeReviews
from coordinator.core.objects.kinds import Kind
from coordinator.endpoints.callers import Caller
from coordinator.endpoints.delegated import Delegated
from coordinator.endpoints.frontproxy import CONFIG_MAP, from_config_map
from coordinator.endpoints.health import Checks
from coordinator.endpoints.machines import MachineActions
from coordinator.endpoints.objects import ApiObjects
from coordinator.endpoints.service import BmApi
from coordinator.endpoints.subresources import GROUP, Action, Call
from coordinator.extensions import aggregated_server
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.api import COORDINATOR_TOKEN, VIEWER_TOKEN, RunningApi, running_api
from tests.unit.coordinator.endpoints.certificates import Authority
from tests.unit.coordinator.endpoints.fakes import FakeDpus, FakeObjects

STOP = Call("PUT", "default", "bm-01", Action.STOP)
OPERATORS = Binding((Rule(("update",), (GROUP,), ("baremetalmachines/stop",)),), groups=("ops",))


@asynccontextmanager
async def reviewed(folder: Path) -> AsyncIterator[tuple[RunningApi, KubeReviews]]:
    with running_api(folder, tls=False, bindings=[OPERATORS]) as api:
        reviews = KubeReviews(KubeConfig.from_file(api.kubeconfig))
        try:
            yield api, reviews
        finally:
            await reviews.close()


async def test_tokens_and_rights_are_the_api_servers(tmp_path: Path) -> None:
    async with reviewed(tmp_path) as (_, reviews):
        gate = Delegated(reviews)
        viewer = await gate.authenticate(VIEWER_TOKEN)
        assert (viewer.name, "dpupool:viewer" in viewer.groups) == ("viewer", True)
        with pytest.raises(DpuError) as caught:
            await gate.authorize(viewer, STOP)
        assert caught.value.reason is Reason.FORBIDDEN
        await gate.authorize(Caller("ada", ("ops",)), STOP)
        with pytest.raises(DpuError):
            await gate.authenticate("made up")


def describe_proxy(api: RunningApi, authority: Authority) -> None:
    """Write the ConfigMap that a kube-apiserver writes of its front proxy."""
    namespace, name = CONFIG_MAP
    data = {"requestheader-client-ca-file": authority.pem, "requestheader-allowed-names": '["proxy"]'}
    with api.client() as client:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        client.post("/api/v1/namespaces", json=space)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        assert client.post(f"/api/v1/namespaces/{namespace}/configmaps", json=body).is_success


async def test_the_front_proxy_is_read_from_the_clusters_config_map(tmp_path: Path) -> None:
    async with reviewed(tmp_path) as (api, reviews):
        describe_proxy(api, Authority("proxies"))
        assert len(from_config_map(await reviews.config_map(*CONFIG_MAP)).authorities) == 1
        with pytest.raises(DpuError) as caught:
            await reviews.config_map(CONFIG_MAP[0], "absent")
        assert caught.value.reason is Reason.NOT_FOUND


async def test_behind_an_aggregator_the_rules_of_the_api_server_decide(tmp_path: Path) -> None:
    servers, proxies, objects = Authority("servers"), Authority("proxies"), FakeObjects()
    pair, client_file = tmp_path / "server.pem", tmp_path / "proxy.pem"
    pair.write_text(servers.issue("bm-api")[1])
    client_file.write_text(proxies.issue("proxy")[1])
    tls = ssl.create_default_context(cadata=servers.pem)
    tls.load_cert_chain(client_file)
    async with reviewed(tmp_path) as (api, _):
        describe_proxy(api, proxies)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            cluster = KubeConfig.from_file(api.kubeconfig)
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            path = f"/apis/{GROUP}/v1alpha1/namespaces/default/baremetalmachines/bm-01/stop"
            async with (
                aggregated_server(cluster, BmApi(objects, FakeDpus()), Checks(), listener, pair, pair),
                aiohttp.ClientSession(url) as session,
            ):
                for groups, expected in (("others", 403), ("ops", 200)):
                    headers = {"X-Remote-User": "ada", "X-Remote-Group": groups}
                    async with session.put(path, headers=headers, ssl=tls) as reply:
                        assert reply.status == expected, await reply.text()
    assert objects.stored["spec"]["power"] == "Off"


async def test_two_who_change_one_machine_at_once_both_get_their_way(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        machine = {"apiVersion": "dpupool.io/v1alpha1", "kind": "BareMetalMachine", "metadata": {"name": "bm-01"}}
        path = "/apis/dpupool.io/v1alpha1/namespaces/default/baremetalmachines"
        with api.client() as client:
            assert client.post(path, json=machine | {"spec": {"image": "tiny"}}).is_success
        own = KubeApi.by_kubeconfig(str(api.write_kubeconfig(tmp_path / "own", {"token": COORDINATOR_TOKEN})))
        actions = MachineActions(ApiObjects(own))
        add = Call("POST", "default", "bm-01", Action.DISKS)
        names = [f"data{number}" for number in range(6)]
        try:
            orders = [actions.perform(add, {"name": name, "size": "1Gi"}, Caller("ada")) for name in names]
            await asyncio.gather(*orders)
            spec = (await own.get(Kind.MACHINE, "bm-01", "default"))["spec"]
        finally:
            await own.close()
        assert sorted(disk["name"] for disk in spec["disks"]) == names
