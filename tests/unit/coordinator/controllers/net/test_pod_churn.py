"""Pods come and go while coordinator and daemons die: nothing is given twice, nothing is left."""

import asyncio
import json

import pytest

from coordinator.core.net.attachments import NETWORKS
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.fakes.pod_nodes import PodNodes
from tests.fakes.virtual import VirtualLoop, in_virtual_time

PODS = 500


class Churn:
    """Schedulers, kubelets and misfortune."""

    def __init__(self, nodes: PodNodes) -> None:
        self.nodes = nodes
        self.chance = nodes.chance
        self.kills = 0

    async def one_pod(self, index: int) -> None:
        """The life of a pod: bound, started, ended; its container may outlive its object."""
        name = f"pod-{index}"
        await asyncio.sleep(self.chance.uniform(0, 60))
        node = f"node-{self.chance.randint(1, len(self.nodes.daemons))}"
        annotations = {NETWORKS: "side@net1"} if index % 5 == 0 else {}
        pod = await self.nodes.pod(name, node, annotations)
        daemon, container = self.nodes.daemons[node], f"c-{index}"
        if index % 7:
            await self.nodes.wait(f"{name} starts", lambda: daemon.add(container, pod["metadata"]["uid"]), 600.0)
        await asyncio.sleep(self.chance.uniform(0, 20))
        if index % 3 == 0:
            daemon.remove(container)
            await self.nodes.over(name)
            await asyncio.sleep(self.chance.uniform(0, 5))
        await self.nodes.delete_pod(name)
        await asyncio.sleep(self.chance.uniform(0, 10))
        daemon.remove(container)

    async def misfortune(self) -> None:
        """Daemons go away and come back."""
        while True:
            await asyncio.sleep(self.chance.uniform(1, 8))
            daemon = self.chance.choice(list(self.nodes.daemons.values()))
            daemon.dead = True
            await asyncio.sleep(self.chance.uniform(0.1, 10))
            daemon.dead = False

    async def coordinators(self, done: asyncio.Event) -> None:
        """One after the other, each killed somewhere."""
        while not done.is_set():
            async with self.nodes.coordinator():
                self.kills += 1
                await asyncio.sleep(self.chance.uniform(0.2, 12))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_500_pods_churned_under_kills_leave_no_port_address_or_assignment(seed: int) -> None:
    async def story(loop: VirtualLoop) -> None:
        nodes = PodNodes(loop, seed)
        await nodes.stock(8, "10.16.0.0/24")
        await nodes.make(Kind.NETWORK, "side", {})
        await nodes.make(Kind.SUBNET, "side-a", {"networkRef": {"name": "side"}, "cidr": "10.17.0.0/24"})
        config = {"cniVersion": "1.0.0", "name": "side", "type": "dpu-cni", "network": "side"}
        await nodes.make(Foreign.ATTACHMENT_DEFINITION, "side", {"config": json.dumps(config)})
        nodes.api.lost = 0.03
        churn, done = Churn(nodes), asyncio.Event()
        unlucky = asyncio.create_task(churn.misfortune())
        ruling = asyncio.create_task(churn.coordinators(done))
        await asyncio.gather(*(churn.one_pod(index) for index in range(PODS)))
        unlucky.cancel()
        for daemon in nodes.daemons.values():
            daemon.dead = False
        done.set()
        await ruling
        nodes.api.lost = 0.0
        assert churn.kills > 5
        async with nodes.coordinator():
            await nodes.wait("all goes", lambda: not nodes.leaks(), 120.0)
        assert not nodes.twice
        assert not nodes.leaks()

    in_virtual_time(story)
