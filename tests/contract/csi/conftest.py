"""A coordinator with CSI over a plant of two hosts."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.csi import Orchestrator, orchestrated
from tests.fakes.plant import Plant


@pytest.fixture
async def plant() -> Plant:
    """Two hosts with their DPUs, a storage node, an image."""
    made = Plant()
    await made.furnish(hosts=2)
    return made


@pytest.fixture
async def co(plant: Plant) -> AsyncIterator[Orchestrator]:
    """An orchestrator that calls the coordinator of the plant."""
    async with orchestrated(plant) as made:
        yield made
