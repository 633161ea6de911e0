"""Machines and coordinators in any interleaving: a host has one machine at most, a machine one host at most."""

import asyncio
import random
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.objects.kinds import Kind
from tests.fakes.plant import Plant, coordinator, phase


class Slow:
    """An API whose every answer comes after a while that nobody can foresee."""

    def __init__(self, inner: Any, seed: int) -> None:
        self._inner = inner
        self._random = random.Random(seed)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def slow(*args: Any, **kwargs: Any) -> Any:
            for _ in range(self._random.randrange(6)):
                await asyncio.sleep(0)
            answer = await found(*args, **kwargs)
            for _ in range(self._random.randrange(6)):
                await asyncio.sleep(0)
            return answer

        return slow


async def crowd(seed: int, machines: int, kills: int) -> None:
    plant = Plant()
    await plant.furnish(hosts=3)
    names = [f"bm-{number}" for number in range(machines)]
    for name in names:
        await plant.machine(name)
    chance = random.Random(seed)

    def running() -> int:
        return sum(phase(one) == "Running" for (kind, _, _), one in plant.api.objects.items() if kind is Kind.MACHINE)

    for turn in range(kills + 1):
        async with coordinator(Slow(plant.api, seed + turn), plant):
            if turn < kills:
                await asyncio.sleep(chance.random() * 0.15)
            else:
                await plant.until(Kind.HOST, "host-1", lambda _: running() == min(machines, 3))
        check(plant)
    for dpu in plant.dpus.values():
        assert len({spec.machine_id for spec, _ in dpu.disks.values()}) <= 1


def check(plant: Plant) -> None:
    hosts = [one for (kind, _, _), one in plant.api.objects.items() if kind is Kind.HOST]
    holders = Counter(one["spec"]["claimRef"]["uid"] for one in hosts if one["spec"].get("claimRef"))
    assert all(count == 1 for count in holders.values())
    found = [one for (kind, _, _), one in plant.api.objects.items() if kind is Kind.MACHINE]
    named = Counter(one.get("status", {}).get("hostRef", {}).get("name", "") for one in found)
    assert all(count == 1 for name, count in named.items() if name)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), machines=st.integers(1, 5), kills=st.integers(0, 3))
def test_nothing_is_given_twice_in_any_interleaving(seed: int, machines: int, kills: int) -> None:
    asyncio.run(crowd(seed, machines, kills))
