"""The coordinator killed at every point of a machine's life: the next one finishes what was begun; nothing leaks."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from coordinator.core.objects.kinds import Kind
from tests.fakes.mortal import Fate, Mortal, MortalOutside
from tests.fakes.plant import TIMING, Plant, coordinator, phase

pytestmark = pytest.mark.faults

SLICES = 6
CALM = replace(TIMING, host_poll_s=30.0, dpu_poll_s=30.0, offline_after_s=60.0)
"""Polls so rare that the points are those of the machine."""


async def new_plant() -> Plant:
    plant = Plant()
    await plant.furnish(hosts=2)
    async with coordinator(plant.api, plant, CALM):
        for host in ("host-1", "host-2"):
            await plant.until(Kind.HOST, host, lambda one: phase(one) == "Available")
        await plant.until(Kind.IMAGE, "tiny", lambda one: phase(one) == "Ready")
    return plant


async def lives(plant: Plant, fate: Fate, goal: Any) -> None:
    """A coordinator works towards `goal` until it is reached, or it dies."""
    goal_task = asyncio.ensure_future(goal)
    died = asyncio.ensure_future(fate.died.wait())
    async with coordinator(Mortal(plant.api, fate), MortalOutside(plant, fate), CALM):
        await asyncio.wait({goal_task, died}, return_when=asyncio.FIRST_COMPLETED, timeout=45)
    for task in (goal_task, died):
        task.cancel()
    await asyncio.gather(goal_task, died, return_exceptions=True)


def claims(plant: Plant) -> list[str]:
    held = [one for (kind, _, _), one in plant.api.objects.items() if kind is Kind.HOST and one["spec"].get("claimRef")]
    return [host["metadata"]["name"] for host in held]


async def check_running(plant: Plant, fate: Fate) -> None:
    found = await plant.running()
    assert claims(plant) == [found["status"]["hostRef"]["name"]], fate.where
    assert len(plant.store.volumes) == 2, (fate.where, [server.actions for server in plant.servers.values()])
    assert sum(len(dpu.disks) for dpu in plant.dpus.values()) == 2, (
        fate.where,
        [server.actions for server in plant.servers.values()],
    )
    assert sum(len(dpu.ports) for dpu in plant.dpus.values()) == 1, fate.where
    for dpu in plant.dpus.values():
        assert all(len(seen) == 1 for seen in dpu.identities.values()), fate.where
    ledger = (await plant.get(Kind.SUBNET, "lan-v4"))["status"]["allocations"]
    assert len(ledger) == 1, fate.where


async def check_gone(plant: Plant, fate: Fate) -> None:
    await plant.gone(Kind.MACHINE, "bm-01")
    assert plant.leaks() == [], fate.where
    assert claims(plant) == [], fate.where
    left = {key for key in plant.api.objects if key[0] in {Kind.VOLUME, Kind.ATTACHMENT, Kind.MACHINE}}
    assert left == set(), fate.where
    assert (await plant.get(Kind.SUBNET, "lan-v4"))["status"].get("allocations", []) == [], fate.where


async def create(plant: Plant) -> None:
    await plant.machine(disks=[{"name": "data", "size": "16Mi"}])


@pytest.mark.parametrize("offset", range(SLICES))
async def test_a_create_survives_a_kill_at_any_point(offset: int) -> None:
    die_at = offset + 1
    while True:
        plant, fate = await new_plant(), Fate(die_at)
        await create(plant)
        await lives(plant, fate, plant.running())
        async with coordinator(plant.api, plant, CALM):
            await check_running(plant, fate)
            await plant.delete(Kind.MACHINE, "bm-01")
            await check_gone(plant, fate)
        if not fate.died.is_set():
            assert die_at > SLICES * 10
            return
        die_at += SLICES


@pytest.mark.parametrize("offset", range(SLICES))
async def test_a_delete_survives_a_kill_at_any_point(offset: int) -> None:
    die_at = offset + 1
    while True:
        plant, fate = await new_plant(), Fate(die_at)
        await create(plant)
        async with coordinator(plant.api, plant, CALM):
            await plant.running()
        await plant.delete(Kind.MACHINE, "bm-01")
        await lives(plant, fate, plant.gone(Kind.MACHINE, "bm-01"))
        async with coordinator(plant.api, plant, CALM):
            await check_gone(plant, fate)
        if not fate.died.is_set():
            assert die_at > SLICES * 5
            return
        die_at += SLICES


async def test_a_delete_that_comes_before_the_create_has_ended_leaves_nothing() -> None:
    for die_at in range(1, 160, 13):
        plant, fate = await new_plant(), Fate(die_at)
        await create(plant)
        await lives(plant, fate, plant.running())
        await plant.delete(Kind.MACHINE, "bm-01")
        async with coordinator(plant.api, plant, CALM):
            await check_gone(plant, fate)


@pytest.mark.parametrize("offset", range(SLICES))
async def test_a_restart_survives_a_kill_at_any_point_and_happens_once(offset: int) -> None:
    die_at = offset + 1
    while True:
        plant, fate = await new_plant(), Fate(die_at)
        await create(plant)
        async with coordinator(plant.api, plant, CALM):
            await plant.running()
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"restartedAt": "now"}})

        def restarted(one: dict[str, Any]) -> bool:
            return phase(one) == "Running" and one["status"].get("restartedAt") == "now"

        await lives(plant, fate, plant.until(Kind.MACHINE, "bm-01", restarted))
        async with coordinator(plant.api, plant, CALM):
            await plant.until(Kind.MACHINE, "bm-01", restarted)
        assert sum(server.starts for server in plant.servers.values()) == 2, (
            fate.where,
            [server.actions for server in plant.servers.values()],
        )
        for dpu in plant.dpus.values():
            assert all(len(seen) == 1 for seen in dpu.identities.values()), fate.where
        if not fate.died.is_set():
            return
        die_at += SLICES
