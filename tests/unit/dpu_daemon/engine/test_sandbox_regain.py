"""A DPU that has lost its journal: running containers get their ports again, and nobody gets another's."""

from asyncio import Event
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.model.assignment import GrantStage
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cni import CniHost, CniWorld, ask, assignment, cni_host

PODS = ("p0", "p1", "p2")


@pytest.fixture
def world() -> CniWorld:
    world = CniWorld(functions=True)
    for pod in PODS:
        world.add_netns(pod)
        world.node.assigned[f"default/{pod}"] = assignment(pod)
    return world


@pytest.fixture
async def host(world: CniWorld, tmp_path: Path) -> AsyncIterator[CniHost]:
    host = await cni_host(tmp_path / "journal.db", world)
    for pod in PODS:
        await host.node.add(ask(pod, pod), Deadline.after(10), Event())
    await host.settled()
    yield host
    await host.stop()


async def test_ports_that_the_dpu_forgot_come_back_and_inside_nothing_changes(host: CniHost, world: CniWorld) -> None:
    inside = world.node.inside.copy()
    held = {holder: grant.vf for holder, grant in world.node.held.items()}
    world.node.held.clear()
    assert await host.audit() == [f"eth0 of default/{pod}: the DPU does not know its port" for pod in PODS]
    assert {holder: grant.vf for holder, grant in world.node.held.items()} == held
    assert world.node.inside == inside
    assert await host.audit() == []


async def test_one_that_alone_was_forgotten_is_found_in_its_turn(host: CniHost, world: CniWorld) -> None:
    lost = next(iter(world.node.held))
    del world.node.held[lost]
    found = [why for _ in PODS for why in await host.audit()]
    assert len(found) == 1
    assert lost in world.node.held


async def test_a_dpu_that_cannot_be_asked_has_forgotten_nothing(host: CniHost, world: CniWorld) -> None:
    world.faults.down.add("switch")
    assert await host.audit() == []


async def test_a_pod_whose_port_is_anothers_by_now_is_refused_and_keeps_what_it_has(
    host: CniHost, world: CniWorld
) -> None:
    (lost, grant), *_ = world.node.held.items()
    thief = replace(lost, container_id="thief")
    world.node.held.clear()
    world.node.held[thief] = replace(grant, stage=GrantStage.FORWARDING)
    record = host.ledger.sandboxes[str(lost)]
    with pytest.raises(DpuError) as refused:
        await host.node.regain(record, Deadline.after(10))
    assert refused.value.reason is Reason.IN_USE
    assert host.ledger.sandboxes[str(lost)] == record
    assert thief in world.node.held
