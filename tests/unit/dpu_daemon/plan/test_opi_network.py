"""Decisions about OPI's network: what a look and the wanted objects come to."""

from collections import UserDict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from dpu_daemon.model.identity import HandleKind, handle_for
from dpu_daemon.model.opi_network import BridgePort, LogicalBridge, NetKind, NetObject, NetSpec, PortType, Svi, Vrf
from dpu_daemon.model.opi_network_seen import DomainSeen, EndSeen, NetSeen, PlugSeen
from dpu_daemon.plan.opi_network import plan_net, plan_stray, stray_owners
from dpu_daemon.plan.opi_network_status import Health, OperState, oper_state, parts_of
from dpu_daemon.plan.opi_network_wanted import SHARED, Fabric, NetWanted, tunnels_of, uplink_of
from proto.errors import DpuError
from proto.reasons import Reason

BRIDGE, PORT, VRF, SVI = "logicalBridges/b1", "bridgePorts/pf0vf0", "vrfs/blue", "svis/s1"
FABRIC = Fabric(bridge="br-opi", uplink="p0", vtep="10.0.0.1", remotes=("10.0.0.1", "10.0.0.2", "2001:db8::2"))
SPECS: Mapping[str, NetSpec] = {
    BRIDGE: LogicalBridge(vlan_id=10),
    PORT: BridgePort(
        mac_address="02:00:00:00:00:05", ptype=PortType.ACCESS, logical_bridges=(BRIDGE,), netdev="pf0vf0"
    ),
    VRF: Vrf(loopback_ip_prefix="192.0.2.1/32"),
    SVI: Svi(vrf=VRF, logical_bridge=BRIDGE, mac_address="02:00:00:00:01:01", gw_ip_prefix=("10.1.0.1/24",)),
}
KINDS = {kind.value: kind for kind in NetKind}


def thing(name: str, spec: NetSpec | None = None, *, wanted: bool = True) -> NetObject:
    kind = KINDS[name.partition("/")[0]]
    handle = handle_for(HandleKind.OPI_NETWORK, name, ())
    return NetObject(name=name, kind=kind, handle=handle, generation=1, spec=spec or SPECS[name], wanted=wanted)


def wanting(*objects: NetObject, fabric: Fabric = FABRIC) -> NetWanted:
    return NetWanted({each.name: each for each in objects}, fabric)


def up(*names: str) -> dict[str, EndSeen]:
    return {name: EndSeen(name=name, up=True, carrier=True) for name in names}


def seeing(wanted: NetWanted, **more: object) -> NetSeen:
    """A look at a switch with the uplink plugged, as far as it is wanted."""
    uplink = uplink_of(wanted.objects, wanted.fabric)
    ports = {uplink.name: PlugSeen(plug=uplink, bridge="br-opi", ofport=1)} if uplink else {}
    seen = NetSeen(bridges=frozenset({"br-opi"}), ports=ports, ends=up("p0", "pf0vf0"))
    return replace(seen, **more)  # type: ignore[arg-type]  # fields by name


def verbs(want: NetObject, wanted: NetWanted, seen: NetSeen) -> list[str]:
    return [f"{step.verb.value} {step.name}" for step in plan_net(want, wanted, seen).steps]  # type: ignore[attr-defined]


def test_the_first_object_makes_the_bridge() -> None:
    want = thing(BRIDGE)
    wanted = wanting(want)
    assert verbs(want, wanted, NetSeen(ends=up("p0"))) == ["make bridge br-opi", "plug p0"]
    assert plan_net(want, wanted, seeing(wanted)).settled


def test_a_tunnel_has_both_ends_in_one_family_and_none_leads_home() -> None:
    want = thing(BRIDGE, LogicalBridge(vlan_id=10, vni=100))
    assert [plug.options["remote_ip"] for plug in tunnels_of(want, LogicalBridge(vlan_id=10, vni=100), FABRIC)] == [
        "10.0.0.2"
    ]
    six = LogicalBridge(vlan_id=10, vni=100, vtep_ip_prefix="2001:db8::1/128")
    assert [plug.options["remote_ip"] for plug in tunnels_of(want, six, FABRIC)] == ["2001:db8::2"]


def test_tunnels_that_the_settings_no_longer_name_go() -> None:
    want = thing(BRIDGE, LogicalBridge(vlan_id=10, vni=100))
    wanted = wanting(want)
    (plug,) = tunnels_of(want, LogicalBridge(vlan_id=10, vni=100), FABRIC)
    seen = seeing(wanted, ports={plug.name: PlugSeen(plug=plug, bridge="br-opi", ofport=3)})
    assert plan_net(want, wanted, seen).settled
    fewer = wanting(want, fabric=replace(FABRIC, remotes=()))
    assert verbs(want, fewer, seen) == [f"unplug {plug.name}"]


