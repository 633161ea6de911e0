"""Ports of pods: given once, to whom they are assigned, undone, kept, taken back; on fakes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.pod_ports import NodeSide
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.assignment import NO_VF, Bandwidth, GrantStage
from dpu_daemon.model.pod_port import PodPortState
from dpu_daemon.model.port import Limit, SwitchPortSeen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.pods import HOST, NODE, acquire, ask, assignment, holder, make_veth, soon
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import AWAY, port

SETTINGS = replace(NETWORK, node=NODE, host=HOST)


async def _open(path: Path, world: World) -> DpuEngine:
    return await DpuEngine.open(Journal(path / "dpu.db"), fake_drivers(world), SETTINGS, FAST)


@pytest.fixture
async def dpu(tmp_path: Path, world: World) -> AsyncIterator[DpuEngine]:
    engine = await _open(tmp_path, world)
    await engine.core.audit.once()
    yield engine
    await engine.core.stop(1.0)


@pytest.fixture
def side(dpu: DpuEngine) -> NodeSide:
    """This system's own containers."""
    return dpu.pods.side(NODE)


@pytest.fixture
def host(dpu: DpuEngine) -> NodeSide:
    """The host that the DPU sits in."""
    return dpu.pods.side(HOST)


def _empty(dpu: DpuEngine, world: World) -> bool:
    return not any((dpu.core.ledger.pod_ports, world.state.switch_ports, dpu.pods.life.claims, dpu.pods.life.steps))


async def _reasons(dpu: DpuEngine) -> list[str]:
    events = []
    async for event in dpu.core.ledger.events(0):
        events.append(event.reason)
        if event.sequence == dpu.core.ledger.last_event:
            return events
    return events


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
    assert dpu.core.ledger.pod_ports["default.pod-1"].established


