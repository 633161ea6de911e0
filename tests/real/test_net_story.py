"""Pods on two emulated nodes, from the scheduler's binding to the last packet: containerd, CNI, DPU, OVN, Geneve."""

import os
import shutil

import pytest

from coordinator.core.objects.foreign import Foreign
from tests.real.net_rig import NetRig, Pod, furnish, net_rig

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("containerd") or not shutil.which("ovn-northd"),
        reason="needs root, containerd and OVN (make deps)",
    ),
]


async def test_pods_of_both_kinds_of_nodes_have_one_network() -> None:
    async with net_rig() as rig:
        await furnish(rig)
        by_dpu = await rig.run("by-dpu", "node-1", {"app": "client"})
        alone = await rig.run("alone", "node-2", {"app": "server"})
        second = await rig.run("second", "node-2", {"app": "server"})
        assert len({one.addresses[0] for one in (by_dpu, alone, second)}) == 3
        await they_reach_each_other(rig, by_dpu, alone)
        await a_service_reaches_both(rig, by_dpu, alone, second)
        await a_policy_lets_in_whom_it_names(rig, by_dpu, alone, second)
        for name in ("by-dpu", "alone", "second"):
            await rig.remove(name)
        await rig.is_clean()


async def they_reach_each_other(rig: NetRig, by_dpu: Pod, alone: Pod) -> None:
    await rig.until(lambda: rig.pings(by_dpu, alone.addresses[0]), "the DPU's pod reaches the other node's")
    assert await rig.pings(alone, by_dpu.addresses[0])
    async with rig.serving(alone, 8080):
        assert await rig.connects(by_dpu, alone.addresses[0], 8080) == "alone"


async def a_service_reaches_both(rig: NetRig, client: Pod, alone: Pod, second: Pod) -> None:
    vip = "10.96.0.10"
    port = {"name": "web", "port": 80, "protocol": "TCP", "targetPort": 8080}
    await rig.make(
        Foreign.SERVICE, "web", {"clusterIP": vip, "clusterIPs": [vip], "ports": [port], "selector": {"app": "server"}},
        "default",
    )  # fmt: skip
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [one.addresses[0]], "conditions": {"ready": True}} for one in (alone, second)],
    }
    await rig.kube.create(Foreign.ENDPOINT_SLICE, body)
    async with rig.serving(alone, 8080), rig.serving(second, 8080):
        await rig.until(lambda: rig.connects(client, vip, 80), "the service answers")
        answers = {await rig.connects(client, vip, 80) for _ in range(16)}
        assert answers == {"alone", "second"}
        hairpin = {await rig.connects(alone, vip, 80) for _ in range(16)}
        assert hairpin == {"alone", "second"}


async def a_policy_lets_in_whom_it_names(rig: NetRig, client: Pod, alone: Pod, second: Pod) -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "client"}}}]
    spec = {
        "podSelector": {"matchLabels": {"app": "server"}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": peers, "ports": [{"protocol": "TCP", "port": 8080}]}],
    }
    async with rig.serving(alone, 8080), rig.serving(alone, 9090):
        assert await rig.connects(second, alone.addresses[0], 8080) == "alone"
        await rig.make(Foreign.NETWORK_POLICY, "servers", spec, "default")

        async def refused() -> bool:
            return not await rig.connects(second, alone.addresses[0], 8080, 0.5)

        await rig.until(refused, "the policy holds")
        assert await rig.connects(client, alone.addresses[0], 8080) == "alone"
        assert not await rig.connects(client, alone.addresses[0], 9090, 0.5)
        await rig.kube.delete(Foreign.NETWORK_POLICY, "servers", "default")
        await rig.until(lambda: rig.connects(second, alone.addresses[0], 9090), "the policy is gone")
