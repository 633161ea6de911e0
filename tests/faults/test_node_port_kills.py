"""The daemon dies at each point of the life of the node's own port; the next one finds it whole, or makes it."""

import asyncio
from pathlib import Path

import pytest

from dpu_daemon.engine.node_port import NodePort
from dpu_daemon.model.sandbox import NODE
from tests.fakes.cni import CniHost, CniWorld, cni_host
from tests.fakes.world import Killed
from tests.unit.dpu_daemon.engine.test_node_port import HERE, OWN, POD, is_there, own, port

pytestmark = pytest.mark.faults


def _world(*, functions: bool) -> CniWorld:
    world = CniWorld(functions=functions)
    world.node.namespaces[NODE] = HERE
    world.node.assigned[POD] = own()
    return world


async def _life(host: CniHost, one: NodePort) -> None:
    """It is made, made anew for another assignment, and taken away."""
    await one.turn()
    host.world.node.assigned[POD] = own(mtu=9000)
    await one.turn()
    await host.settled()
    del host.world.node.assigned[POD]
    await one.turn()


async def _points(path: Path, *, functions: bool) -> int:
    host = await cni_host(path / "count.db", _world(functions=functions))
    before = host.world.points
    await _life(host, port(host))
    await host.settled()
    await host.stop()
    return host.world.points - before


async def _killed_at(point: int, path: Path, *, functions: bool) -> None:
    world = _world(functions=functions)
    empty = world.node.dump()
    host = await cni_host(path / f"{point}.db", world)
    world.points, world.faults.kill_at = 0, point
    with pytest.raises(Killed):
        await _life(host, port(host))
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()),
                         return_exceptions=True)  # fmt: skip
    await host.ledger.close()
    host = await cni_host(path / f"{point}.db", world)
    world.node.assigned.setdefault(POD, own())
    await port(host).turn()
    assert is_there(world), f"at point {point}"
    assert list(world.node.held) == [OWN]
    await host.settled()
    del world.node.assigned[POD]
    await port(host).turn()
    assert world.node.dump() == empty, f"at point {point}"
    await host.stop()


@pytest.mark.parametrize("functions", [False, True], ids=["veth", "function"])
async def test_no_point_is_a_wrong_moment_to_die(tmp_path: Path, *, functions: bool) -> None:
    points = await _points(tmp_path, functions=functions)
    assert points > 20
    for point in range(1, points + 1):
        await _killed_at(point, tmp_path, functions=functions)
