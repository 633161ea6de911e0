"""Pods' ports over the real wires: the embedded API, stock kubectl, and a daemon's gRPC."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from coordinator.clients.assignments import GrpcAssignments
from coordinator.clients.kube import KubeApi
from coordinator.clients.outside import RealOutside
from coordinator.controllers.events import Recorder
from coordinator.controllers.informer import Informer
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.net.context import NetCaches, NetContext
from coordinator.controllers.net.mirrors import NetMirrors
from coordinator.controllers.net.parts import PodNetwork
from coordinator.core.net.assignment import Hold
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.model.assignment import PortAsk
from tests.contract.api.kubectl import Kubectl
from tests.fakes.api import COORDINATOR_TOKEN, VIEWER_TOKEN, RunningApi, running_api
from tests.fakes.daemon import RunningDaemon, fake_dpu

SPACE = "default"
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "pods-network.yaml"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningApi]:
    with running_api(tmp_path) as api:
        yield api


@pytest.fixture
def kubectl(server: RunningApi, tmp_path: Path) -> Kubectl:
    return Kubectl(server.kubeconfig, SPACE, tmp_path)


async def of(kubectl: Kubectl, *args: str, stdin: Any = None) -> str:
    """What kubectl prints, without holding up the controllers."""
    return (await asyncio.to_thread(kubectl, *args, stdin=stdin)).out


async def described(kubectl: Kubectl, name: str, word: str) -> str:
    """What `kubectl describe pod` shows once a word is in it."""
    for _ in range(300):
        if word in (shown := await of(kubectl, "describe", "pod", name)):
            return shown
        await asyncio.sleep(0.2)
    pytest.fail(f"{word} is never shown of {name}")


def node(address: str, name: str = "node-1") -> dict[str, Any]:
    meta = {"name": name}
    spec = {"address": address, "nodePort": False}
    return {"apiVersion": "dpupool.io/v1alpha1", "kind": "NetworkNode", "metadata": meta, "spec": spec}


def pod(name: str, **annotations: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": SPACE, "annotations": annotations}
    spec = {"nodeName": "node-1", "containers": [{"name": "main", "image": "registry.example/main"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


@asynccontextmanager
async def coordinator(server: RunningApi, tmp_path: Path) -> AsyncIterator[None]:
    """The controllers of pods' ports with the coordinator's own rights."""
    config = server.write_kubeconfig(tmp_path / "coordinator", {"token": COORDINATOR_TOKEN})
    api: Any = KubeApi.by_kubeconfig(str(config))
    outside = RealOutside(None, {})
    recorder = Recorder(api, lambda: datetime.now(UTC))
    context = NetContext(
        api=api,
        mirrors=NetMirrors(api),
        events=recorder,
        clock=lambda: datetime.now(UTC),
        outside=outside,
        caches=NetCaches(),
    )
    network = PodNetwork(context, ControllerMetrics(CollectorRegistry()))
    informers = [Informer(api, cache) for cache in context.caches.followed.values()]
    parts = [asyncio.create_task(one) for one in (recorder.run(), context.mirrors.run())]
    parts += [asyncio.create_task(informer.run()) for informer in informers]
    await asyncio.gather(context.mirrors.wait_synced(), *(informer.synced.wait() for informer in informers))
    parts.append(asyncio.create_task(network.run()))
    try:
        yield
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        await outside.close()
        await api.close()


async def listed(daemon: RunningDaemon, count: int) -> list[Any]:
    """What a daemon has, once there is that much of it."""
    client = GrpcAssignments("node-1", daemon.channel())
    for _ in range(1200):
        if len(found := await client.list()) == count:
            return list(found)
        await asyncio.sleep(0.05)
    pytest.fail(f"the daemon has not {count} ports: {await client.list()}")


async def why(daemon: RunningDaemon, pod: str) -> str:
    """What the daemon says to an ADD for a pod that has no port, once it was told."""
    assert isinstance(daemon.engine, DpuEngine)
    ask = PortAsk(container_id="c1", interface="eth0", pod_namespace=SPACE, pod_name=pod, pod_uid="")
    for _ in range(1200):
        if found := daemon.engine.pods.assignments.refused.why("node-1", ask):
            return found.message
        await asyncio.sleep(0.05)
    pytest.fail(f"the daemon was never told why {pod} has no port")


async def test_a_pods_port_is_told_to_its_daemon_shown_by_kubectl_and_taken_back(
    server: RunningApi, kubectl: Kubectl, tmp_path: Path
) -> None:
    await of(kubectl, "apply", "-f", str(EXAMPLE))
    await of(kubectl, "delete", "networknode", "--all")
    async with fake_dpu(tmp_path, name="node-1") as daemon, coordinator(server, tmp_path):
        await of(kubectl, "create", "-f", "-", stdin=node(daemon.address))
        asked = {"dpupool.io/addresses": "10.16.0.77", "k8s.v1.cni.cncf.io/networks": "storage@net1"}
        await of(kubectl, "create", "-f", "-", stdin=pod("web", **asked))
        ports = {one.port_id.split("-")[1]: one for one in await listed(daemon, 2)}
        assert {one.hold for one in ports.values()} == {Hold.ASSIGNED}
        names = (await of(kubectl, "get", "ports", "-o", "name")).split()
        for name in names:
            await of(kubectl, "wait", name, "--for=jsonpath={.status.phase}=Assigned", "--timeout=60s")
        table = await of(kubectl, "get", "ports")
        assert table.splitlines()[0].split() == ["NAME", "POD", "NODE", "SUBNET", "ADDRESS", "MAC", "PHASE", "AGE"]
        assert "10.16.0.77/16" in table
        await described(kubectl, "web", "dpupool.io/ports")
        shown = json.loads(await of(kubectl, "get", "pod", "web", "-o", "json"))
        told = json.loads(shown["metadata"]["annotations"]["dpupool.io/ports"])
        assert [one["network"] for one in told] == ["pods", "storage"]
        assert told[0]["addresses"][0] == "10.16.0.77/16"
        await of(kubectl, "create", "-f", "-", stdin=pod("twin", **{"dpupool.io/addresses": "10.16.0.77"}))
        assert "belongs to pod default/web" in await described(kubectl, "twin", "PortRefused")
        assert "belongs to pod default/web" in await why(daemon, "twin")
        await of(kubectl, "wait", "networknode/node-1", "--for=condition=Ready", "--timeout=60s")
        await of(kubectl, "delete", "pod", "web", "twin", "--wait=false")
        await listed(daemon, 0)
        await of(kubectl, "wait", *names, "--for=delete", "--timeout=60s")


def test_what_was_given_cannot_be_changed_and_nonsense_is_refused(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", str(EXAMPLE))
    bad = node("127.0.0.1:1", "node-9")
    bad["spec"] = {"nodeName": "node-9"}
    assert "spec.address" in kubectl.try_("create", "-f", "-", stdin=bad).err
    driver = kubectl.try_("patch", "network", "storage", "--type=merge", "-p", '{"spec":{"driver":"ovn"}}')
    assert "driver cannot be changed" in driver.err
    for changed in ({"cidr": "10.99.0.0/16"}, {"networkRef": {"name": "storage"}}):
        moved = kubectl.try_("patch", "subnet", "pods", "--type=merge", "-p", json.dumps({"spec": changed}))
        assert "cannot be changed; create another Subnet" in moved.err
    group = {"peers": [{"cidr": "10.0.0.0/8"}], "ports": [{"protocol": "GRE"}]}
    patch = json.dumps({"spec": {"ingress": [group]}})
    refused = kubectl.try_("patch", "securitygroup", "database", "--type=merge", "-p", patch)
    assert "spec.ingress[0].ports[0].protocol" in refused.err
    assert "podSelector" in kubectl("explain", "securitygroup.spec").out
    assert kubectl("get", "subnets", "bank", "--no-headers").out.split()[:2] == ["bank", "10.17.0.0/20"]


def test_kinds_of_kubernetes_that_networks_are_decided_by_are_served(server: RunningApi, kubectl: Kubectl) -> None:
    ends = [{"addresses": ["10.16.0.5"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "web"}}]
    cut = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-abc", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": ends,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }
    kubectl("create", "-f", "-", stdin=cut)
    assert kubectl("get", "endpointslices", "--no-headers").out.split()[:4] == ["web-abc", "IPv4", "8080", "10.16.0.5"]
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "web"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]},
    }
    kubectl("apply", "-f", "-", stdin=policy)
    assert kubectl("get", "netpol", "--no-headers").out.split()[:2] == ["web", "app=web"]
    config = '{"cniVersion": "1.0.0", "name": "x", "type": "dpu-cni", "network": "storage"}'
    attach = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "x"},
        "spec": {"config": config},
    }
    kubectl("apply", "-f", "-", stdin=attach)
    assert kubectl("get", "net-attach-def", "x", "-o", "jsonpath={.spec.config}").out == config
    with server.client(COORDINATOR_TOKEN) as coordinator_http, server.client(VIEWER_TOKEN) as viewer_http:
        for path in (
            "/apis/discovery.k8s.io/v1/endpointslices",
            "/apis/networking.k8s.io/v1/networkpolicies",
            "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions",
        ):
            assert coordinator_http.get(path).status_code == 200
            assert viewer_http.get(path).status_code == 200
            assert viewer_http.post(path.replace("/v1/", "/v1/namespaces/default/"), json={}).status_code == 403
