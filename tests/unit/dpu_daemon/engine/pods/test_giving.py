"""Ports of pods as they are given: once, to whom they are assigned, or not at all and without a trace; on fakes."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.pod_ports import NodeSide
from dpu_daemon.engine.pod_protocols import SwitchTrouble
from dpu_daemon.model.assignment import NO_VF, Bandwidth, GrantStage, RefusedPod
from dpu_daemon.model.port import Limit
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.pod_drivers import FakePodSwitch
from tests.fakes.pods import HOST, NODE, acquire, ask, assignment, holder, make_veth, soon
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import AWAY, port
from tests.unit.dpu_daemon.engine.pods.engines import nothing_left, reasons


async def test_a_container_is_told_its_assignment_first_and_then_that_it_forwards(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1, bandwidth=Bandwidth(ingress_bps=10**7, ingress_burst_bits=10**6))])
    async with aclosing(side.acquire(ask(1), soon())) as grants:
        first = await anext(grants)
        assert (first.stage, first.vf, first.assignment) == (
            GrantStage.ASSIGNED,
            NO_VF,
            dpu.core.ledger.assignments["default.pod-1"],
        )
        assert len(first.representor) == 10
        assert not dpu.core.ledger.pod_ports["default.pod-1"].established
        make_veth(world, first)
        second = await anext(grants)
    assert (second.stage, second.ofport) == (GrantStage.FORWARDING, 1)
    seen = world.state.switch_ports[first.representor]
    assert (seen.iface_id, seen.mac, seen.pod, seen.limit) == (
        "default.pod-1",
        "02:00:00:00:00:01",
        "c1/eth0",
        Limit(10**7, 10**6),
    )
    assert (world.state.links[first.representor].up, world.state.links[first.representor].mtu) == (True, 1400)
    await dpu.pods.settled()
    assert dpu.core.ledger.pod_ports["default.pod-1"].established


async def test_an_add_is_two_writes_of_the_journal(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    await dpu.pods.put([assignment(1)])
    written: list[Any] = []
    queue = dpu.core.ledger.queue

    def counted(change: Change, **patience: float) -> Any:
        written.append(change)
        return queue(change, **patience)

    dpu.core.ledger.queue = counted  # type: ignore[method-assign]
    await acquire(side, world, ask(1))
    assert len(written) == 2
    await side.release(holder(1), soon())
    assert len(written) == 4


async def test_what_is_never_assigned_is_not_found_at_the_deadline(side: NodeSide, world: World) -> None:
    with pytest.raises(DpuError) as refused:
        await acquire(side, world, ask(1), soon(0.05))
    assert (refused.value.reason, refused.value.field) == (Reason.NOT_FOUND, "pod_name")
    assert "pod default/pod-1 on dpu-1" in refused.value.message


@pytest.mark.parametrize(
    ("what", "field"),
    [
        (ask(1, mac="02:00:00:00:00:99"), "mac"),
        (ask(1, addresses=("10.5.9.9",)), "addresses"),
        (ask(1, addresses=("10.5.0.3/24",)), "addresses"),
        (ask(1, interface="net7"), "interface"),
        (ask(2), "pod_name"),
    ],
)
async def test_what_is_not_theirs_is_refused_at_once_counted_and_told(
    dpu: DpuEngine, side: NodeSide, world: World, what: Any, field: str
) -> None:
    await dpu.pods.put([assignment(1), assignment(2, node=HOST)])
    with pytest.raises(DpuError) as refused:
        await acquire(side, world, what)
    assert (refused.value.reason, refused.value.field) == (Reason.NOT_ASSIGNED, field)
    assert dpu.pods.refused[Reason.NOT_ASSIGNED] == 1
    assert "Refused" in await reasons(dpu)
    assert nothing_left(dpu, world)


async def test_who_asks_for_nothing_but_what_is_not_theirs_does_not_fill_the_journal(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(2, node=HOST)])
    for _ in range(20):
        with pytest.raises(DpuError):
            await acquire(side, world, ask(2))
    assert dpu.pods.refused[Reason.NOT_ASSIGNED] == 20
    assert (await reasons(dpu)).count("Refused") < 20


async def test_a_pod_of_the_same_name_and_another_uid_does_not_get_the_port(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    with pytest.raises(DpuError) as refused:
        await acquire(side, world, ask(1, pod_uid="uid-of-another"), soon(0.05))
    assert refused.value.reason is Reason.NOT_ASSIGNED
    assert "uid uid-1" in refused.value.message


async def test_what_the_runtime_asks_for_is_fine_when_it_is_what_was_assigned(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    what = ask(1, mac="02:00:00:00:00:01", addresses=("10.5.0.3", "10.5.0.3/16"), network="pods", pod_uid="")
    assert (await acquire(side, world, what)).ofport == 1


async def test_a_second_container_of_a_pod_is_told_who_holds_the_port(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    await acquire(side, world, ask(1, "older"))
    with pytest.raises(DpuError) as refused:
        await acquire(side, world, ask(1, "newer"))
    assert refused.value.reason is Reason.IN_USE
    assert "older/eth0" in refused.value.message
    await side.release(holder(1, "older"), soon())
    await acquire(side, world, ask(1, "newer"))
    assert await side.release(holder(1, "older"), soon()) == "container older/eth0 holds no port here"
    assert dpu.core.ledger.pod_ports["default.pod-1"].container_id == "newer"
    assert [port.pod for port in world.state.switch_ports.values()] == ["newer/eth0"]


async def test_the_same_container_again_is_given_what_it_has(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    await dpu.pods.put([assignment(1)])
    first = await acquire(side, world, ask(1))
    assert await acquire(side, world, ask(1)) == first
    world.faults.errors["switch.plug_pod"] = [AWAY]
    world.state.switch_ports.clear()
    with pytest.raises(DpuError):
        await acquire(side, world, ask(1))
    assert dpu.core.ledger.pod_ports["default.pod-1"].established


async def test_one_container_asks_once_at_a_time(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    first = asyncio.create_task(acquire(side, world, ask(1)))
    await asyncio.sleep(0)
    with pytest.raises(DpuError) as refused:
        await acquire(side, world, ask(1))
    assert refused.value.reason is Reason.IN_FLIGHT
    await dpu.pods.put([assignment(1)])
    assert (await first).ofport == 1


async def test_a_port_whose_release_is_not_done_yet_is_finished_before_it_is_given_again(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    await acquire(side, world, ask(1, "older"))
    world.faults.down.add("switch")
    await side.release(holder(1, "older"), soon())
    with pytest.raises(DpuError) as refused:
        await acquire(side, world, ask(1, "newer"))
    assert refused.value.reason is Reason.UNAVAILABLE
    world.faults.down.clear()
    await acquire(side, world, ask(1, "newer"))
    assert [port.pod for port in world.state.switch_ports.values()] == ["newer/eth0"]


async def test_a_function_stays_with_the_older_pods_container_until_its_del(
    dpu: DpuEngine, host: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1, node=HOST)])
    await acquire(host, world, ask(1, "older"))
    await dpu.pods.put([assignment(1, node=HOST, generation=2, pod_uid="uid-new")])
    with pytest.raises(DpuError) as refused:
        await acquire(host, world, ask(1, "newer", pod_uid="uid-new"))
    assert refused.value.reason is Reason.IN_USE
    await host.release(holder(1, "older"), soon())
    assert (await acquire(host, world, ask(1, "newer", pod_uid="uid-new"))).vf == 0


async def test_a_port_taken_back_in_the_middle_of_an_add_is_not_given(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    world.state.ovn_installs = False
    await dpu.pods.put([assignment(1)])
    adding = asyncio.create_task(acquire(side, world, ask(1)))
    await world.called("switch.plug_pod")
    await dpu.pods.delete([("default.pod-1", 1)])
    (port_seen,) = world.state.switch_ports.values()
    world.state.switch_ports[port_seen.name] = replace(port_seen, installed=True)
    with pytest.raises(DpuError) as refused:
        await adding
    assert refused.value.reason is Reason.NOT_ASSIGNED
    assert nothing_left(dpu, world)
    assert dict(dpu.core.ledger.assignments) == {}


async def test_a_pod_made_anew_takes_the_port_from_the_older_ones_container(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    await acquire(side, world, ask(1, "older"))
    await dpu.pods.put([assignment(1, generation=2, pod_uid="uid-new", mac="02:00:00:00:00:77")])
    await dpu.core.audit.once()
    assert [port.mac for port in world.state.switch_ports.values()] == ["02:00:00:00:00:01"]
    await acquire(side, world, ask(1, "newer", pod_uid="uid-new"))
    assert [(port.pod, port.mac) for port in world.state.switch_ports.values()] == [("newer/eth0", "02:00:00:00:00:77")]
    assert "TakenOver" in await reasons(dpu)


@pytest.mark.parametrize("call", ["pod_links.raise_link", "switch.plug_pod"])
async def test_an_add_that_fails_leaves_nothing(dpu: DpuEngine, side: NodeSide, world: World, call: str) -> None:
    await dpu.pods.put([assignment(1)])
    world.faults.errors[call] = [AWAY]
    with pytest.raises(DpuError) as failed:
        await acquire(side, world, ask(1))
    assert failed.value is AWAY
    assert nothing_left(dpu, world)
    assert "PlugFailed" in await reasons(dpu)


FULL = RefusedPod(
    pod_namespace="default",
    pod_name="pod-1",
    pod_uid="uid-1",
    message="subnet pods-a has no free address",
    remedy="give it another pool",
)


@pytest.mark.parametrize(("said", "uid"), [(FULL, "uid-1"), (FULL, ""), (replace(FULL, pod_uid=""), "uid-1")])
async def test_an_add_that_waited_in_vain_says_why_its_pod_gets_no_port(
    dpu: DpuEngine, side: NodeSide, world: World, said: RefusedPod, uid: str
) -> None:
    dpu.pods.refuse(NODE, [said])
    with pytest.raises(DpuError) as failed:
        await acquire(side, world, ask(1, pod_uid=uid), soon(0.1))
    assert (failed.value.reason, failed.value.remedy) == (Reason.NOT_FOUND, "give it another pool")
    assert failed.value.message.endswith("in time: subnet pods-a has no free address")
    assert nothing_left(dpu, world)


@pytest.mark.parametrize(("node", "pods"), [(HOST, [FULL]), (NODE, [replace(FULL, pod_uid="uid-2")]), (NODE, [])])
async def test_an_add_tells_nothing_of_other_pods_or_of_what_is_over(
    dpu: DpuEngine, side: NodeSide, world: World, node: str, pods: list[RefusedPod]
) -> None:
    dpu.pods.refuse(node, [FULL])
    dpu.pods.refuse(node, pods)
    with pytest.raises(DpuError) as failed:
        await acquire(side, world, ask(1), soon(0.1))
    assert failed.value.message.endswith("in time")


async def test_a_pod_that_was_refused_gets_the_port_that_comes_before_its_deadline(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    dpu.pods.refuse(NODE, [FULL])
    asking = asyncio.ensure_future(acquire(side, world, ask(1)))
    await asyncio.sleep(0)
    await dpu.pods.put([assignment(1)])
    assert (await asking).assignment.port_id == "default.pod-1"


async def test_a_port_that_ovn_never_installs_fails_at_the_deadline_and_is_undone(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    world.state.ovn_installs = False
    await dpu.pods.put([assignment(1)])
    with pytest.raises(DpuError) as failed:
        await acquire(side, world, ask(1), soon(0.1))
    assert failed.value.reason is Reason.DEADLINE
    assert "OVN did not make port default.pod-1" in failed.value.message
    assert nothing_left(dpu, world)


async def test_why_a_port_does_not_forward_is_learned_while_the_caller_still_listens(
    dpu: DpuEngine, side: NodeSide, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadline, left = soon(2), list[float]()
    trouble = FakePodSwitch.trouble

    async def asked(self: FakePodSwitch) -> SwitchTrouble:
        left.append(deadline.left_s())
        return await trouble(self)

    monkeypatch.setattr(FakePodSwitch, "trouble", asked)
    world.state.ovn_installs, world.state.ovn_trouble = False, "ovn-controller is away"
    await dpu.pods.put([assignment(1)])
    with pytest.raises(DpuError) as failed:
        await acquire(side, world, ask(1), deadline)
    assert left[-1] > 0
    assert failed.value.message.endswith("in time: ovn-controller is away")
    assert "no number" not in failed.value.message
    assert nothing_left(dpu, world)


@pytest.mark.parametrize("waits_at", ["assigned", "switch.plug_pod", "ovn"])
async def test_a_caller_that_goes_early_leaves_nothing(
    dpu: DpuEngine, side: NodeSide, world: World, waits_at: str
) -> None:
    await dpu.pods.put([assignment(1)])
    world.state.ovn_installs = waits_at != "ovn"
    if waits_at == "assigned":
        async with aclosing(side.acquire(ask(1), soon())) as grants:
            await anext(grants)
    else:
        gate = asyncio.Event()
        if waits_at != "ovn":
            world.faults.gates[waits_at] = gate
        asking = asyncio.create_task(acquire(side, world, ask(1)))
        await world.called("switch.plug_pod")
        asking.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert nothing_left(dpu, world)


async def test_a_del_ends_the_add_of_its_container_that_is_under_way(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    world.state.ovn_installs = False
    await dpu.pods.put([assignment(1)])
    asking = asyncio.create_task(acquire(side, world, ask(1)))
    waiting = asyncio.create_task(acquire(side, world, ask(7)))
    await world.called("switch.plug_pod")
    await side.release(holder(1), soon())
    assert await side.release(holder(7), soon()) == "container c7/eth0 holds no port here"
    for one in (asking, waiting):
        with pytest.raises(DpuError) as ended:
            await one
        assert ended.value.reason is Reason.GONE
    assert nothing_left(dpu, world)


async def test_a_host_gets_a_function_that_nobody_has(dpu: DpuEngine, host: NodeSide, world: World) -> None:
    await dpu.ports.plug("machine", 1, port(), soon())
    await dpu.pods.put([assignment(number, node=HOST) for number in range(5)])
    chosen = await acquire(host, world, ask(0, vf=2))
    free = await acquire(host, world, ask(1))
    assert [(grant.vf, grant.representor) for grant in (chosen, free)] == [(2, "pf0vf2"), (1, "pf0vf1")]
    for vf, reason in ((0, Reason.NOT_ASSIGNED), (2, Reason.IN_USE), (9, Reason.NOT_ASSIGNED)):
        with pytest.raises(DpuError) as refused:
            await acquire(host, world, ask(3, vf=vf))
        assert (refused.value.reason, refused.value.field) == (reason, "vf")
    await acquire(host, world, ask(3))
    with pytest.raises(DpuError) as refused:
        await acquire(host, world, ask(4))
    assert refused.value.reason is Reason.EXHAUSTED
    with pytest.raises(DpuError) as refused:
        await dpu.ports.plug("machine-2", 1, port(2), soon())
    assert refused.value.reason is Reason.EXHAUSTED
    assert dpu.slots().nics_used == 4


async def test_a_container_of_this_system_has_no_function(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    await dpu.pods.put([assignment(1)])
    with pytest.raises(DpuError) as refused:
        await acquire(side, world, ask(1, vf=0))
    assert (refused.value.reason, refused.value.field) == (Reason.UNSUPPORTED, "vf")
    assert nothing_left(dpu, world)
