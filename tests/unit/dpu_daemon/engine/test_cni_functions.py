"""CHECK and STATUS of a node whose containers get virtual functions, when these have faults."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpu_daemon.model.assignment import Holder
from dpu_daemon.model.sandbox import SandboxClaim
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cni import CniHost, CniWorld, ask, assignment, cni_host
from tests.unit.dpu_daemon.engine.test_cni_node import patient, soon

ETH0 = Holder("c1", "eth0")
CLAIM = SandboxClaim(holder=ETH0, netns="/run/netns/c1")


@pytest.fixture
def world() -> CniWorld:
    world = CniWorld(functions=True)
    world.add_netns("c1")
    world.node.assigned["default/web"] = assignment()
    return world


@pytest.fixture
async def host(world: CniWorld, tmp_path: Path) -> AsyncIterator[CniHost]:
    host = await cni_host(tmp_path / "journal.db", world)
    yield host
    await host.stop()


async def test_check_tells_the_fault_of_a_function_that_a_virtual_machine_has(host: CniHost, world: CniWorld) -> None:
    world.for_machines.add(2)
    await host.node.add(ask(device_id="0000:03:00.2"), soon(), patient())
    await host.node.check(CLAIM, soon(), patient())
    world.fault = "function 0000:03:00.2 is gone"
    with pytest.raises(DpuError, match=r"0000:03:00\.2 is gone") as raised:
        await host.node.check(CLAIM, soon(), patient())
    assert raised.value.reason is Reason.WRONG_STATE


async def test_status_fails_while_no_function_works(host: CniHost, world: CniWorld) -> None:
    await host.node.ready(soon())
    world.fault = "physical function ens1f0 is down"
    with pytest.raises(DpuError, match="ens1f0 is down") as raised:
        await host.node.ready(soon())
    assert raised.value.reason is Reason.UNAVAILABLE
    world.fault = ""
    await host.node.ready(soon())
