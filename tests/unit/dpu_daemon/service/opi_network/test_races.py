"""Calls about OPI's network that come at the same time, and what one of them leaves for the others."""

import asyncio
from dataclasses import replace

import grpc

from dpu_daemon.plan.opi_network_wanted import SHARED
from proto.errors import DpuError
from proto.opi_api.network.evpn_gw.v1alpha1 import l2_xpu_infra_mgr_pb2 as l2
from proto.opi_api.network.evpn_gw.v1alpha1 import l3_xpu_infra_mgr_pb2 as l3
from proto.reasons import Reason
from tests.fakes.opi_client import refused
from tests.fakes.opi_net_client import MAC, NetClient, bridge_spec, port_spec, prefix, raw
from tests.fakes.opi_net_daemon import NetWorld

Code = grpc.StatusCode
OTHER_MAC = "02:00:00:00:01:02"
AWAY = DpuError(Reason.UNAVAILABLE, "the switch does not follow")


def gate(around: NetWorld, call: str) -> asyncio.Event:
    """Calls to the switch that wait until the event is set."""
    event = around.world.faults.gates[call] = asyncio.Event()
    return event


async def test_two_updates_with_different_masks_keep_both_changes(opi: NetClient) -> None:
    await opi.make_bridge()
    await opi.make_vrf()
    svi = await opi.make_svi("s1", "10.1.0.1/24")
    mac, address = l3.Svi(spec=svi.spec), l3.Svi(spec=svi.spec)
    mac.spec.mac_address = raw(OTHER_MAC)
    del address.spec.gw_ip_prefix[:]
    address.spec.gw_ip_prefix.append(prefix("10.3.0.1/24"))
    await asyncio.gather(
        opi.update("svis/s1", mac, "spec.mac_address"), opi.update("svis/s1", address, "spec.gw_ip_prefix")
    )
    found = (await opi.get("svis/s1")).spec
    assert (found.mac_address, list(found.gw_ip_prefix)) == (raw(OTHER_MAC), [prefix("10.3.0.1/24")])


async def test_an_object_that_is_being_deleted_is_missing_to_an_update(opi: NetClient, around: NetWorld) -> None:
    await opi.make_bridge("b1", 10, 100)
    around.world.faults.errors["net.unplug"] = [AWAY]
    with refused(Code.UNAVAILABLE):
        await opi.delete("logicalBridges/b1")
    message = l2.LogicalBridge(spec=bridge_spec(11))
    with refused(Code.NOT_FOUND):
        await opi.update("logicalBridges/b1", message)
    assert (await opi.update("logicalBridges/b1", message, allow_missing=True)).spec.vlan_id == 11


async def test_a_deleted_trunk_is_not_plugged_again_by_a_bridge_that_was_made_meanwhile(
    opi: NetClient, around: NetWorld
) -> None:
    await opi.make_bridge("b1", 10)
    await opi.make_port("pf0vf0", MAC, trunk=True)
    go = gate(around, "net.plug")
    around.world.calls.clear()
    bridge = asyncio.create_task(opi.make_bridge("b2", 20, 200))
    await around.world.called("net.plug")
    await opi.delete("bridgePorts/pf0vf0")
    go.set()
    await bridge
    assert "pf0vf0" not in around.state.ports


async def test_a_function_that_was_given_to_another_port_meanwhile_stays_plugged_for_that(
    opi: NetClient, around: NetWorld
) -> None:
    around.state.functions = {MAC: "pf0vf0"}
    await opi.make_bridge("b1", 10)
    await opi.make_port("t1", MAC, trunk=True)
    go = gate(around, "net.raise_link")
    around.state.ends["p0"] = replace(around.state.ends["p0"], up=False)
    around.world.calls.clear()
    bridge = asyncio.create_task(opi.make_bridge("b2", 20))
    await around.world.called("net.raise_link")
    around.world.faults.gates.clear()
    await opi.delete("bridgePorts/t1")
    await opi.make_port("t2", MAC, "b1")
    go.set()
    await bridge
    assert {port.plug.owner for port in around.state.ports.values()} == {SHARED, "bridgePorts/t2"}


async def test_the_uplink_is_not_taken_from_a_bridge_that_was_made_while_the_last_one_went(
    opi: NetClient, around: NetWorld
) -> None:
    await opi.make_bridge("b1", 10)
    around.world.calls.clear()
    go = gate(around, "net.unplug")
    going = asyncio.create_task(opi.delete("logicalBridges/b1"))
    await around.world.called("net.unplug")
    await opi.make_bridge("b2", 20)
    go.set()
    await going
    assert around.state.ports["p0"].plug.trunks == {20}


async def test_many_bridges_that_are_made_at_once_are_all_made(opi: NetClient) -> None:
    made = await asyncio.gather(*(opi.make_bridge(f"b{number}", number) for number in range(1, 101)))
    assert all(one.status.oper_status == l2.LB_OPER_STATUS_UP for one in made)


async def test_a_failed_update_does_not_take_back_what_somebody_else_has_by_now(
    opi: NetClient, around: NetWorld
) -> None:
    await opi.make_bridge("b1", 10, 100)
    around.world.calls.clear()
    go = gate(around, "net.plug")
    newer = l2.LogicalBridge(spec=bridge_spec(10, 101))
    update = asyncio.create_task(opi.update("logicalBridges/b1", newer, "spec.vni"))
    await around.world.called("net.plug")
    around.world.faults.gates.clear()
    await opi.make_bridge("b2", 20, 100)
    around.state.bridges.clear()
    go.set()
    with refused(Code.NOT_FOUND):
        await update
    assert [(await opi.get(f"logicalBridges/{name}")).spec.vni for name in ("b1", "b2")] == [101, 100]


async def test_a_failed_update_does_not_take_back_a_reference_to_what_is_gone_by_now(
    opi: NetClient, around: NetWorld
) -> None:
    await opi.make_bridge("b1", 10)
    await opi.make_bridge("b2", 20)
    await opi.make_port("pf0vf0", MAC, "b1")
    around.world.calls.clear()
    go = gate(around, "net.plug")
    newer = l2.BridgePort(spec=port_spec(MAC, "b2"))
    update = asyncio.create_task(opi.update("bridgePorts/pf0vf0", newer, "spec.logical_bridges"))
    await around.world.called("net.plug")
    around.world.faults.gates.clear()
    await opi.delete("logicalBridges/b1")
    around.state.ends.pop("pf0vf0")
    go.set()
    with refused(Code.UNAVAILABLE):
        await update
    assert (await opi.get("bridgePorts/pf0vf0")).spec.logical_bridges == ["logicalBridges/b2"]
