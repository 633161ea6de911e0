"""The loop against the embedded API server: pods without place become machines; a restart goes on where it was."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from coordinator.clients.kube import KubeApi
from coordinator.controllers.pool.loop import PoolLoop, PoolSettings
from coordinator.controllers.pool.records import Records, read_record
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import API_VERSION
from coordinator.core.pool.record import replay
from tests.fakes.api import COORDINATOR_TOKEN, RunningApi, running_api
from tests.fakes.fleet import alive, pending_pod


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningApi]:
    with running_api(tmp_path, tls=False) as api:
        yield api


def ours(kind: Kind, name: str, spec: Any) -> Any:
    return {"apiVersion": API_VERSION, "kind": kind.value, "metadata": {"name": name}, "spec": spec}


async def furnish(api: KubeApi) -> None:
    bmc = {"address": "ipmi://192.0.2.1", "credentialsSecretRef": {"namespace": "default", "name": "bmc"}}
    spec = {"dpuRef": {"name": "dpu-1"}, "bmc": bmc, "hardware": {"cpus": 2, "memoryMiB": 1024}}
    for name in ("host-1", "host-2"):
        await api.create(Kind.HOST, ours(Kind.HOST, name, spec))
        await api.patch_status(Kind.HOST, name, {"status": {"phase": "Available"}})
    wanted = {"kind": "container", "maximum": 5, "template": {"image": "tiny"}}
    await api.create(Kind.POOL, ours(Kind.POOL, "work", wanted))


async def test_a_pod_without_place_becomes_a_machine_on_a_leased_server_and_the_loop_is_on_record(
    server: RunningApi, tmp_path: Path
) -> None:
    admin = KubeApi.by_kubeconfig(str(server.kubeconfig))
    await furnish(admin)
    api = KubeApi.by_kubeconfig(str(server.write_kubeconfig(tmp_path / "coordinator", {"token": COORDINATOR_TOKEN})))
    await api.create(Foreign.POD, pending_pod("p1"))
    _, version = await api.list(Kind.MACHINE)
    records = Records(tmp_path / "loops")
    settings = PoolSettings(identity="a", loop_s=0.1, gather_s=0.05)
    loop = PoolLoop(api, settings, clock=lambda: datetime.now(UTC), monotonic=time.monotonic, records=records)
    async with alive(loop.run()), asyncio.timeout(30):
        made = await anext(aiter(api.watch(Kind.MACHINE, version)))
    host = await api.get(Kind.HOST, made[1]["spec"]["hostRef"]["name"])
    assert host["spec"]["lease"] == {"pool": "work", "generation": 1, "recalledFor": "", "reservedFor": ""}
    assert (await api.get(Kind.POOL, "work"))["spec"]["replicas"] == 1
    grown = [one for one in map(read_record, records.files()) if one.decision.grow]
    assert [growth.group for one in grown for growth in one.decision.grow] == ["work"]
    assert replay(grown[0]).differences == ()
    await api.close()
    await admin.close()
