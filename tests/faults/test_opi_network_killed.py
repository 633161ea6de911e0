"""kill -9 of a daemon at every point of the life of OPI's network objects: enumerated, not sampled."""

import asyncio
from pathlib import Path

import pytest

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.opi_network.objects import NetworkObjects
from dpu_daemon.plan.opi_network_wanted import SHARED
from tests.fakes.crash import MortalJournal
from tests.fakes.opi_net_daemon import (
    NetWorld,
    check_nothing_leaked,
    check_settled,
    is_empty,
    life,
    open_net_engine,
)
from tests.fakes.world import Killed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
WHOLE = 6
"""Calls after which everything is there."""


async def _open(path: Path, around: NetWorld) -> tuple[DpuEngine, NetworkObjects]:
    return await open_net_engine(path, around, lambda file: MortalJournal(file, around.world))


async def _points(path: Path) -> int:
    around = NetWorld()
    engine, objects = await _open(path, around)
    for call in life():
        await call(objects)
    await engine.core.stop(1.0)
    assert is_empty(around.state)
    return around.world.points


async def _cut(path: Path, at: int) -> None:
    """One life that ends at a point, and the next one that goes on."""
    around = NetWorld()
    around.world.faults.kill_at = at
    engine, objects = await _open(path, around)
    calls, done = life(), 0
    try:
        for call in calls:
            await call(objects)
            done += 1
    except Killed:
        pass
    await engine.core.stop(0.0)
    around.world.faults.dead, around.world.faults.kill_at = False, None
    engine, objects = await _open(path, around)
    await engine.core.audit.once()
    await engine.core.audit.once()
    await check_settled(objects)
    await check_nothing_leaked(objects, around.state)
    for call in calls[done:]:
        await call(objects)
        await check_nothing_leaked(objects, around.state)
    await engine.core.stop(1.0)
    assert is_empty(around.state)


async def test_a_daemon_killed_at_any_point_leaves_nothing_behind(tmp_path: Path) -> None:
    points = await _points(tmp_path / "whole.db")
    assert points > 100
    for at in range(1, points + 1):
        path = tmp_path / f"cut-{at}.db"
        await _cut(path, at)
        await asyncio.to_thread(path.unlink)


async def _whole(path: Path) -> tuple[NetWorld, DpuEngine, NetworkObjects]:
    around = NetWorld()
    engine, objects = await _open(path, around)
    for call in life()[:WHOLE]:
        await call(objects)
    return around, engine, objects


async def test_after_the_loss_of_the_switchs_database_everything_comes_back_in_one_audit(tmp_path: Path) -> None:
    around, engine, objects = await _whole(tmp_path / "dpu.db")
    plugs = {name: port.plug for name, port in around.state.ports.items()}
    around.state.lose_switch()
    await engine.core.audit.once()
    await check_settled(objects)
    assert {name: port.plug for name, port in around.state.ports.items()} == plugs
    await engine.core.stop(1.0)


async def test_after_the_loss_of_a_routing_domain_it_and_its_gateways_come_back(tmp_path: Path) -> None:
    around, engine, objects = await _whole(tmp_path / "dpu.db")
    around.state.lose_domain("opi-blue")
    await engine.core.audit.once()
    await check_settled(objects)
    assert {end.name[:3] for end in around.state.domains["opi-blue"].ends.values()} == {"lo", "svi"}
    await engine.core.stop(1.0)


async def test_a_representor_that_is_away_holds_up_nothing_else(tmp_path: Path) -> None:
    around, engine, objects = await _whole(tmp_path / "dpu.db")
    gone = around.state.ends.pop("pf0vf0")
    around.state.lose_switch()
    await engine.core.audit.once()
    assert "pf0vf1" in around.state.ports
    assert "pf0vf0" not in around.state.ports
    around.state.ends["pf0vf0"] = gone
    for _ in range(2):
        engine.core.audit.alarm("it is back")
        await engine.core.audit.once()
    await check_settled(objects)
    await engine.core.stop(1.0)


async def test_ports_of_objects_that_a_lost_journal_had_are_taken_away(tmp_path: Path) -> None:
    around, engine, _ = await _whole(tmp_path / "dpu.db")
    await engine.core.stop(1.0)
    engine, _ = await _open(tmp_path / "another.db", around)
    await engine.core.audit.once()
    owners = {port.plug.owner for port in around.state.ports.values()}
    assert owners == {SHARED}
    await engine.core.stop(1.0)
