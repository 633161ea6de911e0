"""Plans of pods' ports: from what is wanted and one look to steps and a sentence."""

from dataclasses import replace
from typing import Any

import pytest

from dpu_daemon.model.assignment import NO_VF, Assignment, Bandwidth, PodPort
from dpu_daemon.model.pod_port import PodPortState, PodWorld
from dpu_daemon.model.port import Limit, LinkSeen, NicSeen, Port, PortSpec, PortWorld, SwitchPortSeen, SwitchSeen
from dpu_daemon.plan.chassis import plan_chassis
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.pod_ports import cut_off, plan_limits, plan_pod_port, plan_stray, plug_of, state_of, stray_pods
from dpu_daemon.plan.ports import plan_port, plan_stray_port, stray_ports
from tests.fakes.pods import assignment

BRIDGE = "br-int"
GIVEN = assignment(1, bandwidth=Bandwidth(ingress_bps=1000, ingress_burst_bits=10))
HELD = PodPort(
    port_id=GIVEN.port_id,
    container_id="c1",
    interface="eth0",
    node="n",
    vf=NO_VF,
    representor="dp1",
    established=True,
    pod_uid=GIVEN.pod_uid,
)
LINK = LinkSeen(name="dp1", mac="02:00:00:00:ff:01", mtu=1400, up=True, carrier=True)
ON_SWITCH = SwitchPortSeen(
    name="dp1",
    bridge=BRIDGE,
    iface_id=GIVEN.port_id,
    mac=GIVEN.mac,
    vlan=0,
    ofport=3,
    pod="c1/eth0",
    installed=True,
    limit=Limit(1000, 10),
)


def world(*ports: SwitchPortSeen, link: LinkSeen | None = LINK, bridge: str = BRIDGE) -> PodWorld:
    switch = SwitchSeen(bridges=frozenset({bridge}), ports={port.name: port for port in ports})
    return PodWorld(switch=switch, links={"dp1": link} if link else {})


def plan(seen: PodWorld, port: PodPort = HELD, given: Assignment | None = GIVEN) -> Plan:
    return plan_pod_port(port, given, BRIDGE, seen)


def says(found: Plan) -> list[str]:
    return [step.says() for step in found.steps]


def test_a_port_as_wanted_needs_nothing() -> None:
    found = plan(world(ON_SWITCH))
    assert (found.settled, found.why) == (True, "dp1 forwards on br-int as port 3")


def test_a_new_port_is_a_link_and_a_plug() -> None:
    found = plan(world(link=replace(LINK, up=False)))
    assert says(found) == ["bring dp1 up with MTU 1400", "plug dp1 into br-int as default.pod-1"]
    assert found.why == "dp1: link down or with another MTU, port missing on br-int"


def test_without_its_bridge_the_bridge_comes_first() -> None:
    assert says(plan(world(bridge="br-other"))) == ["make bridge br-int", "plug dp1 into br-int as default.pod-1"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"error": "No such device"}, "the switch says: No such device"),
        ({"ofport": -1}, "port without a number"),
        ({"iface_id": "x"}, "port with another id, address, VLAN or holder"),
        ({"mac": "02:00:00:00:00:99"}, "port with another id, address, VLAN or holder"),
        ({"vlan": 9}, "port with another id, address, VLAN or holder"),
        ({"pod": "c0/eth0"}, "port with another id, address, VLAN or holder"),
        ({"limit": Limit(7)}, "port with another limit"),
    ],
)
def test_a_port_that_differs_is_plugged_again(change: dict[str, Any], why: str) -> None:
    found = plan(world(replace(ON_SWITCH, **change)))
    assert says(found) == ["plug dp1 into br-int as default.pod-1"]
    assert found.why == f"dp1: {why}"


def test_a_port_on_another_bridge_leaves_it_first() -> None:
    found = plan(world(replace(ON_SWITCH, bridge="br-x")))
    assert says(found) == ["unplug dp1 of default.pod-1", "plug dp1 into br-int as default.pod-1"]


def test_a_second_port_with_the_same_id_goes() -> None:
    found = plan(world(ON_SWITCH, replace(ON_SWITCH, name="dp0")))
    assert says(found) == ["unplug dp0 of default.pod-1"]


