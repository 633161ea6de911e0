"""The same over the embedded API server: what is written passes the schema of ServerPool and survives there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import StatusCode

from coordinator.clients.kube import KubeApi
from tests.contract.autoscaler.rig import Rig, autoscaler_rig, node
from tests.fakes.api import running_api


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Rig]:
    with running_api(tmp_path) as api:
        with api.client() as http:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nodes"}}
            assert http.post("/api/v1/namespaces", json=body).status_code == 201
        kube = KubeApi.by_kubeconfig(str(api.kubeconfig))
        try:
            async with autoscaler_rig(tmp_path, kube) as rig:
                yield rig
        finally:
            await kube.close()


async def test_nodes_are_added_once_and_removed_as_asked(real: Rig) -> None:
    await real.fleet.pool("a", minimum=0)
    for host in ("h1", "h2"):
        await real.fleet.host(host)
    await real.refresh()
    for _ in range(2):
        assert await real.increase("a", 2) == (StatusCode.OK, "")
    first = await real.fleet.machine("a", "h1", "Running")
    second = await real.fleet.machine("a", "h2", "Creating", joined=False)
    await real.refresh()
    assert set(await real.instances("a")) == {f"dpupool://nodes/{first}", f"dpupool://nodes/{second}"}
    for _ in range(2):
        assert await real.delete("a", node(first)) == (StatusCode.OK, "")
    spec = await real.fleet.spec("a")
    assert spec["replicas"] == 1
    assert [(one["machine"], one["drain"]) for one in spec["removals"]] == [(first, False)]
    assert await real.target("a") == 1
    assert (await real.decrease("a", -1))[0] is StatusCode.FAILED_PRECONDITION
