"""Ledgers of two subnets, which one machine changes at once."""

from typing import Any

import pytest

from coordinator.core.objects.kinds import Kind
from tests.fakes.plant import Plant, coordinator


async def test_a_nic_that_moves_to_another_subnet_gives_its_address_back_before_it_gets_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant = Plant()
    await plant.furnish()
    await plant.make(Kind.SUBNET, "early", {"networkRef": {"name": "lan"}, "cidr": "10.5.0.0/24"})
    steps: list[tuple[str, int]] = []
    patch_status = plant.api.patch_status

    async def watched(kind: Any, name: str, body: Any, *args: Any, **more: Any) -> Any:
        status = body.get("status", {})
        if kind is Kind.SUBNET and "allocations" in status:
            steps.append((name, len(status["allocations"] or [])))
        return await patch_status(kind, name, body, *args, **more)

    async with coordinator(plant.api, plant):
        await plant.machine()
        await plant.running()
        monkeypatch.setattr(plant.api, "patch_status", watched)
        moved = [{"name": "eth0", "subnetRef": {"name": "early"}}]
        await plant.change(Kind.MACHINE, "bm-01", {"spec": {"nics": moved}})
        await plant.until(Kind.SUBNET, "early", lambda one: one["status"].get("used") == 1)
        await plant.until(Kind.SUBNET, "lan-v4", lambda one: one["status"].get("used") == 0)
    assert steps.index(("lan-v4", 0)) < steps.index(("early", 1))
