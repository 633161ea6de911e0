"""The rig over an API in memory, and over the embedded API server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.clients.kube import KubeApi
from tests.contract.autoscaler.rig import Rig, autoscaler_rig
from tests.fakes.api import running_api


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with autoscaler_rig(tmp_path) as made:
        yield made


@pytest.fixture
async def over_http(tmp_path: Path) -> AsyncIterator[Rig]:
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
