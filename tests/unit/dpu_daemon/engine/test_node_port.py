"""The node's own port over a node in memory, with a veth pair and with a function."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.node_port import NodePort, NodePortSettings
from dpu_daemon.engine.sandbox_add import given
from dpu_daemon.model.assignment import Assignment, Holder, PodAddress, PodRoute
from dpu_daemon.model.sandbox import NODE
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cni import CniHost, CniWorld, FakeSandboxLinks, FakeSwitchSide, ask, assignment, cni_host

OWN = Holder(NODE, "dpupool0")
POD = "dpupool-system/node-node-1"
HERE = 99


def own(**changes: object) -> Assignment:
    """What the coordinator gives to the node."""
    known = assignment(
        "node-node-1",
        port_id="dpupool-system.node-node-1",
        pod_namespace="dpupool-system",
        interface="dpupool0",
        addresses=(PodAddress(cidr="10.16.0.9/16"),),
        routes=(PodRoute(dst="10.17.0.0/16", via="10.16.0.1"),),
    )
    return replace(known, **changes)  # type: ignore[arg-type]


@pytest.fixture(params=[False, True], ids=["veth", "function"])
def world(request: pytest.FixtureRequest) -> CniWorld:
    world = CniWorld(functions=request.param)
    world.node.namespaces[NODE] = HERE
    return world


@pytest.fixture
async def host(world: CniWorld, tmp_path: Path) -> AsyncIterator[CniHost]:
    host = await cni_host(tmp_path / "journal.db", world)
    yield host
    await host.stop()


def port(host: CniHost, interface: str = "dpupool0") -> NodePort:
    settings = NodePortSettings(node="node-1", namespace="dpupool-system", interface=interface, look_s=0.02, add_s=5.0)
    return NodePort(host.ledger, host.node, FakeSwitchSide(host.world), FakeSandboxLinks(host.world), settings)


@asynccontextmanager
async def serving(host: CniHost) -> AsyncIterator[NodePort]:
    """The part as the core runs it."""
    one = port(host)
    await one.start(lambda _: None)
    yield one
    await one.stop()


def is_there(world: CniWorld) -> bool:
    return (HERE, "dpupool0") in world.node.inside and OWN in world.node.held


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - a world in memory tells nobody
            await asyncio.sleep(0.01)


async def test_it_is_made_of_what_is_assigned_and_never_with_a_default_route(host: CniHost, world: CniWorld) -> None:
    gateways = (PodAddress(cidr="10.16.0.9/16", gateway="10.16.0.1"),)
    default = PodRoute(dst="0.0.0.0/0", via="10.16.0.1")
    world.node.assigned[POD] = own(addresses=gateways, routes=(*own().routes, default))
    assert await port(host).turn()
    seen = world.node.inside[HERE, "dpupool0"]
    assert (seen.mac, seen.mtu, seen.addresses) == (own().mac, 1400, frozenset({"10.16.0.9/16"}))
    assert seen.routes == frozenset(own().routes)
    assert is_there(world)


async def test_a_second_look_changes_nothing(host: CniHost, world: CniWorld) -> None:
    world.node.assigned[POD] = own()
    one = port(host)
    await one.turn()
    await host.settled()
    before, last = world.node.dump(), host.ledger.last_event
    assert await one.turn()
    assert (world.node.dump(), host.ledger.last_event) == (before, last)
    assert "10.16.0.9/16" in one.version()


async def test_without_an_assignment_nothing_is_done_or_told(host: CniHost, world: CniWorld) -> None:
    before, last = world.node.dump(), host.ledger.last_event
    assert not await port(host).turn()
    assert (world.node.dump(), host.ledger.last_event) == (before, last)
    assert not host.ledger.sandboxes


async def test_an_assignment_that_is_taken_back_takes_it_along(host: CniHost, world: CniWorld) -> None:
    before = world.node.dump()
    world.node.assigned[POD] = own()
    await port(host).turn()
    world.node.assigned.clear()
    await port(host).turn()
    assert world.node.dump() == before
    assert not host.ledger.sandboxes


@pytest.mark.parametrize(
    "changes",
    [
        {"mtu": 9000},
        {"routes": ()},
        {"addresses": (PodAddress(cidr="10.16.0.10/16"),)},
        {"mac": "0a:58:0a:10:00:77"},
    ],
)
async def test_an_assignment_that_changed_is_followed(
    host: CniHost, world: CniWorld, changes: dict[str, object]
) -> None:
    world.node.assigned[POD] = own()
    one = port(host)
    await one.turn()
    world.node.assigned[POD] = own(**changes)
    await one.turn()
    assert given(host.ledger.sandboxes[str(OWN)]) == own(**changes)


@pytest.mark.parametrize("change", [{"up": False}, {"addresses": frozenset()}, {"routes": frozenset()}, {"mtu": 1500}])
async def test_what_somebody_changed_is_made_anew(host: CniHost, world: CniWorld, change: dict[str, object]) -> None:
    world.node.assigned[POD] = own()
    one = port(host)
    await one.turn()
    before = world.node.inside[HERE, "dpupool0"]
    world.node.inside[HERE, "dpupool0"] = replace(before, **change)  # type: ignore[arg-type]
    await one.turn()
    assert world.node.inside[HERE, "dpupool0"] == before


async def test_a_port_that_the_switch_has_lost_is_made_anew(host: CniHost, world: CniWorld) -> None:
    world.node.assigned[POD] = own()
    one = port(host)
    await one.turn()
    del world.node.held[OWN]
    await one.turn()
    assert is_there(world)


async def test_while_the_switch_cannot_be_asked_it_stays_as_it_is(host: CniHost, world: CniWorld) -> None:
    world.node.assigned[POD] = own()
    one = port(host)
    await one.turn()
    before = world.node.dump()
    world.node.inside[HERE, "dpupool0"] = replace(world.node.inside[HERE, "dpupool0"], mtu=1)
    world.faults.errors["switch.look"] = [DpuError(Reason.UNAVAILABLE, "the DPU is away")]
    with pytest.raises(DpuError, match="away"):
        await one.turn()
    await one.turn()
    assert world.node.dump() == before


async def test_an_answer_that_is_late_is_no_news_to_who_waits_and_takes_nothing_away(
    host: CniHost, world: CniWorld
) -> None:
    late = DpuError(Reason.DEADLINE, "the DPU did not finish in time")
    world.faults.errors["switch.look"] = [late]
    one = port(host)
    assert not await one.turn()
    world.node.assigned[POD] = own()
    await one.turn()
    world.faults.errors["switch.look"] = [late]
    with pytest.raises(DpuError, match="in time"):
        await one.turn()
    assert is_there(world)


async def test_a_restart_keeps_what_is_whole_and_needs_no_audit(world: CniWorld, tmp_path: Path) -> None:
    world.node.assigned[POD] = own()
    host = await cni_host(tmp_path / "journal.db", world)
    await port(host).turn()
    await host.settled()
    before = world.node.dump()
    await host.stop()
    host = await cni_host(tmp_path / "journal.db", world)
    assert await host.audit() == []
    await port(host).turn()
    assert world.node.dump() == before
    del world.node.namespaces[NODE]
    host.now[0] += 3600.0
    assert await host.audit() == []
    assert OWN in world.node.held
    await host.stop()


async def test_gc_leaves_it_alone(host: CniHost, world: CniWorld) -> None:
    world.node.assigned[POD] = own()
    await port(host).turn()
    before = world.node.dump()
    for network in ("dpupool", NODE):
        await host.node.collect(network, frozenset(), Deadline.after(10))
    assert world.node.dump() == before


async def test_another_name_and_none_take_the_old_one_away(host: CniHost, world: CniWorld) -> None:
    before = world.node.dump()
    world.node.assigned[POD] = own()
    await port(host).turn()
    world.node.assigned[POD] = own(interface="pods0")
    await port(host, "pods0").turn()
    assert {name for inode, name in world.node.inside if inode == HERE} == {"pods0"}
    assert await port(host, "").turn()
    assert world.node.dump() == before


async def test_it_comes_and_goes_by_itself_beside_pods(host: CniHost, world: CniWorld) -> None:
    world.add_netns("c1")
    world.node.assigned["default/web"] = assignment()
    async with serving(host):
        await host.node.add(ask(), Deadline.after(10), asyncio.Event())
        world.node.assigned[POD] = own()
        await until(lambda: is_there(world))
        del world.node.assigned[POD]
        await until(lambda: OWN not in world.node.held)
    assert Holder("c1", "eth0") in world.node.held
