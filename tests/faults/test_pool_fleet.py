"""A fleet of a thousand servers: asked for, made and joined, some broken, the loop killed at random points."""

import asyncio
import random
from typing import Any

import pytest

from coordinator.controllers.pool.hands import WIDTH
from coordinator.controllers.pool.loop import PoolLoop, PoolSettings
from coordinator.core.objects.foreign import Foreign
from coordinator.core.objects.kinds import Kind
from tests.fakes.fleet import Fleet, alive, pending_pod
from tests.fakes.mortal import Fate, Mortal
from tests.fakes.virtual import VirtualLoop, at_once, in_virtual_time

pytestmark = pytest.mark.faults

GIVE_UP_S = 240


def pool_loop(fleet: Fleet, api: Any, identity: str, loop_s: float = 20.0) -> PoolLoop:
    settings = PoolSettings(identity=identity, loop_s=loop_s)
    clock, monotonic = fleet.loop.now, fleet.loop.time
    return PoolLoop(api, settings, clock=clock, monotonic=monotonic, compute=at_once)


async def ask_for(fleet: Fleet, machines: int) -> None:
    """Create a pool, and pods that need so many machines."""
    await fleet.pool("work", provisionTimeoutSeconds=GIVE_UP_S)
    for number in range(machines):
        await fleet.api.create(Foreign.POD, pending_pod(f"p{number:04d}"))


def placed(fleet: Fleet) -> int:
    return sum(bool(pod["spec"].get("nodeName")) for pod in fleet.api.of(Foreign.POD).values())


async def until_placed(fleet: Fleet, pods: int, within_s: float = 3600) -> None:
    end_s = fleet.loop.time() + within_s
    while placed(fleet) < pods or fleet.api.of(Kind.POOL)["work"]["spec"].get("removals"):
        pool = fleet.api.of(Kind.POOL)["work"]
        assert fleet.loop.time() < end_s, f"{placed(fleet)} of {pods}: {pool['status']['message']}"
        await asyncio.sleep(10)


async def until_gone(fleet: Fleet, within_s: float = 7200) -> None:
    end_s = fleet.loop.time() + within_s
    while left := fleet.leases_left():
        assert fleet.loop.time() < end_s, left[:5]
        await asyncio.sleep(10)


def check_sound(fleet: Fleet, machines: int) -> None:
    """Each machine has a node and a server that the pool holds; the broken ones have been replaced."""
    assert fleet.twice == []
    servers = [one["spec"]["hostRef"]["name"] for one in fleet.machines()]
    assert len(servers) == len(set(servers)) == machines
    assert set(fleet.leases()) == set(servers)
    assert not fleet.broken & set(servers)
    assert set(fleet.api.of(Foreign.NODE)) == {one["metadata"]["name"] for one in fleet.machines()}


async def lives(fleet: Fleet, number: int, die_at: int, goal: "asyncio.Task[None]") -> bool:
    """A loop that dies at a point, unless the goal is reached before; whether it died."""
    fate = Fate(die_at=die_at)
    pools = pool_loop(fleet, Mortal(fleet.api, fate), f"life-{number}", loop_s=10.0)
    task = asyncio.ensure_future(pools.run())
    died = asyncio.ensure_future(fate.died.wait())
    await asyncio.wait({died, goal, task}, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done() or task.exception() is None
    for one in (died, task):
        while not one.done():
            one.cancel()
            await asyncio.sleep(0)
    assert pools.hands.most_at_once <= WIDTH
    return fate.died.is_set()


async def survive(fleet: Fleet, dice: random.Random, goal: "asyncio.Task[None]", longest: int = 260) -> int:
    """Loops one after the other, each of so many points at most, until the goal is reached; how many died."""
    deaths = number = 0
    while not goal.done():
        number += 1
        deaths += await lives(fleet, dice.randint(0, 1 << 30), dice.randint(1, longest), goal)
    await goal
    return deaths


@pytest.mark.timeout(900)
def test_a_thousand_machines_are_made_and_join_and_go_though_servers_fail_and_the_loop_is_killed() -> None:
    async def life(loop: VirtualLoop) -> None:
        fleet, dice = Fleet(loop=loop, seed=3), random.Random(3)
        await fleet.stock(1052, broken=50)
        async with alive(fleet.deploy(), fleet.join(), fleet.schedule()):
            await asyncio.sleep(1)
            await ask_for(fleet, 1000)
            placing = asyncio.ensure_future(until_placed(fleet, 1000, 40_000))
            deaths = await survive(fleet, dice, placing, longest=4000)
            check_sound(fleet, 1000)
            assert fleet.api.of(Kind.POOL)["work"]["spec"]["replicas"] == 1000
            await fleet.api.delete(Kind.POOL, "work")
            deaths += await survive(fleet, dice, asyncio.ensure_future(until_gone(fleet, 40_000)), longest=8000)
        assert deaths >= 2
        assert fleet.twice == []
        assert fleet.leaks() == []

    in_virtual_time(life)


@pytest.mark.parametrize("seed", range(4))
def test_a_loop_killed_at_random_points_gives_nothing_twice_and_leaks_nothing(seed: int) -> None:
    async def life(loop: VirtualLoop) -> None:
        fleet, dice = Fleet(loop=loop, seed=seed), random.Random(seed)
        await fleet.stock(66, broken=4)
        async with alive(fleet.deploy(), fleet.join(), fleet.schedule()):
            await asyncio.sleep(1)
            await ask_for(fleet, 60)
            deaths = await survive(fleet, dice, asyncio.ensure_future(until_placed(fleet, 60, 40_000)))
            check_sound(fleet, 60)
            await fleet.api.delete(Kind.POOL, "work")
            deaths += await survive(fleet, dice, asyncio.ensure_future(until_gone(fleet, 40_000)))
        assert deaths >= 3
        assert fleet.twice == []
        assert fleet.leaks() == []

    in_virtual_time(life)


def test_of_two_loops_that_both_believe_to_lead_only_one_gives_each_server() -> None:
    async def life(loop: VirtualLoop) -> None:
        fleet = Fleet(loop=loop, seed=1)
        await fleet.stock(30)
        loops = [pool_loop(fleet, fleet.api, name) for name in ("a", "b")]
        for one in loops:
            one.hands._leading = lambda: True  # the election has failed
            one._election = _Everybody()  # type: ignore[assignment]
        async with alive(fleet.deploy(), fleet.join(), fleet.schedule(), *(one.run() for one in loops)):
            await asyncio.sleep(1)
            await ask_for(fleet, 20)
            await until_placed(fleet, 20)
            check_sound(fleet, 20)

    in_virtual_time(life)


class _Everybody:
    """An election that everybody wins."""

    leading = True

    async def run(self, told: Any) -> None:
        await asyncio.Event().wait()

    async def resign(self) -> None:
        return None
