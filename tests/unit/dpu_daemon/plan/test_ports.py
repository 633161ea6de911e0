"""Plans of ports: what is done for each difference between wanted and seen, and what is left alone."""

from dataclasses import replace

import pytest

from dpu_daemon.model.port import LinkSeen, NicSeen, PortWorld, SwitchPortSeen, SwitchSeen
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.ports import plan_bridge, plan_port, plan_stray_port, stray_ports
from dpu_daemon.plan.steps import AddPort, EnsureBridge, PlugNic, RemovePort, SetLink, Step, UnplugNic
from tests.unit.dpu_daemon.things import LINK_SEEN, NIC_SEEN, PORT, PORT_SEEN, PORT_SPEC, port_world


def kinds(plan: Plan) -> list[type[Step]]:
    return [type(step) for step in plan.steps]


def test_a_port_that_forwards_is_not_touched() -> None:
    plan = plan_port(PORT, port_world())
    assert plan.settled
    assert plan.why == "pf0vf0 forwards on br-int as port 3"


def test_a_port_of_a_host_that_is_off_says_so() -> None:
    assert plan_port(PORT, replace(port_world(), host_on=False)).why.endswith("; the host is off")


def test_a_representor_that_is_there_is_ready_before_the_host_sees_its_nic() -> None:
    plan = plan_port(PORT, port_world(None, replace(LINK_SEEN, up=False), None))
    assert kinds(plan) == [SetLink, AddPort, PlugNic]


def test_a_representor_that_comes_with_its_nic_waits_for_it() -> None:
    plan = plan_port(PORT, PortWorld())
    assert kinds(plan) == [PlugNic, SetLink, EnsureBridge, AddPort]
    assert plan.why == "pf0vf0: NIC 0 not plugged, link missing, bridge br-int missing, port missing on br-int"


@pytest.mark.parametrize(
    ("link", "steps"),
    [(replace(LINK_SEEN, up=False), [SetLink]), (replace(LINK_SEEN, mtu=1500), [SetLink]), (LINK_SEEN, [])],
)
def test_a_link_is_set_up_only_when_it_is_not(link: LinkSeen, steps: list[type[Step]]) -> None:
    assert kinds(plan_port(PORT, port_world(link=link))) == steps


def test_a_port_without_an_mtu_takes_the_links() -> None:
    want = replace(PORT, spec=replace(PORT_SPEC, mtu=0))
    assert plan_port(want, port_world(link=replace(LINK_SEEN, mtu=9000))).settled


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (replace(PORT_SEEN, ofport=-1), "port without a number"),
        (replace(PORT_SEEN, error="could not open pf0vf0"), "the switch says: could not open pf0vf0"),
        (replace(PORT_SEEN, vlan=7), "port with another id, address or VLAN"),
        (replace(PORT_SEEN, iface_id="port-9"), "port with another id, address or VLAN"),
        (replace(PORT_SEEN, mac="02:00:00:00:09:09"), "port with another id, address or VLAN"),
    ],
)
def test_a_port_that_does_not_forward_is_put_right_in_place(seen: SwitchPortSeen, why: str) -> None:
    plan = plan_port(PORT, port_world(seen))
    assert kinds(plan) == [AddPort]
    assert why in plan.why


def test_a_port_on_another_bridge_moves() -> None:
    plan = plan_port(PORT, port_world(replace(PORT_SEEN, bridge="br-old")))
    assert plan.steps[0] == RemovePort(bridge="br-old", netdev="pf0vf0")
    assert kinds(plan) == [RemovePort, AddPort]


@pytest.mark.parametrize(
    ("nic", "steps", "force"),
    [
        (replace(NIC_SEEN, present=False), [PlugNic], False),
        (replace(NIC_SEEN, mac="02:00:00:00:09:09"), [UnplugNic, PlugNic], False),
        (replace(NIC_SEEN, port_id="port-9"), [UnplugNic, PlugNic], True),
        (replace(NIC_SEEN, port_id=""), [UnplugNic, PlugNic], True),
    ],
)
def test_a_nic_that_differs_is_replaced(nic: NicSeen, steps: list[type[Step]], *, force: bool) -> None:
    plan = plan_port(PORT, port_world(nic=nic))
    assert kinds(plan) == steps
    assert any(isinstance(step, UnplugNic) and step.force for step in plan.steps) is force


def test_an_unwanted_port_leaves_the_host_first() -> None:
    unwanted = replace(PORT, wanted=False)
    assert kinds(plan_port(unwanted, port_world())) == [UnplugNic, RemovePort]
    assert plan_port(unwanted, port_world(None, LINK_SEEN, None)).why == "pf0vf0 is gone"


def test_an_unwanted_port_leaves_alone_what_the_netdev_is_used_for_by_others() -> None:
    others = replace(PORT_SEEN, iface_id="port-9")
    assert plan_port(replace(PORT, wanted=False), port_world(others, nic=None)).settled


def test_a_forced_unplug_goes_on_with_the_side_that_answers() -> None:
    unwanted = replace(PORT, wanted=False, force=True)
    assert kinds(plan_port(unwanted, PortWorld(nics={0: NIC_SEEN}))) == [UnplugNic]


def test_strays_are_on_the_bus_or_on_a_netdev_of_ours() -> None:
    ports = {
        "pf0vf1": replace(PORT_SEEN, name="pf0vf1", iface_id="stray-a"),
        "veth9": replace(PORT_SEEN, name="veth9", iface_id="not-ours"),
        "pf0vf2": replace(PORT_SEEN, name="pf0vf2", iface_id=""),
        "pf0vf0": PORT_SEEN,
    }
    nics = {0: NIC_SEEN, 3: replace(NIC_SEEN, vf=3, port_id="stray-b")}
    seen = PortWorld(switch=SwitchSeen(bridges=frozenset({"br-int"}), ports=ports), nics=nics)
    names = {"pf0vf0", "pf0vf1", "pf0vf2", "pf0vf3"}
    assert stray_ports({"port-1"}, names, seen) == ("stray-a", "stray-b")
    assert plan_stray_port("stray-a", names, seen).steps == (RemovePort(bridge="br-int", netdev="pf0vf1"),)
    assert plan_stray_port("stray-b", names, seen).steps == (UnplugNic(vf=3, port_id="stray-b", force=True),)
    assert plan_stray_port("gone", names, seen).why == "port gone is gone"
    assert stray_ports((), names, PortWorld()) == ()
    assert plan_stray_port("x", names, PortWorld()).settled


def test_the_bridge_is_made_and_the_uplink_plugged_when_it_is_there() -> None:
    assert kinds(plan_bridge("br-int", "", PortWorld())) == [EnsureBridge]
    assert plan_bridge("br-int", "up0", port_world()).settled
    uplink = replace(LINK_SEEN, name="up0", up=False)
    plan = plan_bridge("br-int", "up0", port_world(link=uplink))
    assert kinds(plan) == [AddPort, SetLink]
    assert plan.why == "bridge br-int: uplink up0 not plugged, uplink up0 down"
    without_switch = PortWorld(links={"up0": replace(uplink, up=True)})
    assert kinds(plan_bridge("br-int", "up0", without_switch)) == [EnsureBridge, AddPort]
    plugged = replace(PORT_SEEN, name="up0")
    assert plan_bridge("br-int", "up0", port_world(plugged, replace(uplink, up=True))).settled