async def test_an_add_is_two_writes_of_the_journal(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    await dpu.pods.put([assignment(1)])
    written: list[Any] = []
    commit = dpu.core.ledger.commit

    async def counted(change: Change) -> Any:
        written.append(change)
        return await commit(change)

    dpu.core.ledger.commit = counted  # type: ignore[method-assign]
    await acquire(side, world, ask(1))
    assert len(written) == 2
    await side.release(holder(1), soon())
    assert len(written) == 4


async def test_an_assignment_that_comes_late_is_waited_for(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    asking = asyncio.create_task(acquire(side, world, ask(1)))
    await asyncio.sleep(0.02)
    assert not asking.done()
    await dpu.pods.put([assignment(1)])
    assert (await asking).ofport == 1


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
    assert "Refused" in await _reasons(dpu)
    assert _empty(dpu, world)


async def test_who_asks_for_nothing_but_what_is_not_theirs_does_not_fill_the_journal(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(2, node=HOST)])
    for _ in range(20):
        with pytest.raises(DpuError):
            await acquire(side, world, ask(2))
    assert dpu.pods.refused[Reason.NOT_ASSIGNED] == 20
    assert (await _reasons(dpu)).count("Refused") < 20


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
    assert "TakenOver" in await _reasons(dpu)


@pytest.mark.parametrize("call", ["pod_links.raise_link", "switch.plug_pod"])
async def test_an_add_that_fails_leaves_nothing(dpu: DpuEngine, side: NodeSide, world: World, call: str) -> None:
    await dpu.pods.put([assignment(1)])
    world.faults.errors[call] = [AWAY]
    with pytest.raises(DpuError) as failed:
        await acquire(side, world, ask(1))
    assert failed.value is AWAY
    assert _empty(dpu, world)
    assert "PlugFailed" in await _reasons(dpu)


async def test_a_port_that_ovn_never_installs_fails_at_the_deadline_and_is_undone(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    world.state.ovn_installs = False
    await dpu.pods.put([assignment(1)])
    with pytest.raises(DpuError) as failed:
        await acquire(side, world, ask(1), soon(0.1))
    assert failed.value.reason is Reason.DEADLINE
    assert "ovn-controller did not install the flows of port default.pod-1" in failed.value.message
    assert _empty(dpu, world)


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
    assert _empty(dpu, world)


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
    assert _empty(dpu, world)


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
    assert _empty(dpu, world)


async def test_nothing_of_another_node_is_seen_or_changed(
    dpu: DpuEngine, side: NodeSide, host: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    await acquire(side, world, ask(1))
    assert await host.release(holder(1), soon()) == "container c1/eth0 holds no port here"
    assert await host.collect(frozenset(), soon()) == ()
    with pytest.raises(DpuError) as refused:
        await host.check(holder(1), soon())
    assert refused.value.reason is Reason.NOT_FOUND
    assert (await side.check(holder(1), soon())).port_id == "default.pod-1"


async def test_machines_ports_and_pods_ports_leave_each_other_alone(
    dpu: DpuEngine, host: NodeSide, world: World
) -> None:
    await dpu.ports.plug("machine", 1, port(), soon())
    await dpu.pods.put([assignment(1, node=HOST)])
    await acquire(host, world, ask(1))
    before = dict(world.state.switch_ports)
    world.calls.clear()
    await dpu.core.audit.once()
    assert world.state.switch_ports == before
    assert all(call.endswith(".look") for call in world.calls)


async def test_a_check_tells_what_differs(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    await dpu.pods.put([assignment(1, bandwidth=Bandwidth(ingress_bps=1000))])
    name = (await acquire(side, world, ask(1))).representor
    whole = world.state.switch_ports[name]
    for broken, what in (
        (replace(whole, limit=Limit()), "another limit"),
        (replace(whole, iface_id="x"), "another id"),
        (replace(whole, error="no such device"), "no such device"),
        (replace(whole, installed=False), "not installed its flows"),
    ):
        world.state.switch_ports[name] = broken
        with pytest.raises(DpuError) as refused:
            await side.check(holder(1), soon())
        assert refused.value.reason is Reason.WRONG_STATE
        assert what in refused.value.message
    del world.state.switch_ports[name]
    with pytest.raises(DpuError, match="port missing"):
        await side.check(holder(1), soon())


async def test_gc_takes_ports_from_all_that_are_not_named_past_errors(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(number) for number in range(4)])
    for number in range(4):
        await acquire(side, world, ask(number))
    world.faults.errors["switch.unplug_pod"] = [DpuError(Reason.CONFLICT, "refused")]
    with pytest.raises(DpuError, match="2 ports released, 1 not"):
        await side.collect(frozenset({holder(3)}), soon())
    assert len(await side.collect(frozenset({holder(3)}), soon())) == 1
    assert set(dpu.core.ledger.pod_ports) == {"default.pod-3"}
    assert await side.collect(frozenset({holder(3)}), soon()) == ()


async def test_a_del_is_done_for_its_caller_once_it_is_journalled(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    await dpu.pods.put([assignment(1)])
    await acquire(side, world, ask(1))
    world.faults.down.add("switch")
    assert "its release is journalled" in await side.release(holder(1), soon())
    (view,) = await dpu.pods.reader.views()
    assert view.state is PodPortState.RELEASING
    world.faults.down.clear()
    dpu.core.audit.alarm("the switch is back")
    await dpu.core.audit.once()
    assert _empty(dpu, world)


async def test_late_assignments_change_nothing_and_are_named(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    assert await dpu.pods.put([assignment(1, generation=5)]) == ()
    assert await dpu.pods.put([assignment(1, generation=4, mac="02:00:00:00:00:44")]) == ("default.pod-1",)
    await dpu.pods.delete([("default.pod-1", 4)])
    assert dpu.core.ledger.assignments["default.pod-1"].generation == 5
    await dpu.pods.delete([("default.pod-1", 5)])
    assert dict(dpu.core.ledger.assignments) == {}
    assert await dpu.pods.put([assignment(1, generation=5)]) == ("default.pod-1",)
    assert await dpu.pods.put([assignment(1, generation=6)]) == ()


async def test_a_port_taken_back_stays_until_the_del_and_is_never_given_again(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    await acquire(side, world, ask(1))
    await dpu.pods.delete([("default.pod-1", 1)])
    await dpu.core.audit.once()
    (view,) = await dpu.pods.reader.views()
    assert (view.state, view.assignment.wanted) == (PodPortState.FORWARDING, False)
    assert (await side.check(holder(1), soon())).port_id == "default.pod-1"
    with pytest.raises(DpuError) as refused:
        await acquire(side, world, ask(1, "another"), soon(0.05))
    assert refused.value.reason is Reason.NOT_FOUND
    await side.release(holder(1), soon())
    assert dict(dpu.core.ledger.assignments) == {}
    assert _empty(dpu, world)


async def test_a_new_limit_reaches_the_port_of_a_running_container(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    heard: list[str] = []
    dpu.pods.alarm = heard.append
    await dpu.pods.put([assignment(1)])
    name = (await acquire(side, world, ask(1))).representor
    assert heard == []
    await dpu.pods.put([assignment(1, generation=2, bandwidth=Bandwidth(ingress_bps=5000))])
    assert heard == [""]
    await dpu.core.audit.once()
    assert world.state.switch_ports[name].limit == Limit(5000)


async def test_a_restart_undoes_the_half_of_an_add_and_keeps_whole_ports(tmp_path: Path, world: World) -> None:
    before = await _open(tmp_path, world)
    await before.core.audit.once()
    await before.pods.put([assignment(1), assignment(2)])
    await acquire(before.pods.side(NODE), world, ask(1))
    half = replace(before.core.ledger.pod_ports["default.pod-1"], port_id="default.pod-2", container_id="c2")
    half = replace(half, representor="dphalf", established=False)
    await before.core.ledger.commit(Change(put=(half,)))
    await before.core.ledger.close()
    again = await _open(tmp_path, world)
    assert not again.pods.reader.audited.is_set()
    await again.core.audit.once()
    assert again.pods.reader.audited.is_set()
    assert set(again.core.ledger.pod_ports) == {"default.pod-1"}
    assert len(world.state.switch_ports) == 1
    await again.core.ledger.close()


async def test_ports_come_back_after_the_switch_lost_all_and_strays_go(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    name = (await acquire(side, world, ask(1))).representor
    world.state.bridges.clear()
    world.state.switch_ports.clear()
    stray = SwitchPortSeen(name="dpstray", bridge="br-int", iface_id="x.y", mac="", vlan=0, ofport=9, pod="c9/eth0")
    foreign = replace(stray, name="veth7", pod="")
    world.state.switch_ports |= {"dpstray": stray, "veth7": foreign}
    world.state.loose_limits |= {"QoS/1", "Queue/2"}
    await dpu.core.audit.once()
    assert set(world.state.switch_ports) == {name, "veth7"}
    assert world.state.loose_limits == set()


async def test_a_port_whose_veth_went_with_its_container_waits_for_the_del(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    name = (await acquire(side, world, ask(1))).representor
    del world.state.links[name]
    world.state.switch_ports[name] = replace(world.state.switch_ports[name], error="No such device")
    await dpu.core.audit.once()
    assert dpu.core.audit.message() == ""
    await side.ready(soon())


async def test_a_representor_that_comes_late_is_waited_for_without_end(
    dpu: DpuEngine, host: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1, node=HOST)])
    await acquire(host, world, ask(1, vf=0))
    link = world.state.links.pop("pf0vf0")
    world.state.switch_ports.clear()
    for _ in range(4):
        dpu.core.audit.alarm("")
        await dpu.core.audit.once()
    with pytest.raises(DpuError) as refused:
        await host.ready(soon())
    assert refused.value.reason is Reason.CATCHING_UP
    world.state.links["pf0vf0"] = link
    dpu.core.audit.alarm("netdev pf0vf0 is there")
    await dpu.core.audit.once()
    await host.ready(soon())


async def test_readiness_tells_what_cannot_be_served_from_what_is_cut_off(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    async def reason() -> Reason:
        with pytest.raises(DpuError) as refused:
            await side.ready(soon())
        return refused.value.reason

    world.faults.down.add("switch")
    assert await reason() is Reason.UNAVAILABLE
    world.faults.down.clear()
    await dpu.pods.put([assignment(1)])
    name = (await acquire(side, world, ask(1))).representor
    await side.ready(soon())
    world.state.ovn_trouble = "ovn-controller is not reachable"
    assert await reason() is Reason.UNAVAILABLE
    world.faults.down.add("switch")
    assert await reason() is Reason.CATCHING_UP
    world.faults.down.clear()
    world.state.ovn_trouble = ""
    world.state.switch_ports[name] = replace(world.state.switch_ports[name], installed=False)
    assert await reason() is Reason.CATCHING_UP


async def test_a_daemon_that_has_not_compared_its_ports_yet_is_catching_up(tmp_path: Path, world: World) -> None:
    engine = await _open(tmp_path, world)
    with pytest.raises(DpuError) as refused:
        await engine.pods.side(NODE).ready(soon())
    assert refused.value.reason is Reason.CATCHING_UP
    await engine.core.ledger.close()


async def test_the_journal_holds_nothing_after_many_pods_came_and_went(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    count = 60
    await dpu.pods.put([assignment(number) for number in range(count)])
    await asyncio.gather(*(acquire(side, world, ask(number)) for number in range(count)))
    assert len({port.representor for port in dpu.core.ledger.pod_ports.values()}) == count
    await asyncio.gather(*(side.release(holder(number), soon()) for number in range(count)))
    await dpu.pods.delete([(f"default.pod-{number}", 1) for number in range(count)])
    assert _empty(dpu, world)
    kinds = {RecordKind.POD_PORT, RecordKind.ASSIGNMENT}
    assert not any(dpu.core.ledger._tables[kind] for kind in kinds)
