"""The delegated gate against an API server that speaks the reviews for real."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lightkube.config.kubeconfig import KubeConfig

from coordinator.api.rules import Binding, Rule
from coordinator.clients.kube import KubeApi
from coordinator.clients.reviews import KubeReviews
from coordinator.core.objects.kinds import Kind
from coordinator.endpoints.callers import Caller
from coordinator.endpoints.delegated import Delegated
from coordinator.endpoints.frontproxy import CONFIG_MAP, from_config_map
from coordinator.endpoints.machines import MachineActions
from coordinator.endpoints.objects import ApiObjects
from coordinator.endpoints.subresources import GROUP, Action, Call
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.api import COORDINATOR_TOKEN, VIEWER_TOKEN, RunningApi, running_api
from tests.unit.coordinator.endpoints.certificates import Authority

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


async def test_the_front_proxy_is_read_from_the_clusters_config_map(tmp_path: Path) -> None:
    async with reviewed(tmp_path) as (api, reviews):
        namespace, name = CONFIG_MAP
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"requestheader-client-ca-file": Authority("proxies").pem},
        }
        with api.client() as client:
            space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            client.post("/api/v1/namespaces", json=space)
            assert client.post(f"/api/v1/namespaces/{namespace}/configmaps", json=body).is_success
        assert len(from_config_map(await reviews.config_map(*CONFIG_MAP)).authorities) == 1
        with pytest.raises(DpuError) as caught:
            await reviews.config_map(namespace, "absent")
        assert caught.value.reason is Reason.NOT_FOUND


async def test_two_who_change_one_machine_at_once_both_get_their_way(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        machine = {"apiVersion": "dpupool.io/v1alpha1", "kind": "BareMetalMachine", "metadata": {"name": "bm-01"}}
        path = "/apis/dpupool.io/v1alpha1/namespaces/default/baremetalmachines"
        with api.client() as client:
            assert client.post(path, json=machine | {"spec": {"image": "tiny"}}).is_success
        own = KubeApi(KubeConfig.from_file(api.write_kubeconfig(tmp_path / "own", {"token": COORDINATOR_TOKEN})))
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