def test_what_ovn_has_not_installed_needs_no_step_and_does_not_forward() -> None:
    seen = world(replace(ON_SWITCH, installed=False))
    assert (plan(seen).settled, "not installed" in plan(seen).why) == (True, True)
    assert state_of(HELD, GIVEN, BRIDGE, seen) is PodPortState.DEGRADED
    without = replace(GIVEN, wait_for_ovn=False)
    assert state_of(HELD, without, BRIDGE, seen) is PodPortState.FORWARDING


def test_an_unwanted_port_goes_and_one_that_is_not_its_own_stays() -> None:
    gone = replace(HELD, wanted=False)
    assert says(plan(world(ON_SWITCH), gone)) == ["unplug dp1 of default.pod-1"]
    assert plan(world(), gone).why == "dp1 is gone"
    assert plan(world(replace(ON_SWITCH, iface_id="other")), gone).settled
    assert plan(world(replace(ON_SWITCH, pod="")), gone).settled
    assert says(plan(world(ON_SWITCH), HELD, None)) == ["unplug dp1 of default.pod-1"]


def test_a_port_of_an_older_pod_is_left_as_it_is() -> None:
    newer = replace(GIVEN, pod_uid="uid-new", mac="02:00:00:00:00:77")
    found = plan(world(ON_SWITCH), HELD, newer)
    assert (found.settled, found.why) == (True, "dp1 is held by a container of an older pod")
    assert not cut_off(HELD, newer, BRIDGE, world())


def test_a_veth_that_is_gone_is_not_missed_and_a_representor_is() -> None:
    seen = world(replace(ON_SWITCH, error="No such device"), link=None)
    assert plan(seen).settled
    assert not cut_off(HELD, GIVEN, BRIDGE, seen)
    function = replace(HELD, vf=0)
    assert says(plan(seen, function))[0] == "bring dp1 up with MTU 1400"
    assert cut_off(function, GIVEN, BRIDGE, seen)


def test_only_what_runs_and_is_wanted_counts_as_cut_off() -> None:
    seen = world()
    assert cut_off(HELD, GIVEN, BRIDGE, seen)
    assert not cut_off(HELD, GIVEN, BRIDGE, world(ON_SWITCH))
    assert not cut_off(replace(HELD, established=False), GIVEN, BRIDGE, seen)
    assert not cut_off(replace(HELD, wanted=False), GIVEN, BRIDGE, seen)
    assert not cut_off(HELD, replace(GIVEN, wanted=False), BRIDGE, seen)
    assert not cut_off(HELD, None, BRIDGE, seen)


def test_states() -> None:
    seen = world(ON_SWITCH)
    assert state_of(None, GIVEN, BRIDGE, seen) is PodPortState.ASSIGNED
    assert state_of(HELD, GIVEN, BRIDGE, seen) is PodPortState.FORWARDING
    assert state_of(HELD, GIVEN, BRIDGE, None) is PodPortState.DEGRADED
    assert state_of(replace(HELD, established=False), GIVEN, BRIDGE, seen) is PodPortState.CONVERGING
    assert state_of(replace(HELD, wanted=False), GIVEN, BRIDGE, seen) is PodPortState.RELEASING


def test_a_burst_without_a_rate_is_no_limit() -> None:
    given = replace(GIVEN, bandwidth=Bandwidth(ingress_burst_bits=10))
    assert plug_of(HELD, given, BRIDGE).limit == Limit()
    assert plug_of(HELD, replace(given, bridge="br-x"), BRIDGE).bridge == "br-x"


def test_strays_are_pods_ports_on_no_netdev_of_a_row() -> None:
    stray, machine = replace(ON_SWITCH, name="dp9", iface_id="x"), replace(ON_SWITCH, name="pf0vf0", pod="")
    changed = replace(ON_SWITCH, iface_id="somebody")
    known = {HELD.port_id: HELD}
    seen = world(stray, machine, changed)
    assert stray_pods(known, seen) == (stray,)
    assert says(plan_stray("dp9", known, seen)) == ["unplug dp9 of x"]
    assert plan_stray("dp1", known, seen).settled


def test_loose_limits_go() -> None:
    seen = PodWorld(switch=SwitchSeen(loose_limits=frozenset({"QoS/1", "Queue/2"})))
    assert says(plan_limits(seen)) == ["drop 2 limits that no port has"]
    assert plan_limits(world()).settled


