"""Processes of a node reach its pods and those of others, on both kinds of nodes, by the node's own interface."""

import os
import shutil
import socket
import subprocess
from functools import partial

import pytest

from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.fakes.netns import inside, ip
from tests.real.net_rig import NetRig, Pod, furnish, net_rig
from tests.real.net_settings import VFS

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("containerd") or not shutil.which("ovn-northd"),
        reason="needs root, containerd and OVN (make deps)",
    ),
]
PLACES = {"node-1": "h1", "node-2": "n2"}
OWN = "dpupool0"


async def test_a_node_reaches_pods_whatever_policies_say_to_others() -> None:
    async with net_rig() as rig:
        await furnish(rig)
        pods = [await rig.run("by-dpu", "node-1"), await rig.run("alone", "node-2")]
        nodes = {node: host(rig, node) for node in PLACES}
        for node in PLACES:
            await rig.until(partial(interface, rig, node), f"{node} has its interface")
        async with rig.serving(pods[0], 8080), rig.serving(pods[1], 8080):
            await everybody_is_reached(rig, nodes, pods)
            before = {node: interface(rig, node) for node in PLACES}
            await a_closed_pod_is_reached_by_its_own_node_alone(rig, nodes, pods)
            await a_killed_daemon_leaves_it(rig, nodes, pods)
            assert {node: interface(rig, node) for node in PLACES} == before
            await what_somebody_removes_comes_back(rig, nodes, pods)
        for pod in pods:
            await rig.remove(pod.name)
        await rig.is_clean()
        await nothing_is_left_of_a_node_that_goes(rig)


def host(rig: NetRig, node: str) -> Pod:
    """The node as who connects."""
    return Pod(node, "", node, "", [], rig.names[PLACES[node]])


def interface(rig: NetRig, node: str) -> str:
    """The node's interface as the kernel shows it, with its routes; empty for none."""
    where = rig.names[PLACES[node]]
    shown = [
        subprocess.run(["ip", "-n", where, *words], capture_output=True, text=True, check=False).stdout
        for words in (("-4", "-o", "addr", "show", "dev", OWN), ("route", "show", "dev", OWN))
    ]
    assert "default" not in shown[1]
    return "".join(shown) if all(shown) else ""


async def everybody_is_reached(rig: NetRig, nodes: dict[str, Pod], pods: list[Pod]) -> None:
    for node in nodes.values():
        for pod in pods:
            await rig.until(partial(reaches, rig, node, pod), f"{node.name} reaches {pod.name}")


async def reaches(rig: NetRig, node: Pod, pod: Pod) -> bool:
    return await rig.connects(node, pod.addresses[0], 8080, 1.0) == pod.name


async def a_closed_pod_is_reached_by_its_own_node_alone(rig: NetRig, nodes: dict[str, Pod], pods: list[Pod]) -> None:
    await rig.make(Foreign.NETWORK_POLICY, "closed", {"podSelector": {}, "policyTypes": ["Ingress"]}, "default")
    for pod in pods:
        other = next(node for name, node in nodes.items() if name != pod.node)

        async def is_closed(other: Pod = other, pod: Pod = pod) -> bool:
            return not await reaches(rig, other, pod)

        await rig.until(is_closed, f"{pod.name} is closed to {other.name}")
        await rig.until(partial(reaches, rig, nodes[pod.node], pod), f"{pod.name} is open to its own node")
        assert not await reaches(rig, other, pod)
    await rig.kube.delete(Foreign.NETWORK_POLICY, "closed", "default")
    await everybody_is_reached(rig, nodes, pods)


async def a_killed_daemon_leaves_it(rig: NetRig, nodes: dict[str, Pod], pods: list[Pod]) -> None:
    for name in ("node-1", "dpu-1", "node-2"):
        rig.daemons[name].kill()
        for pod in pods:
            assert await reaches(rig, nodes[pod.node], pod)
        rig.daemons[name].start()
        await rig.until(partial(serves, rig, name), f"{name} is back")
    await everybody_is_reached(rig, nodes, pods)


async def serves(rig: NetRig, daemon: str) -> bool:
    node = "node-1" if daemon == "dpu-1" else daemon
    status, _ = await rig.cni("STATUS", node, "", "", ("", ""))
    return not status


async def what_somebody_removes_comes_back(rig: NetRig, nodes: dict[str, Pod], pods: list[Pod]) -> None:
    ip("-n", nodes["node-1"].netns, "addr", "flush", "dev", OWN)
    ip("-n", nodes["node-2"].netns, "link", "del", OWN)
    await everybody_is_reached(rig, nodes, pods)


async def nothing_is_left_of_a_node_that_goes(rig: NetRig) -> None:
    assert len([what for what in await rig.everything() if what.startswith("Port ")]) == len(PLACES)
    for node in PLACES:
        await rig.kube.delete(Kind.NETWORK_NODE, node)

    async def is_gone() -> bool:
        return not await rig.everything() and not any(interface(rig, node) for node in PLACES)

    await rig.until(is_gone, "nothing is left", 40.0)
    with inside(rig.names["h1"]):
        devices = {name for _, name in socket.if_nameindex()}
    assert devices == {"lo", "mg0"} | {f"vf{number}" for number in range(VFS)}
