"""What OPI's network objects are on the wire: fields, references, conflicts, status."""

import grpc
import pytest

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.opi_network.intents import held_representors
from dpu_daemon.engine.pod_intent import intended_function
from dpu_daemon.model.port import PortSpec
from proto.errors import DpuError
from proto.opi_api.network.evpn_gw.v1alpha1 import component_pb2 as component
from proto.opi_api.network.evpn_gw.v1alpha1 import l2_xpu_infra_mgr_pb2 as l2
from proto.opi_api.network.evpn_gw.v1alpha1 import l3_xpu_infra_mgr_pb2 as l3
from proto.reasons import Reason
from tests.fakes.daemon import NETWORK
from tests.fakes.opi_client import refused
from tests.fakes.opi_daemon import OpiDaemon
from tests.fakes.opi_net_client import MAC, NetClient, bridge_spec, port_spec, prefix, raw, refused_at
from tests.fakes.opi_net_daemon import NetWorld
from tests.fakes.pods import ask, assignment

Code = grpc.StatusCode
OTHER = "02:00:00:00:00:06"
VTEP = "10.50.0.1"


async def test_a_bridge_without_a_vni_is_a_vlan_of_the_uplink(opi: NetClient, around: NetWorld) -> None:
    bridge = await opi.make_bridge("b1", 10)
    assert bridge.status.oper_status == l2.LB_OPER_STATUS_UP
    assert [part.name for part in bridge.status.components] == ["bridge", "uplink"]
    await opi.make_bridge("b2", 20)
    assert around.state.ports["p0"].plug.trunks == {10, 20}
    await opi.delete("logicalBridges/b1")
    assert around.state.ports["p0"].plug.trunks == {20}
    await opi.delete("logicalBridges/b2")
    assert around.state.ports == {}


async def test_a_bridge_with_a_vni_has_an_isolated_tunnel_to_each_other_end(opi: NetClient, around: NetWorld) -> None:
    around.state.ends["br-phy"] = around.state.ends["p0"].__class__(name="br-phy", addresses=frozenset({f"{VTEP}/24"}))
    bridge = await opi.make_bridge("b1", 10, 100)
    assert bridge.status.oper_status == l2.LB_OPER_STATUS_UP
    plugs = [port.plug for port in around.state.ports.values()]
    assert {plug.options["remote_ip"] for plug in plugs} == {"10.50.0.2", "10.50.0.3"}
    assert {(plug.kind, plug.tag, plug.isolated, plug.options["key"]) for plug in plugs} == {("vxlan", 10, True, "100")}


async def test_a_bridge_whose_end_is_not_this_dpus_is_down_and_says_so(opi: NetClient) -> None:
    bridge = await opi.make_bridge("b1", 10, 100, "10.50.0.77/32")
    assert bridge.status.oper_status == l2.LB_OPER_STATUS_DOWN
    (fault,) = [part for part in bridge.status.components if part.status == component.COMP_STATUS_ERROR]
    assert "10.50.0.77" in fault.details


async def test_vlans_and_vnis_are_each_of_one_bridge(opi: NetClient) -> None:
    await opi.make_bridge("b1", 10, 100)
    with refused(Code.ALREADY_EXISTS) as error:
        await opi.make_bridge("b2", 10)
    assert "logicalBridges/b1" in error.said
    with refused(Code.ALREADY_EXISTS):
        await opi.make_bridge("b2", 20, 100)


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("vlan_id", l2.LogicalBridgeSpec()),
        ("vlan_id", l2.LogicalBridgeSpec(vlan_id=4095)),
        ("vni", l2.LogicalBridgeSpec(vlan_id=10, vni=0)),
        ("vni", l2.LogicalBridgeSpec(vlan_id=10, vni=1 << 24)),
        ("vtep_ip_prefix", l2.LogicalBridgeSpec(vlan_id=10, vtep_ip_prefix=prefix("10.0.0.1/32"))),
        ("vtep_ip_prefix", bridge_spec(10, 5, "224.0.0.1/32")),
    ],
)
async def test_a_bridge_that_cannot_be_is_refused(opi: NetClient, field: str, spec: l2.LogicalBridgeSpec) -> None:
    request = l2.CreateLogicalBridgeRequest(logical_bridge=l2.LogicalBridge(spec=spec))
    with refused_at(Code.INVALID_ARGUMENT, f"logical_bridge.spec.{field}"):
        await opi.bridges.CreateLogicalBridge(request)


