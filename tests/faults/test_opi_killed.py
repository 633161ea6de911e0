"""kill -9 of a daemon at every point of the life of OPI objects: enumerated, not sampled.

The life is cut at point N; the daemon starts again on the same journal and block layer, and converges; the client
repeats the call that got no answer and goes on. Whatever N is, identities stay, nothing is left, nothing is torn away
beneath a user.
"""

import asyncio
from pathlib import Path

import pytest

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.opi.objects import OpiObjects
from dpu_daemon.model.opi import OpiKind
from tests.fakes.crash import MortalJournal
from tests.fakes.opi_client import TARGET
from tests.fakes.opi_daemon import OpiWorld, open_engine
from tests.fakes.opi_life import check_nothing_leaked, check_references, check_settled, is_empty, life
from tests.fakes.world import Killed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


def _around() -> OpiWorld:
    around = OpiWorld()
    around.state.targets[TARGET] = {1: 4096}
    return around


async def _open(path: Path, around: OpiWorld) -> tuple[DpuEngine, OpiObjects]:
    return await open_engine(path, around, lambda file: MortalJournal(file, around.world))


def _identities(objects: OpiObjects) -> dict[str, object]:
    chosen = ("uuid", "nguid", "host_nsid", "serial_number", "hostnqn")
    return {
        name: tuple(getattr(record.spec, field, None) for field in chosen)
        for name, record in objects.ledger.opi.items()
    }


async def _points(path: Path) -> int:
    around = _around()
    engine, objects = await _open(path, around)
    for call in life():
        await call(objects)
    await engine.core.stop(1.0)
    assert is_empty(around.state)
    return around.world.points


async def _cut(path: Path, at: int) -> None:
    """One life that ends at a point, and the next one that goes on."""
    around = _around()
    around.world.faults.kill_at = at
    engine, objects = await _open(path, around)
    calls = life()
    known: dict[str, object] = {}
    done = 0
    try:
        for call in calls:
            known |= _identities(objects)
            await call(objects)
            done += 1
    except Killed:
        known |= _identities(objects)
    await engine.core.stop(0.0)
    around.world.faults.dead, around.world.faults.kill_at = False, None
    engine, objects = await _open(path, around)
    await engine.core.audit.once()
    await engine.core.audit.once()
    await check_settled(objects)
    check_nothing_leaked(objects.ledger, around)
    for call in calls[done:]:
        await call(objects)
        check_references(objects.ledger)
        for name, identity in _identities(objects).items():
            assert known.setdefault(name, identity) == identity
    await engine.core.stop(1.0)
    assert is_empty(around.state)
    assert around.store.sets == {}


async def test_a_daemon_killed_at_any_point_leaves_nothing_behind_and_changes_no_identity(tmp_path: Path) -> None:
    points = await _points(tmp_path / "whole.db")
    assert points > 150
    for at in range(1, points + 1):
        path = tmp_path / f"cut-{at}.db"
        await _cut(path, at)
        await asyncio.to_thread(path.unlink)


async def test_after_a_restart_of_the_block_layer_everything_comes_back_in_one_audit(tmp_path: Path) -> None:
    around = _around()
    engine, objects = await _open(tmp_path / "dpu.db", around)
    for call in life()[:12]:
        await call(objects)
    before = _identities(objects)
    spaces = {nqn: seen.namespaces for nqn, seen in around.state.subsystems.items()}
    objects.driver.restart()  # type: ignore[attr-defined]
    assert is_empty(around.state)
    await engine.core.audit.once()
    await check_settled(objects)
    assert _identities(objects) == before
    assert {nqn: seen.namespaces for nqn, seen in around.state.subsystems.items()} == spaces
    await engine.core.stop(1.0)


async def test_a_target_that_stays_away_holds_up_only_what_stands_on_it(tmp_path: Path) -> None:
    around = _around()
    engine, objects = await _open(tmp_path / "dpu.db", around)
    for call in life()[:12]:
        await call(objects)
    objects.driver.restart()  # type: ignore[attr-defined]
    target = around.state.targets.pop(TARGET)
    await engine.core.audit.once()
    assert {record.kind for record in objects.members(OpiKind.VIRTIO_BLK, "")} == {OpiKind.VIRTIO_BLK}
    assert len(around.state.virtio_blks) == 1
    assert [sorted(seen.namespaces) for seen in around.state.subsystems.values()] == [[2]]
    await engine.core.audit.once()
    assert TARGET in engine.core.audit.message()
    around.state.targets[TARGET] = target
    engine.core.audit.alarm("the target is back")
    for _ in range(3):
        await engine.core.audit.once()
        engine.core.audit.alarm("look again")
    await check_settled(objects)
    await engine.core.stop(1.0)
