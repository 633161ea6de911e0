"""Ports: what is answered, refused, undone, fenced, kept and cleaned up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.network import OvnSettings
from dpu_daemon.model.port import NicSeen, PortState, SwitchPortSeen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.drivers import FakeProber
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import AWAY, port, soon


async def test_a_new_port_forwards_when_plug_answers(dpu: DpuEngine, world: World) -> None:
    view = await dpu.ports.plug("p1", 1, port(vlan=7, mtu=1400), soon())
    assert view.state is PortState.FORWARDING
    assert (view.record.vf, view.record.representor, view.ofport) == (0, "pf0vf0", 1)
    seen = world.state.switch_ports["pf0vf0"]
    assert (seen.iface_id, seen.mac, seen.vlan) == ("p1", "02:00:00:00:01:01", 7)
    assert (world.state.links["pf0vf0"].up, world.state.links["pf0vf0"].mtu) == (True, 1400)
    assert view.pci_address == "0000:20:00.0"


async def test_the_same_call_again_touches_nothing(dpu: DpuEngine, world: World) -> None:
    first = await dpu.ports.plug("p1", 1, port(), soon())
    world.calls.clear()
    assert await dpu.ports.plug("p1", 1, port(), soon()) == first
    assert all(call.endswith(".look") for call in world.calls)
    assert (await dpu.ports.plug("p1", 2, port(), soon())).record.generation == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mac": "02:00:00:00:09:09"}, "spec.mac"),
        ({"addresses": ()}, "spec.addresses"),
        ({"network_id": "net-2"}, "spec.network_id"),
        ({"vlan": 9}, "spec.vlan"),
        ({"mtu": 9000}, "spec.mtu"),
        ({"bridge": "br-other"}, "spec.bridge"),
        ({"machine_id": "bm-02"}, "spec.machine_id"),
    ],
)
async def test_the_same_id_with_another_spec_is_refused_by_field(
    dpu: DpuEngine, changes: dict[str, Any], field: str
) -> None:
    await dpu.ports.plug("p1", 1, port(), soon())
    with pytest.raises(DpuError) as refused:
        await dpu.ports.plug("p1", 1, port(**changes), soon())
    assert (refused.value.reason, refused.value.field) == (Reason.ALREADY_EXISTS, field)


async def test_a_mac_is_given_once(dpu: DpuEngine) -> None:
    await dpu.ports.plug("p1", 1, port(), soon())
    with pytest.raises(DpuError) as refused:
        await dpu.ports.plug("p2", 1, port(), soon())
    assert (refused.value.reason, refused.value.field) == (Reason.ALREADY_EXISTS, "spec.mac")
    assert "port p1" in refused.value.message


async def test_when_all_functions_are_taken_the_limit_is_named(dpu: DpuEngine) -> None:
    for n in range(4):
        assert (await dpu.ports.plug(f"p{n}", 1, port(n), soon())).record.vf == n
    with pytest.raises(DpuError) as refused:
        await dpu.ports.plug("p9", 1, port(9), soon())
    assert refused.value.reason is Reason.EXHAUSTED
    assert "all 4 virtual functions" in refused.value.message


@pytest.mark.parametrize("call", ["links.set_link", "switch.add_port", "bus.plug_nic"])
async def test_a_new_port_that_fails_is_undone_and_the_first_error_told(
    dpu: DpuEngine, world: World, call: str
) -> None:
    world.faults.errors[call] = [AWAY]
    with pytest.raises(DpuError) as failed:
        await dpu.ports.plug("p1", 1, port(), soon())
    assert failed.value is AWAY
    assert not any((world.state.nics, world.state.switch_ports, dpu.core.ledger.ports))


async def test_a_port_that_stops_forwarding_is_degraded_and_put_right(dpu: DpuEngine, world: World) -> None:
    await dpu.ports.plug("p1", 1, port(), soon())
    world.state.switch_ports.clear()
    view = await dpu.ports.reader.view("p1")
    assert view.state is PortState.DEGRADED
    assert view.message == "pf0vf0: port missing on br-int"
    world.faults.errors["switch.add_port"] = [AWAY]
    with pytest.raises(DpuError):
        await dpu.ports.plug("p1", 1, port(), soon())
    await dpu.core.audit.once()
    assert (await dpu.ports.reader.view("p1")).state is PortState.FORWARDING
    assert world.state.plugs["02:00:00:00:01:01"] == 1


async def test_an_unplugged_port_leaves_nothing_and_its_late_plug_is_refused(dpu: DpuEngine, world: World) -> None:
    await dpu.ports.plug("p1", 3, port(), soon())
    assert await dpu.ports.unplug("p1", 2, soon(), force=False) == "fenced by generation 3; nothing done"
    assert await dpu.ports.unplug("p1", 3, soon(), force=False) == "pf0vf0 unplugged from br-int"
    assert not any((world.state.nics, world.state.switch_ports, dpu.core.ledger.ports))
    assert await dpu.ports.unplug("p1", 3, soon(), force=False) == "port p1 was absent"
    with pytest.raises(DpuError) as refused:
        await dpu.ports.plug("p1", 3, port(), soon())
    assert refused.value.reason is Reason.STALE_GENERATION


async def test_force_cuts_off_what_it_can_and_the_rest_goes_later(dpu: DpuEngine, world: World) -> None:
    await dpu.ports.plug("p1", 1, port(), soon())
    world.faults.down.add("bus")
    said = await dpu.ports.unplug("p1", 1, soon(), force=True)
    assert said == "pf0vf0 is cut off; the rest goes when the host's bus answers again"
    assert world.state.switch_ports == {}
    with pytest.raises(DpuError) as refused:
        await dpu.ports.plug("p1", 2, port(), soon())
    assert refused.value.reason is Reason.IN_FLIGHT
    assert (await dpu.ports.reader.view("p1")).state is PortState.UNPLUGGING
    world.faults.down.clear()
    dpu.core.audit.alarm("the bus is back")
    await dpu.core.audit.once()
    assert not any((world.state.nics, dpu.core.ledger.ports))


async def test_an_undo_that_fails_is_finished_by_the_next_audit(dpu: DpuEngine, world: World) -> None:
    world.faults.errors["bus.plug_nic"] = [AWAY]
    world.faults.errors["switch.remove_port"] = [AWAY]
    with pytest.raises(DpuError):
        await dpu.ports.plug("p1", 1, port(), soon())
    await dpu.core.audit.once()
    assert not any((world.state.switch_ports, dpu.core.ledger.ports))


async def test_strays_of_ours_go_and_what_others_plugged_stays(dpu: DpuEngine, world: World) -> None:
    await dpu.ports.plug("p1", 1, port(), soon())
    stray = replace(world.state.switch_ports["pf0vf0"], name="pf0vf2", iface_id="stray")
    foreign = SwitchPortSeen(name="veth7", bridge="br-int", iface_id="pod-1", mac="", vlan=0, ofport=9)
    world.state.switch_ports |= {"pf0vf2": stray, "veth7": foreign}
    world.state.nics[3] = NicSeen(vf=3, port_id="stray", representor="pf0vf3", mac="02:00:00:00:00:03", present=True)
    await dpu.core.audit.once()
    assert set(world.state.switch_ports) == {"pf0vf0", "veth7"}
    assert set(world.state.nics) == {0}


async def test_the_audit_makes_the_bridge(dpu: DpuEngine, world: World) -> None:
    await dpu.core.audit.once()
    assert world.state.bridges == {"br-int"}


async def test_on_a_bridge_that_ovn_rules_a_machine_is_asked_at_its_representor(tmp_path: Path, world: World) -> None:
    world.state.answering.add("10.77.0.11")
    for ovn, where in ((None, ""), (OvnSettings(chassis={}), "pf0vf0")):
        drivers = fake_drivers(world)
        settings = replace(NETWORK, ovn=ovn)
        dpu = await DpuEngine.open(Journal(tmp_path / f"{where}.db"), drivers, settings, FAST)
        await dpu.ports.plug("p1", 1, port(), soon())
        results = [each async for each in dpu.ports.reader.probe("p1", "10.77.0.11", "10.77.0.250", 1.0)]
        assert results[-1].answered
        assert isinstance(drivers.prober, FakeProber)
        assert drivers.prober.asked_at == [where]
        await dpu.core.ledger.close()


async def test_a_probe_of_an_unknown_port_is_refused(dpu: DpuEngine) -> None:
    with pytest.raises(DpuError) as refused:
        [result async for result in dpu.ports.reader.probe("p9", "10.77.0.11", "10.77.0.250", 1.0)]
    assert refused.value.reason is Reason.NOT_FOUND


async def test_a_reader_is_answered_from_the_journal_while_the_switch_is_away(dpu: DpuEngine, world: World) -> None:
    await dpu.ports.plug("p1", 1, port(), soon())
    world.faults.down.add("switch")
    (view,) = await dpu.ports.reader.views()
    assert view.state is PortState.DEGRADED
    assert "does not answer" in view.message
    with pytest.raises(DpuError):
        await dpu.ports.reader.view("p2")
