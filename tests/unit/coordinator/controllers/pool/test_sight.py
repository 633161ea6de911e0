"""What the loop sees: pools with their own options as node groups, and objects of any type without falling over."""

import asyncio
from typing import Any

import pytest

from coordinator.controllers.pool.loop import PoolLoop, PoolSettings
from coordinator.controllers.pool.sight import Sight
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from coordinator.core.pool.daemons import daemons_of
from coordinator.core.pool.observation import GroupObservation
from coordinator.core.pool.snapshot import read
from tests.fakes.fleet import Fleet, alive, node, pending_pod
from tests.fakes.objects import MemoryApi
from tests.fakes.virtual import VirtualLoop, at_once, in_virtual_time
from tests.unit.coordinator.controllers.pool.worlds import host, machine, pool, view


def seen(**world: Any) -> GroupObservation:
    sight = Sight(MemoryApi(), lambda: None)  # type: ignore[arg-type]
    (group,) = sight.observation(view(**world)).groups
    return group


def test_a_pools_own_options_and_priority_reach_the_decision() -> None:
    options = {"utilisationThreshold": 0.7, "unneededSeconds": 60, "zeroOrMax": True}
    group = seen(pools=[pool(options=options, priority=7)], hosts=[host("s1")])
    assert group.priority == 7
    snapshot = read(Sight(MemoryApi(), lambda: None).observation(view([pool(options=options)], [host("s1")])))  # type: ignore[arg-type]
    own = snapshot.groups[0].options
    assert (own.utilisation_threshold, own.unneeded_s, own.zero_or_max) == (0.7, 60.0, True)
    assert own.unready_s is None
    assert own.ignore_daemon_sets is None


@pytest.mark.parametrize(("failed", "well", "healthy"), [(3, 0, True), (4, 0, False), (4, 5, True), (5, 6, False)])
def test_a_pool_is_unhealthy_with_more_than_three_and_45_percent_of_its_machines_failed(
    failed: int, well: int, healthy: bool
) -> None:
    servers = [f"s{n}" for n in range(failed + well)]
    leased = [host(name, lease={"pool": "work", "generation": 1}) for name in servers]
    phases = ["Failed"] * failed + ["Running"] * well
    crew = tuple(machine(f"m-{name}", name, phase=phase) for name, phase in zip(servers, phases, strict=True))
    assert seen(pools=[pool(replicas=len(servers))], hosts=leased, machines=crew).healthy is healthy


def test_a_new_node_is_reckoned_with_the_daemon_set_pods_that_it_will_start_with() -> None:
    daemon, other = pending_pod("agent", on="n1"), pending_pod("web", on="n1")
    daemon["metadata"]["ownerReferences"][0]["kind"] = "DaemonSet"
    elsewhere = pending_pod("agent-2", on="n2")
    assert daemons_of([["n2", "n1"], []], [other, daemon, elsewhere, {"spec": 3}]) == [[daemon], []]


ODD_NODES: list[Json] = [
    {"spec": "oops"},
    {"spec": {"providerID": ["a"], "taints": 3}},
    {"spec": {"taints": ["x", {"key": 4}]}, "status": {"conditions": "none"}},
    {"status": [], "metadata": {"labels": ["a"], "annotations": 5, "creationTimestamp": 7}},
]
ODD_PODS: list[Json] = [
    {"spec": "oops"},
    {"spec": {"nodeName": 3, "containers": [3]}},
    {"spec": {"priority": "high"}, "status": {"conditions": [1, {"type": "PodScheduled"}]}},
    {"status": "Pending"},
]


def odd(base: Json, change: Json) -> Json:
    metadata = {**base["metadata"], **change.get("metadata", {})}
    return {**base, **change, "metadata": metadata}


def test_the_loop_serves_the_others_beside_objects_of_any_type() -> None:
    async def life(loop: VirtualLoop) -> None:
        fleet = Fleet(loop=loop, seed=2)
        await fleet.stock(3)
        await fleet.pool("work")
        for number, change in enumerate(ODD_PODS):
            await fleet.api.create(Foreign.POD, odd(pending_pod(f"odd{number}"), change))
        for number, change in enumerate(ODD_NODES):
            await fleet.api.create(Foreign.NODE, odd(node(f"odd{number}"), change))
        budget = {"metadata": {"name": "b", "namespace": "default"}, "status": {"disruptionsAllowed": "many"}}
        await fleet.api.create(Foreign.BUDGET, budget | {"spec": []})
        await fleet.api.create(Foreign.POD, pending_pod("good"))
        settings = PoolSettings(identity="a")
        pools = PoolLoop(fleet.api, settings, clock=loop.now, monotonic=loop.time, compute=at_once)
        async with alive(fleet.deploy(), pools.run(), fleet.join()):
            await asyncio.sleep(200)
            made = [one["metadata"]["name"] for one in fleet.machines()]
            assert len(made) == 1
            assert made[0] in fleet.api.of(Foreign.NODE)
            await fleet.api.patch(Foreign.POD, "good", {"spec": {"nodeName": made[0]}}, "default")
            await fleet.api.patch(Foreign.NODE, made[0], {"spec": {"taints": "all"}})
            removals = [{"machine": made[0], "reason": "test", "drain": True}]
            await fleet.api.patch(Kind.POOL, "work", {"spec": {"replicas": 0, "removals": removals}})
            await asyncio.sleep(60)
            assert "good" in fleet.api.evicted

    in_virtual_time(life)


def test_a_pool_that_vanishes_between_decision_and_deed_stops_no_other() -> None:
    async def life(loop: VirtualLoop) -> None:
        fleet = Fleet(loop=loop, seed=2)
        await fleet.stock(4)
        await fleet.pool("gone")
        await fleet.pool("work", priority=1)
        await fleet.api.create(Foreign.POD, pending_pod("p"))

        async def decide_while_it_goes(work: Any, *given: Any) -> Any:
            made = work(*given)
            if "gone" in fleet.api.of(Kind.POOL):
                await fleet.api.delete(Kind.POOL, "gone")
            return made

        settings = PoolSettings(identity="a")
        pools = PoolLoop(fleet.api, settings, clock=loop.now, monotonic=loop.time, compute=decide_while_it_goes)
        async with alive(fleet.deploy(), pools.run(), fleet.join()):
            await asyncio.sleep(200)
            assert set(fleet.api.of(Kind.POOL)) == {"work"}
            assert [one["metadata"]["labels"]["dpupool.io/pool"] for one in fleet.machines()] == ["work"]

    in_virtual_time(life)