@pytest.mark.parametrize("newer", ["p1", ""])
def test_another_uplink_in_the_settings_leaves_the_old_one_unplugged(newer: str) -> None:
    want = thing(BRIDGE)
    seen = seeing(wanting(want), ends=up("p0", "p1"))
    wanted = wanting(want, fabric=replace(FABRIC, uplink=newer))
    assert verbs(want, wanted, seen) == ["unplug p0", *(["plug p1"] if newer else [])]


def test_a_bridge_whose_vtep_the_settings_no_longer_name_loses_its_tunnels_and_says_so() -> None:
    want = thing(BRIDGE, LogicalBridge(vlan_id=10, vni=100))
    (plug,) = tunnels_of(want, LogicalBridge(vlan_id=10, vni=100), FABRIC)
    wanted = wanting(want, fabric=replace(FABRIC, vtep=""))
    seen = seeing(wanted, ports={plug.name: PlugSeen(plug=plug, bridge="br-opi", ofport=3)})
    assert verbs(want, wanted, seen) == [f"unplug {plug.name}"]
    parts = {part.name: part for part in parts_of(want, wanted, seen)}
    assert parts["vtep"].health is Health.ERROR
    assert "opi_network.vtep" in parts["vtep"].says


def test_vlans_of_bridges_that_are_being_made_beside_it_are_not_a_bridges_business() -> None:
    mine, other = thing(BRIDGE), thing("logicalBridges/b2", LogicalBridge(vlan_id=20))
    seen = seeing(wanting(mine))
    assert plan_net(mine, wanting(mine, other), seen).settled
    assert verbs(other, wanting(mine, other), seen) == ["plug p0"]
    assert verbs(mine, wanting(mine, replace(other, established=True)), seen) == ["plug p0"]
    both = seeing(wanting(mine, other))
    assert plan_net(mine, wanting(mine, replace(other, wanted=False)), both).settled
    assert verbs(mine, wanting(mine), both) == ["plug p0"]


def test_a_bridge_goes_although_somebody_else_has_the_uplink() -> None:
    gone, stays = thing(BRIDGE, wanted=False), thing("logicalBridges/b2", LogicalBridge(vlan_id=20))
    wanted = wanting(gone, stays)
    (uplink,) = seeing(wanted).ports.values()
    foreign = replace(uplink, plug=replace(uplink.plug, owner=""), bridge="br-else")
    assert plan_net(gone, wanted, seeing(wanted, ports={"p0": foreign})).settled
    with pytest.raises(DpuError) as error:
        plan_net(stays, wanted, seeing(wanted, ports={"p0": foreign}))
    assert error.value.reason is Reason.IN_USE
    broken = replace(uplink, plug=replace(uplink.plug, trunks=frozenset({10, 20})), ofport=0, error="No such device")
    assert verbs(gone, wanted, seeing(wanted, ports={"p0": broken})) == ["plug p0"]
    assert plan_net(gone, wanted, seeing(wanted, ports={"p0": replace(uplink, error="No such device")})).settled


class Counted(UserDict[str, PlugSeen]):
    """Ports that count how often all of them are gone through."""

    walks = 0

    def __iter__(self) -> Iterator[str]:
        self.walks += 1
        return super().__iter__()


def test_a_look_is_gone_through_once_for_all_objects() -> None:
    bridges = [thing(f"logicalBridges/b{vlan}", LogicalBridge(vlan_id=vlan, vni=vlan)) for vlan in range(1, 51)]
    wanted = wanting(*bridges)
    plugs = [plug for each in bridges for plug in tunnels_of(each, each.spec, FABRIC)]  # type: ignore[arg-type]
    ports = Counted({plug.name: PlugSeen(plug=plug, bridge="br-opi", ofport=1) for plug in plugs})
    seen = seeing(wanted, ports=ports)
    assert all(plan_net(each, wanted, seen).settled for each in bridges)
    assert stray_owners(wanted, seen) == frozenset()
    assert ports.walks == 1


def test_another_bridge_in_the_settings_moves_ports() -> None:
    bridge, port = thing(BRIDGE), thing(PORT)
    wanted = wanting(bridge, port)
    (step,) = plan_net(port, wanted, seeing(wanted)).steps
    seen = seeing(wanted, ports={"pf0vf0": PlugSeen(plug=step.plug, bridge="br-old", ofport=4)})  # type: ignore[attr-defined]
    assert verbs(port, wanted, seen) == ["unplug pf0vf0", "plug pf0vf0"]
    assert plan_net(port, wanted, seen).steps[0].bridge == "br-old"  # type: ignore[attr-defined]