async def test_a_port_is_found_by_its_functions_address_or_by_its_name(opi: NetClient, around: NetWorld) -> None:
    await opi.make_bridge()
    around.state.functions[OTHER] = "pf0vf2"
    port = await opi.make_port("by-address", OTHER, "b1")
    assert port.status.oper_status == l2.BP_OPER_STATUS_UP
    assert around.state.ports["pf0vf2"].plug.tag == 10
    await opi.make_port("pf0vf0", MAC, "b1")
    with refused(Code.NOT_FOUND) as error:
        await opi.make_port("nowhere", "02:00:00:00:00:09", "b1")
    assert "02:00:00:00:00:09" in error.said
    with refused(Code.INVALID_ARGUMENT):
        await opi.make_port("pf0vf1", OTHER, "b1")


async def test_a_port_names_the_function_that_it_has_by_itself(opi: NetClient, around: NetWorld) -> None:
    await opi.make_bridge()
    around.state.functions[OTHER] = "pf0vf1"
    with refused(Code.INVALID_ARGUMENT) as error:
        await opi.make_port("pf0vf1", MAC, "b1")
    assert OTHER in error.said


async def test_an_access_port_is_in_one_bridge_and_a_trunk_in_many(opi: NetClient, around: NetWorld) -> None:
    await opi.make_bridge("b1", 10)
    await opi.make_bridge("b2", 20)
    for names in ((), ("b1", "b2")):
        with refused(Code.INVALID_ARGUMENT):
            await opi.make_port("pf0vf0", MAC, *names)
    with refused(Code.INVALID_ARGUMENT):
        await opi.make_port("pf0vf0", MAC, "b1", "b1", trunk=True)
    with refused(Code.NOT_FOUND):
        await opi.make_port("pf0vf0", MAC, "b3")
    await opi.make_port("pf0vf0", MAC, "b1", "b2", trunk=True)
    assert around.state.ports["pf0vf0"].plug.trunks == {10, 20}


async def test_a_trunk_of_all_bridges_waits_for_the_first_and_follows_each(opi: NetClient, around: NetWorld) -> None:
    port = await opi.make_port("pf0vf0", MAC, trunk=True)
    assert port.status.oper_status == l2.BP_OPER_STATUS_DOWN
    assert around.state.ports == {}
    await opi.make_bridge("b1", 10)
    await opi.make_bridge("b2", 20)
    assert around.state.ports["pf0vf0"].plug.trunks == {10, 20}
    assert (await opi.get("bridgePorts/pf0vf0")).status.oper_status == l2.BP_OPER_STATUS_UP
    await opi.delete("logicalBridges/b1")
    assert around.state.ports["pf0vf0"].plug.trunks == {20}


async def test_a_machines_function_is_not_to_be_had_and_machines_get_no_function_of_ours(
    opi: NetClient, daemon: OpiDaemon
) -> None:
    await opi.make_bridge()
    await opi.make_port("pf0vf0", MAC, "b1")
    spec = PortSpec(mac="02:00:00:00:00:77", addresses=("10.0.0.9/24",), network_id="n", bridge="br-int")
    view = await daemon.engine.ports.plug("port-1", 1, spec, Deadline.after(10))
    assert view.record.representor == "pf0vf1"
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.make_port("pf0vf1", OTHER, "b1")
    assert "port-1" in error.said


async def test_pods_get_no_function_of_ours(opi: NetClient, daemon: OpiDaemon) -> None:
    await opi.make_bridge()
    await opi.make_port("pf0vf0", MAC, "b1")
    bridged = held_representors(daemon.engine.core.ledger)
    assert bridged == {"pf0vf0"}
    given = intended_function("host-1", assignment(1), ask(1), (), (), NETWORK, bridged=bridged)
    assert given.representor == "pf0vf1"
    with pytest.raises(DpuError) as error:
        intended_function("host-1", assignment(1), ask(1, vf=0), (), (), NETWORK, bridged=bridged)
    assert error.value.reason is Reason.NOT_ASSIGNED


