"""Ports of pods that are held: compared, kept, repaired, taken back, collected, told of; on fakes."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.engine.change import Change
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.pod_ports import NodeSide
from dpu_daemon.engine.rows import RecordKind
from dpu_daemon.model.assignment import Assignment, Bandwidth
from dpu_daemon.model.pod_port import PodPortState
from dpu_daemon.model.port import Limit, SwitchPortSeen
from dpu_daemon.service.pod_metrics import PodCollector
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.pods import HOST, NODE, acquire, ask, assignment, holder, soon
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import port
from tests.unit.dpu_daemon.engine.pods.engines import nothing_left, opened


async def test_an_assignment_that_comes_late_is_waited_for(dpu: DpuEngine, side: NodeSide, world: World) -> None:
    asking = asyncio.create_task(acquire(side, world, ask(1)))
    await asyncio.sleep(0.02)
    assert not asking.done()
    await dpu.pods.put([assignment(1)])
    assert (await asking).ofport == 1


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
    assert nothing_left(dpu, world)


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
    assert nothing_left(dpu, world)


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
    before = await opened(tmp_path, world)
    await before.core.audit.once()
    await before.pods.put([assignment(1), assignment(2)])
    await acquire(before.pods.side(NODE), world, ask(1))
    half = replace(before.core.ledger.pod_ports["default.pod-1"], port_id="default.pod-2", container_id="c2")
    half = replace(half, representor="dphalf", established=False)
    await before.core.ledger.commit(Change(put=(half,)))
    await before.core.ledger.close()
    again = await opened(tmp_path, world)
    assert not again.pods.reader.audited.is_set()
    await again.core.audit.once()
    assert again.pods.reader.audited.is_set()
    assert set(again.core.ledger.pod_ports) == {"default.pod-1"}
    assert len(world.state.switch_ports) == 1
    await again.core.ledger.close()


@pytest.mark.parametrize(
    "blink", [{}, {"ofport": -1}, {"installed": False}, {"limit": Limit(7)}, {"error": "No such device"}]
)
async def test_a_restart_keeps_a_port_that_may_have_been_answered_whatever_the_switch_is_at(
    tmp_path: Path, world: World, blink: dict[str, Any]
) -> None:
    before = await opened(tmp_path, world)
    await before.core.audit.once()
    await before.pods.put([assignment(1)])
    name = (await acquire(before.pods.side(NODE), world, ask(1))).representor
    answered = replace(before.core.ledger.pod_ports["default.pod-1"], established=False)
    await before.core.ledger.commit(Change(put=(answered,)))
    await before.core.ledger.close()
    world.state.switch_ports[name] = replace(world.state.switch_ports[name], **blink)
    again = await opened(tmp_path, world)
    await again.core.audit.once()
    assert again.core.ledger.pod_ports["default.pod-1"].established
    assert list(world.state.switch_ports) == [name]
    await again.core.ledger.close()


async def test_an_add_of_this_life_that_failed_is_given_up_though_its_port_forwards_by_now(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    """Its undo could not be journalled."""
    await dpu.pods.put([assignment(1)])
    await acquire(side, world, ask(1))
    record = dpu.core.ledger.pod_ports["default.pod-1"]
    await dpu.core.ledger.commit(Change(put=(replace(record, established=False),)))
    await dpu.core.audit.once()
    assert dict(dpu.core.ledger.pod_ports) == {}
    assert world.state.switch_ports == {}


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


async def test_the_nodes_own_port_says_nothing_about_whether_pods_can_be_served(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1)])
    name = (await acquire(side, world, ask(1, "node"))).representor
    world.state.switch_ports[name] = replace(world.state.switch_ports[name], installed=False)
    await side.ready(soon())


async def test_a_daemon_that_has_not_compared_its_ports_yet_is_catching_up(tmp_path: Path, world: World) -> None:
    engine = await opened(tmp_path, world)
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
    assert nothing_left(dpu, world)
    kinds = {RecordKind.POD_PORT, RecordKind.ASSIGNMENT}
    assert not any(dpu.core.ledger._tables[kind] for kind in kinds)


class Changing(dict[str, Assignment]):
    """Assignments that cannot be gone over: the event loop changes them meanwhile."""

    def items(self) -> Any:
        raise RuntimeError("dictionary changed size during iteration")

    __iter__ = values = items


async def test_metrics_are_read_by_another_thread_without_going_over_what_changes(
    dpu: DpuEngine, side: NodeSide, world: World
) -> None:
    await dpu.pods.put([assignment(1), assignment(2)])
    tables = dpu.core.ledger._tables
    tables[RecordKind.ASSIGNMENT] = Changing(tables[RecordKind.ASSIGNMENT])
    found = await asyncio.to_thread(lambda: {metric.name: metric for metric in PodCollector(dpu.pods).collect()})
    assert [sample.value for sample in found["dpupool_daemon_assignments"].samples] == [2]
