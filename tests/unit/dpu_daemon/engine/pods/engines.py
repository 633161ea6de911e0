"""Engines for ports of pods, and what tests look at in them."""

from dataclasses import replace
from pathlib import Path

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.pods import HOST, NODE
from tests.fakes.world import World

SETTINGS = replace(NETWORK, node=NODE, host=HOST)


async def opened(directory: Path, world: World) -> DpuEngine:
    """An engine whose journal is in this directory."""
    return await DpuEngine.open(Journal(directory / "dpu.db"), fake_drivers(world), SETTINGS, FAST)


def nothing_left(dpu: DpuEngine, world: World) -> bool:
    """Whether no container has a port, nor is being given one."""
    return not any((dpu.core.ledger.pod_ports, world.state.switch_ports, dpu.pods.life.claims, dpu.pods.life.steps))


async def reasons(dpu: DpuEngine) -> list[str]:
    """Of all events so far."""
    events = []
    async for event in dpu.core.ledger.events(0):
        events.append(event.reason)
        if event.sequence == dpu.core.ledger.last_event:
            break
    return events