def test_the_audit_of_machines_does_not_take_a_pods_port_for_a_stray_of_its_own() -> None:
    pod = replace(ON_SWITCH, name="pf0vf1")
    seen = PortWorld(switch=SwitchSeen(bridges=frozenset({BRIDGE}), ports={"pf0vf1": pod}), nics={})
    assert stray_ports({}, {"pf0vf0", "pf0vf1"}, seen) == ()
    assert plan_stray_port(pod.iface_id, {"pf0vf1"}, seen).settled
    nic = NicSeen(vf=0, port_id="stray", representor="pf0vf0", mac="02:00:00:00:00:03", present=True)
    assert stray_ports({}, {"pf0vf0"}, replace(seen, nics={0: nic})) == ("stray",)


def test_a_machine_on_a_netdev_with_a_containers_mark_is_plugged_anew() -> None:
    spec = PortSpec(mac=GIVEN.mac, addresses=(), network_id="n", bridge=BRIDGE)
    want = Port(port_id=GIVEN.port_id, generation=1, spec=spec, vf=0, representor="pf0vf0")
    marked = replace(ON_SWITCH, name="pf0vf0")
    nic = NicSeen(vf=0, port_id=want.port_id, representor="pf0vf0", mac=spec.mac, present=True)
    seen = PortWorld(
        switch=SwitchSeen(bridges=frozenset({BRIDGE}), ports={"pf0vf0": marked}),
        links={"pf0vf0": replace(LINK, name="pf0vf0")},
        nics={0: nic},
    )
    assert says(plan_port(want, seen)) == ["add pf0vf0 to br-int"]
    assert plan_port(replace(want, wanted=False), seen).steps[0].says() == "unplug NIC 0 of port default.pod-1"
    assert len(plan_port(replace(want, wanted=False), seen).steps) == 1


def test_a_chassis_is_set_up_in_order_and_then_left() -> None:
    told = {"ovn-remote": "unix:/x", "system-id": "n"}
    found = plan_chassis(BRIDGE, "netdev", ("br-ex",), told, SwitchSeen())
    assert says(found) == [
        "make bridge br-int with datapath netdev, secure",
        "make bridge br-ex",
        "tell ovn-controller ovn-remote, system-id",
    ]
    whole = SwitchSeen(
        bridges=frozenset({BRIDGE, "br-ex"}),
        secure=frozenset({BRIDGE}),
        datapaths={BRIDGE: "netdev", "br-ex": "netdev"},
        chassis={**told, "foreign": "1"},
    )
    assert plan_chassis(BRIDGE, "netdev", ("br-ex",), told, whole).settled
    for wrong in (replace(whole, secure=frozenset()), replace(whole, datapaths={BRIDGE: "system"})):
        assert says(plan_chassis(BRIDGE, "netdev", ("br-ex",), told, wrong)) == [
            "make bridge br-int with datapath netdev, secure"
        ]
    renamed = replace(whole, chassis={**told, "system-id": "other"})
    assert says(plan_chassis(BRIDGE, "netdev", ("br-ex",), told, renamed)) == ["tell ovn-controller system-id"]


class Walked(dict[str, SwitchPortSeen]):
    """Counts how often it is gone over."""

    walks = 0

    def items(self) -> Any:
        self.walks += 1
        return super().items()


def test_plans_of_many_ports_on_one_look_go_over_the_switch_once() -> None:
    ports = Walked({f"dp{n}": replace(ON_SWITCH, name=f"dp{n}", iface_id=f"default.pod-{n}") for n in range(40)})
    twin = replace(ON_SWITCH, name="dptwin", iface_id="default.pod-7")
    ports["dptwin"] = twin
    link = {f"dp{n}": replace(LINK, name=f"dp{n}") for n in range(40)}
    seen = PodWorld(switch=SwitchSeen(bridges=frozenset({BRIDGE}), ports=ports), links=link)
    held = {f"default.pod-{n}": replace(HELD, port_id=f"default.pod-{n}", representor=f"dp{n}") for n in range(40)}
    plans = {key: plan(seen, port, replace(GIVEN, port_id=key)) for key, port in held.items()}
    assert [key for key, found in plans.items() if not found.settled] == ["default.pod-7"]
    assert says(plans["default.pod-7"]) == ["unplug dptwin of default.pod-7"]
    assert ports.walks == 1
