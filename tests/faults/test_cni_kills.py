"""kill -9 of a node's daemon at every point of ADD and DEL: enumerated, not sampled.

The runtime sees its connection end, and calls DEL, as CNI asks of it; sometimes only after the daemon's first audit.
Whatever the point, in the end nothing is left, a second pod of the node was never touched, and the next ADD works.
"""

import asyncio
from pathlib import Path

import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.model.assignment import Holder
from tests.fakes.cni import CniHost, CniWorld, ask, assignment, cni_host
from tests.fakes.world import Killed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
ETH0 = Holder("c1", "eth0")


def _soon() -> Deadline:
    return Deadline.after(30)


def _world(*, functions: bool) -> CniWorld:
    world = CniWorld(functions=functions)
    for container in ("c1", "c2"):
        world.add_netns(container)
    world.node.assigned["default/web"] = assignment()
    world.node.assigned["default/api"] = assignment("api", mac="0a:58:0a:10:00:06")
    return world


async def _life(host: CniHost) -> None:
    await host.node.add(ask(device_info="/run/info"), _soon(), asyncio.Event())
    await host.settled()
    await host.node.delete(ETH0, _soon())


async def _points(path: Path, *, functions: bool) -> int:
    world = _world(functions=functions)
    host = await cni_host(path / "count.db", world)
    await host.node.add(ask("api", "c2"), _soon(), asyncio.Event())
    await host.settled()
    before = world.points
    await _life(host)
    await host.stop()
    return world.points - before


async def _killed_at(point: int, path: Path, *, functions: bool, audited: bool) -> None:
    world = _world(functions=functions)
    journal = path / f"{point}-{audited}.db"
    host = await cni_host(journal, world)
    await host.node.add(ask("api", "c2"), _soon(), asyncio.Event())
    await host.settled()
    still = world.node.dump()
    world.points, world.faults.kill_at = 0, point
    with pytest.raises(Killed):
        await _life(host)
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()),
                         return_exceptions=True)  # fmt: skip
    await host.ledger.close()
    host = await cni_host(journal, world)
    if audited:
        await host.audit()
    await host.node.delete(ETH0, _soon())
    await host.audit()
    assert world.node.dump() == still, f"at point {point}"
    assert list(host.ledger.sandboxes) == ["c2/eth0"]
    added = await host.node.add(ask(), _soon(), asyncio.Event())
    assert added.assignment.port_id == "default.web"
    await host.node.delete(ETH0, _soon())
    assert world.node.dump() == still
    await host.stop()


@pytest.mark.parametrize("audited", [False, True], ids=["DEL at once", "DEL after an audit"])
@pytest.mark.parametrize("functions", [False, True], ids=["veth", "function"])
async def test_nothing_is_left_wherever_the_daemon_dies(tmp_path: Path, *, functions: bool, audited: bool) -> None:
    points = await _points(tmp_path, functions=functions)
    assert points > 15
    for point in range(1, points + 1):
        await _killed_at(point, tmp_path, functions=functions, audited=audited)
