"""Machines that are to go: drained, deleted, forgotten last; a drain that a pod forbids is put back as it was."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from coordinator.controllers.pool.drain_timing import DrainTiming
from coordinator.controllers.pool.loop import PoolLoop, PoolSettings
from coordinator.controllers.pool.marks import DELAY_PREFIX, is_tainted
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.meta import Json
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.fleet import Fleet, alive, pending_pod
from tests.fakes.mortal import Fate, Mortal
from tests.fakes.virtual import VirtualLoop, at_once, in_virtual_time

pytestmark = pytest.mark.faults


async def remove(fleet: Fleet, machines: int) -> list[str]:
    """Ask for some machines less, by name, in one write."""
    names = sorted(one["metadata"]["name"] for one in fleet.machines())[:machines]
    removals = [{"machine": name, "reason": "test", "drain": True, "since": "2026-01-01T00:00:00Z"} for name in names]
    await fleet.api.patch(Kind.POOL, "work", {"spec": {"replicas": 3 - machines, "removals": removals}})
    return names


async def remove_one(fleet: Fleet) -> str:
    return (await remove(fleet, 1))[0]


async def three_nodes(fleet: Fleet) -> None:
    await fleet.stock(4)
    await fleet.pool("work")
    for number in range(3):
        await fleet.api.create(Foreign.POD, pending_pod(f"p{number}"))


def loop_over(fleet: Fleet, api: Any, drain: DrainTiming | None = None, identity: str = "a") -> PoolLoop:
    settings = PoolSettings(identity=identity, drain=drain or DrainTiming())
    return PoolLoop(api, settings, clock=fleet.loop.now, monotonic=fleet.loop.time, compute=at_once)


def in_a_fleet(story: Any, drain: DrainTiming | None = None) -> None:
    async def life(loop: VirtualLoop) -> None:
        fleet = Fleet(loop=loop, seed=5)
        await three_nodes(fleet)
        async with alive(fleet.deploy(), loop_over(fleet, fleet.api, drain).run(), fleet.join(), fleet.schedule()):
            await asyncio.sleep(400)
            assert len(fleet.api.of(Foreign.NODE)) == 3
            await story(fleet)

    in_virtual_time(life)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        await asyncio.sleep(0.5)
    pytest.fail("it never came true")


def server_of(fleet: Fleet, node: str) -> Json:
    found: Json = fleet.api.of(Foreign.NODE)[node]
    return found


def pods_on(fleet: Fleet, node: str) -> list[Json]:
    return [pod for pod in fleet.api.of(Foreign.POD).values() if pod["spec"].get("nodeName") == node]


def never_touched(fleet: Fleet, node: str) -> Callable[[], bool]:
    """Whether a node is still the version that it is now."""
    version = server_of(fleet, node)["metadata"]["resourceVersion"]
    return lambda: bool(server_of(fleet, node)["metadata"]["resourceVersion"] == version)


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


def test_a_removal_that_a_pod_forbids_is_taken_back_before_anything_is_evicted_or_tainted() -> None:
    async def story(fleet: Fleet) -> None:
        name = min(fleet.api.of(Foreign.NODE))
        for number, pod in enumerate(pods_on(fleet, name)):
            assert number == 0
            extra = pending_pod("a-first", on=name)
            await fleet.api.create(Foreign.POD, extra)
            annotation = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
            body = {"metadata": {"annotations": annotation}}
            await fleet.api.patch(Foreign.POD, pod["metadata"]["name"], body, "default")
        untouched = never_touched(fleet, name)
        assert await remove_one(fleet) == name
        await asyncio.sleep(60)
        assert fleet.api.evictions == 0
        assert untouched()
        assert pool_spec(fleet)["removals"] == []
        assert pool_spec(fleet)["replicas"] == 3

    in_a_fleet(story)


def test_a_removal_of_a_node_with_a_pod_that_cannot_be_read_is_taken_back() -> None:
    async def story(fleet: Fleet) -> None:
        name = min(fleet.api.of(Foreign.NODE))
        odd = pending_pod("odd", on=name)
        odd["spec"]["containers"] = [3]
        await fleet.api.create(Foreign.POD, odd)
        await remove_one(fleet)
        await asyncio.sleep(60)
        assert fleet.api.evictions == 0
        assert pool_spec(fleet)["replicas"] == 3

    in_a_fleet(story)


def test_nothing_is_evicted_in_the_first_five_seconds_after_the_taint() -> None:
    async def story(fleet: Fleet) -> None:
        name = await remove_one(fleet)
        await until(lambda: is_tainted(server_of(fleet, name)))
        begun_s = fleet.loop.time()
        await until(lambda: fleet.api.evictions > 0)
        assert 5 <= fleet.loop.time() - begun_s <= 25

    in_a_fleet(story)


def test_when_one_node_cannot_be_tainted_none_of_the_wish_goes_and_all_serve_again() -> None:
    async def story(fleet: Fleet) -> None:
        names = sorted(fleet.api.of(Foreign.NODE))[:2]
        patch = fleet.api.patch

        async def refuse(kind: Any, name: str, body: Json, namespace: str = "") -> Json:
            if kind is Foreign.NODE and name == names[1]:
                raise DpuError(Reason.FORBIDDEN, "a webhook forbids it", field="node", remedy="ask its owner")
            made: Json = await patch(kind, name, body, namespace)
            return made

        fleet.api.patch = refuse
        assert await remove(fleet, 2) == names
        await asyncio.sleep(60)
        assert fleet.api.evictions == 0
        assert not any(is_tainted(one) for one in fleet.api.of(Foreign.NODE).values())
        assert not any(one["spec"].get("unschedulable") for one in fleet.api.of(Foreign.NODE).values())
        assert (pool_spec(fleet)["replicas"], pool_spec(fleet)["removals"]) == (3, [])

    in_a_fleet(story)


def test_important_pods_are_evicted_after_the_others_and_with_the_grace_of_their_group() -> None:
    async def story(fleet: Fleet) -> None:
        name = min(fleet.api.of(Foreign.NODE))
        for number, priority in enumerate((5000, 0, 1000)):
            extra = pending_pod(f"extra-{number}", on=name)
            extra["spec"] |= {"priority": priority, "terminationGracePeriodSeconds": 7200}
            await fleet.api.create(Foreign.POD, extra)
        await remove_one(fleet)
        await asyncio.sleep(120)
        assert fleet.api.evicted == ["extra-1", "p0", "extra-0", "extra-2"]
        assert fleet.api.graces == [60, 30, 20, 20]
        assert name not in fleet.api.of(Foreign.NODE)

    in_a_fleet(story, DrainTiming(priorities={0: 60.0, 1000: 20.0}))


def test_a_pod_has_no_more_than_ten_minutes_for_its_end() -> None:
    async def story(fleet: Fleet) -> None:
        name = min(fleet.api.of(Foreign.NODE))
        slow = pending_pod("slow", on=name)
        slow["spec"]["terminationGracePeriodSeconds"] = 7200
        await fleet.api.create(Foreign.POD, slow)
        await remove_one(fleet)
        await asyncio.sleep(60)
        assert sorted(fleet.api.graces, key=str) == [30, 600]

    in_a_fleet(story)


@pytest.mark.parametrize("lifted", [True, False])
def test_an_annotation_delays_the_deletion_until_it_is_gone_or_for_two_minutes(lifted: bool) -> None:
    async def story(fleet: Fleet) -> None:
        name = min(fleet.api.of(Foreign.NODE))
        note: Json = {"metadata": {"annotations": {f"{DELAY_PREFIX}backup": "true"}}}
        await fleet.api.patch(Foreign.NODE, name, note)
        await remove_one(fleet)
        await asyncio.sleep(80)
        assert fleet.api.evictions == 1
        assert name in fleet.api.of(Kind.MACHINE)
        if lifted:
            note["metadata"]["annotations"][f"{DELAY_PREFIX}backup"] = None
            await fleet.api.patch(Foreign.NODE, name, note)
            await asyncio.sleep(60)
        else:
            await asyncio.sleep(120)
        assert name not in fleet.api.of(Kind.MACHINE)

    in_a_fleet(story)


def test_a_node_that_is_tainted_though_nobody_wants_it_gone_serves_again() -> None:
    async def story(fleet: Fleet) -> None:
        name = await remove_one(fleet)
        await until(lambda: is_tainted(server_of(fleet, name)))
        await fleet.api.patch(Kind.POOL, "work", {"spec": {"replicas": 3, "removals": []}})
        await asyncio.sleep(30)
        assert not is_tainted(server_of(fleet, name))
        assert fleet.api.evictions == 0

    in_a_fleet(story)


async def until_settled(fleet: Fleet, within_s: float = 2000) -> None:
    end_s = fleet.loop.time() + within_s
    while pool_spec(fleet)["removals"] or len(fleet.machines()) != pool_spec(fleet)["replicas"]:
        assert fleet.loop.time() < end_s, pool_spec(fleet)
        await asyncio.sleep(5)
    await asyncio.sleep(10)


def removal_with_a_death(die_at: int, *, forbidden: bool) -> bool:
    """Two machines are to go, and the loop dies at a point; whether it did. Nothing may be left half done."""
    died = False

    async def life(loop: VirtualLoop) -> None:
        nonlocal died
        fleet, fate = Fleet(loop=loop, seed=5, boot_s=5.0), Fate(die_at)
        await three_nodes(fleet)
        fleet.api.reborn = False
        async with alive(fleet.deploy(), fleet.join(), fleet.schedule()):
            first = asyncio.ensure_future(loop_over(fleet, fleet.api, identity="first").run())
            await asyncio.sleep(40)
            assert len(fleet.api.of(Foreign.NODE)) == 3
            await cancelled(first)
            names = await remove(fleet, 2)
            if forbidden:
                late = pending_pod("late", on=names[1])
                late["metadata"]["annotations"] = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
                await fleet.api.create(Foreign.POD, late)
            mortal = asyncio.ensure_future(loop_over(fleet, Mortal(fleet.api, fate), identity="mortal").run())
            ends = {asyncio.ensure_future(fate.died.wait()), asyncio.ensure_future(until_settled(fleet))}
            _, others = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for one in others:
                await cancelled(one)
            died = fate.died.is_set()
            await cancelled(mortal)
            async with alive(loop_over(fleet, fleet.api, identity="next").run()):
                await until_settled(fleet)
            check_whole(fleet, names, forbidden=forbidden)

    in_virtual_time(life)
    return died


async def cancelled(task: "asyncio.Future[Any]") -> None:
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)


def check_whole(fleet: Fleet, names: list[str], *, forbidden: bool) -> None:
    nodes = fleet.api.of(Foreign.NODE)
    assert set(nodes) == {one["metadata"]["name"] for one in fleet.machines()}
    assert names[0] not in nodes
    assert (names[1] in nodes) is forbidden
    assert not any(is_tainted(node) or node["spec"].get("unschedulable") for node in nodes.values())
    assert fleet.twice == []
    assert set(fleet.leases()) == {one["spec"]["hostRef"]["name"] for one in fleet.machines()}


@pytest.mark.parametrize("forbidden", [False, True])
def test_a_loop_that_dies_at_any_point_of_a_removal_leaves_nothing_half_done(forbidden: bool) -> None:
    deaths, die_at, misses = 0, 1, 0
    while misses < 1 and die_at < 400:
        died = removal_with_a_death(die_at, forbidden=forbidden)
        deaths, misses = deaths + died, misses + (not died)
        die_at += 1
    assert misses == 1
    assert deaths > 40