async def test_a_port_that_somebody_else_plugged_is_left_alone(opi: NetClient, around: NetWorld) -> None:
    await opi.make_bridge()
    port = await opi.make_port("pf0vf0", MAC, "b1")
    foreign = around.state.ports["pf0vf0"].__class__(
        plug=around.state.ports["pf0vf0"].plug.__class__(name="pf0vf1", owner=""), bridge="br-int", ofport=9
    )
    around.state.ports["pf0vf1"] = foreign
    with refused(Code.FAILED_PRECONDITION):
        await opi.make_port("pf0vf1", OTHER, "b1")
    assert around.state.ports["pf0vf1"] == foreign
    assert port.spec.logical_bridges == ["logicalBridges/b1"]


async def test_a_gateway_needs_its_domain_and_its_bridge_and_keeps_both(opi: NetClient) -> None:
    with refused_at(Code.NOT_FOUND, "svi.spec.vrf"):
        await opi.make_svi()
    await opi.make_vrf()
    with refused_at(Code.NOT_FOUND, "svi.spec.logical_bridge"):
        await opi.make_svi()
    await opi.make_bridge()
    svi = await opi.make_svi()
    assert svi.status.oper_status == l3.SVI_OPER_STATUS_UP
    for name in ("vrfs/blue", "logicalBridges/b1"):
        with refused(Code.FAILED_PRECONDITION) as error:
            await opi.delete(name)
        assert "svis/s1" in error.said
    with refused(Code.ALREADY_EXISTS):
        await opi.make_svi("s2", "10.2.0.1/24")


async def test_networks_overlap_in_two_domains_and_not_in_one(opi: NetClient) -> None:
    await opi.make_bridge("b1", 10)
    await opi.make_bridge("b2", 20)
    await opi.make_vrf("blue")
    await opi.make_vrf("red")
    await opi.make_svi("s1", "10.1.0.1/24")
    with refused(Code.FAILED_PRECONDITION) as error:
        await opi.make_svi("s2", "10.1.0.129/25", bridge="b2")
    assert "svis/s1" in error.said
    await opi.make_svi("s2", "10.1.0.1/24", bridge="b2", vrf="red")


@pytest.mark.parametrize(
    "address", ["10.1.0.0/24", "10.1.0.255/24", "224.0.0.1/24", "fe80::1/64", "127.0.0.1/8", "255.255.255.255/32"]
)
async def test_a_gateway_address_that_no_host_could_use_is_refused(opi: NetClient, address: str) -> None:
    with refused_at(Code.INVALID_ARGUMENT, "svi.spec.gw_ip_prefix"):
        await opi.make_svi("s1", address)


async def test_what_needs_a_control_plane_is_refused_by_name(opi: NetClient) -> None:
    with refused_at(Code.UNIMPLEMENTED, "vrf.spec.vni"):
        await opi.make_vrf("blue", vni=7)
    with refused_at(Code.UNIMPLEMENTED, "svi.spec.enable_bgp"):
        await opi.make_svi("s1", enable_bgp=True)


@pytest.mark.parametrize("mac", [b"", b"12345", raw("01:00:00:00:00:01"), bytes(6)])
async def test_an_address_that_no_function_has_is_refused(opi: NetClient, mac: bytes) -> None:
    await opi.make_bridge()
    spec = port_spec(MAC, "b1")
    spec.mac_address = mac
    with refused_at(Code.INVALID_ARGUMENT, "bridge_port.spec.mac_address"):
        await opi.ports.CreateBridgePort(l2.CreateBridgePortRequest(bridge_port=l2.BridgePort(spec=spec)))


async def test_status_is_what_is_seen_and_not_what_was_asked(opi: NetClient, around: NetWorld) -> None:
    await opi.make_bridge()
    await opi.make_port("pf0vf0", MAC, "b1")
    around.world.faults.errors["net.plug"] = [DpuError(Reason.UNAVAILABLE, "no") for _ in range(50)]
    port = around.state.ports.pop("pf0vf0")
    seen = await opi.get("bridgePorts/pf0vf0")
    assert seen.status.oper_status == l2.BP_OPER_STATUS_DOWN
    assert "not plugged" in seen.status.components[0].details
    around.state.ports["pf0vf0"] = port
    assert (await opi.get("bridgePorts/pf0vf0")).status.oper_status == l2.BP_OPER_STATUS_UP
    around.world.faults.down.add("net")
    silent = await opi.get("bridgePorts/pf0vf0")
    assert silent.status.oper_status == l2.BP_OPER_STATUS_UNSPECIFIED
    assert silent.spec == seen.spec
