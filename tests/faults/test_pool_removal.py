"""Machines that are to go: drained, deleted, forgotten last; a drain that a pod forbids is put back as it was."""

import asyncio
from typing import Any

import pytest

from coordinator.controllers.pool.loop import PoolLoop, PoolSettings
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from tests.fakes.fleet import Fleet, alive, pending_pod
from tests.fakes.virtual import VirtualLoop, at_once, in_virtual_time

pytestmark = pytest.mark.faults


async def remove_one(fleet: Fleet) -> str:
    """Ask for one machine less, by name, in one write."""
    name: str = min(one["metadata"]["name"] for one in fleet.machines())
    wish = {"replicas": 2, "removals": [{"machine": name, "reason": "test", "drain": True}]}
    await fleet.api.patch(Kind.POOL, "work", {"spec": wish})
    return name


async def three_nodes(fleet: Fleet) -> None:
    await fleet.stock(4)
    await fleet.pool("work")
    for number in range(3):
        await fleet.api.create(Foreign.POD, pending_pod(f"p{number}"))


def in_a_fleet(story: Any) -> None:
    async def life(loop: VirtualLoop) -> None:
        fleet = Fleet(loop=loop, seed=5)
        pools = PoolLoop(fleet.api, PoolSettings(identity="a"), clock=loop.now, monotonic=loop.time, compute=at_once)
        await three_nodes(fleet)
        async with alive(fleet.deploy(), pools.run(), fleet.join(), fleet.schedule()):
            await asyncio.sleep(400)
            assert len(fleet.api.of(Foreign.NODE)) == 3
            await story(fleet)

    in_virtual_time(life)


def pool_spec(fleet: Fleet) -> Json:
    spec: Json = fleet.api.of(Kind.POOL)["work"]["spec"]
    return spec


def test_a_removal_evicts_the_pods_and_leaves_neither_machine_nor_node() -> None:
    async def story(fleet: Fleet) -> None:
        name = await remove_one(fleet)
        await asyncio.sleep(90)
        assert fleet.api.evictions == 1
        assert name not in fleet.api.of(Kind.MACHINE)
        assert name not in fleet.api.of(Foreign.NODE)
        assert pool_spec(fleet)["removals"] == []
        assert fleet.twice == []

    in_a_fleet(story)


def test_a_removal_that_a_pod_forbids_is_taken_back_and_the_node_takes_pods_again() -> None:
    async def story(fleet: Fleet) -> None:
        for pod in fleet.api.of(Foreign.POD):
            annotation = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
            await fleet.api.patch(Foreign.POD, pod, {"metadata": {"annotations": annotation}}, "default")
        name = await remove_one(fleet)
        await asyncio.sleep(60)
        assert fleet.api.evictions == 0
        assert pool_spec(fleet)["removals"] == []
        assert pool_spec(fleet)["replicas"] == 3
        found = fleet.api.of(Foreign.NODE)[name]["spec"]
        assert not found.get("unschedulable")
        assert not found.get("taints")

    in_a_fleet(story)