def test_a_port_waits_for_its_representor_and_brings_it_up() -> None:
    bridge, port = thing(BRIDGE), thing(PORT)
    wanted = wanting(bridge, port)
    with pytest.raises(DpuError) as error:
        plan_net(port, wanted, seeing(wanted, ends=up("p0")))
    assert error.value.reason is Reason.UNAVAILABLE
    down = {**up("p0"), "pf0vf0": EndSeen(name="pf0vf0")}
    assert verbs(port, wanted, seeing(wanted, ends=down)) == ["bring up pf0vf0", "plug pf0vf0"]


def test_a_gateway_waits_for_its_domain_and_is_made_anew_when_an_end_is_gone() -> None:
    objects = (thing(BRIDGE), thing(VRF), thing(SVI))
    wanted = wanting(*objects)
    with pytest.raises(DpuError) as error:
        plan_net(objects[2], wanted, seeing(wanted))
    assert VRF in str(error.value)
    seen = seeing(wanted, domains={"opi-blue": DomainSeen(routes=True)})
    made = verbs(objects[2], wanted, seen)
    assert [each.split()[0] for each in made] == ["make", "set", "plug"]


def test_a_domain_that_does_not_route_or_lost_its_address_is_put_right() -> None:
    want = thing(VRF)
    wanted = wanting(want)
    whole = EndSeen(name="lo", up=True, addresses=frozenset({"127.0.0.1/8", "::1/128", "192.0.2.1/32"}))
    seen = seeing(wanted, domains={"opi-blue": DomainSeen(ends={"lo": whole}, routes=True)})
    assert plan_net(want, wanted, seen).settled
    deaf = seeing(wanted, domains={"opi-blue": DomainSeen(ends={"lo": whole}, routes=False)})
    assert verbs(want, wanted, deaf) == ["make routing domain opi-blue"]
    bare = replace(whole, addresses=frozenset({"127.0.0.1/8", "198.51.100.1/32"}))
    lost = seeing(wanted, domains={"opi-blue": DomainSeen(ends={"lo": bare}, routes=True)})
    assert verbs(want, wanted, lost) == ["set the addresses of lo"]


def test_what_is_not_wanted_goes_and_only_that() -> None:
    objects = [thing(BRIDGE), thing(VRF), thing(SVI)]
    wanted = wanting(*objects)
    seen = seeing(wanted, domains={"opi-blue": DomainSeen(routes=True)})
    assert verbs(replace(objects[1], wanted=False), wanted, seen) == ["remove routing domain opi-blue"]
    assert plan_net(replace(objects[2], wanted=False), wanted, seen).settled


def test_strays_are_ports_of_objects_that_nobody_journalled() -> None:
    bridge, port = thing(BRIDGE), thing(PORT)
    wanted = wanting(bridge, port)
    (step,) = plan_net(port, wanted, seeing(wanted)).steps
    plug = step.plug  # type: ignore[attr-defined]
    foreign = PlugSeen(plug=replace(plug, name="eth9", owner=""), bridge="br-opi", ofport=9)
    shared = PlugSeen(plug=replace(plug, name="p0", owner=SHARED), bridge="br-opi", ofport=1)
    ports = {"pf0vf0": PlugSeen(plug=plug, bridge="br-opi", ofport=4), "eth9": foreign, "p0": shared}
    lost, seen = wanting(bridge), seeing(wanted, ports=ports)
    assert stray_owners(wanted, seen) == frozenset()
    assert stray_owners(lost, seen) == {PORT}
    assert [step.says() for step in plan_stray(PORT, lost, seen).steps] == [f"unplug pf0vf0 for {PORT}"]
    assert plan_stray(PORT, wanted, seen).settled


@pytest.mark.parametrize("name", [BRIDGE, PORT, VRF, SVI])
def test_an_object_of_which_nothing_is_there_is_down_with_a_sentence(name: str) -> None:
    wanted = wanting(*map(thing, SPECS))
    parts = parts_of(wanted.objects[name], wanted, NetSeen())
    assert oper_state(wanted.objects[name], parts, NetSeen()) is OperState.DOWN
    assert all(part.says for part in parts)
    assert any(part.health is Health.ERROR for part in parts)


def test_an_overlay_without_other_ends_is_pending() -> None:
    want = thing(BRIDGE, LogicalBridge(vlan_id=10, vni=100))
    wanted = wanting(want, fabric=replace(FABRIC, remotes=()))
    here = EndSeen(name="br-phy", up=True, addresses=frozenset({"10.0.0.1/24"}))
    parts = parts_of(want, wanted, seeing(wanted, ends={"br-phy": here}))
    assert [part.health for part in parts] == [Health.SUCCESS, Health.SUCCESS, Health.PENDING]


def test_an_object_that_is_going_says_so_and_one_that_nobody_sees_says_nothing() -> None:
    wanted = wanting(thing(VRF))
    assert oper_state(thing(VRF, wanted=False), (), NetSeen()) is OperState.TO_BE_DELETED
    assert parts_of(thing(VRF), wanted, None) == ()
    assert oper_state(thing(VRF), (), None) is OperState.UNKNOWN
