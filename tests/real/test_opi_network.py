"""OPI's bridges, ports, routing domains and gateways on a real Open vSwitch, judged by packets."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.config_opi import OpiNetworkSection
from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.drivers.probe import FrameProber
from dpu_daemon.model.port import NicSeen
from dpu_daemon.parts.opi_network import net_layer
from proto.opi_api.network.evpn_gw.v1alpha1 import l2_xpu_infra_mgr_pb2 as l2
from proto.opi_api.network.evpn_gw.v1alpha1 import l3_xpu_infra_mgr_pb2 as l3
from tests.fakes.drivers import FakeBus
from tests.fakes.netns import inside, ip
from tests.fakes.opi_net_client import bridge_spec, port_spec, prefix
from tests.fakes.opi_switch import DATAPATH, OpiSwitch, opi_switch, reaches, underlay
from tests.fakes.world import World

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"


@pytest.fixture
async def stage() -> AsyncIterator[OpiSwitch]:
    with tempfile.TemporaryDirectory(prefix="on-", dir="/tmp") as directory:
        async with opi_switch(Path(directory)) as made:
            yield made


async def test_ports_of_one_bridge_reach_each_other_and_no_other_bridge(stage: OpiSwitch) -> None:
    a = stage.add_host("pf0vf0", A, "10.1.0.10/24")
    stage.add_host("pf0vf1", B, "10.1.0.11/24")
    stage.add_host("pf0vf2", C, "10.1.0.12/24")
    stage.functions[B] = "pf0vf1"
    async with stage.daemon() as dpu:
        await dpu.opi.make_bridge("b1", 10)
        await dpu.opi.make_bridge("b2", 20)
        port = await dpu.opi.make_port("pf0vf0", A, "b1")
        await dpu.opi.make_port("by-address", B, "b1")
        await dpu.opi.make_port("pf0vf2", C, "b2")
        assert port.status.oper_status == l2.BP_OPER_STATUS_UP
        assert await reaches(a, "10.1.0.11")
        assert not await reaches(a, "10.1.0.12", seconds=1)
        moved = l2.BridgePort(spec=port_spec(C, "b1"))
        await dpu.opi.update("bridgePorts/pf0vf2", moved, "spec.logical_bridges")
        assert await reaches(a, "10.1.0.12")


async def test_a_trunk_carries_its_bridges_tagged(stage: OpiSwitch) -> None:
    stage.add_host("pf0vf0", A, "10.1.0.10/24")
    trunk = stage.add_host("pf0vf1", B, "10.9.0.1/24")
    async with stage.daemon() as dpu:
        await dpu.opi.make_bridge("b1", 10)
        await dpu.opi.make_port("pf0vf0", A, "b1")
        await dpu.opi.make_port("pf0vf1", B, trunk=True)
        await dpu.opi.make_bridge("b2", 20)
        assert stage.ovs.vsctl("get", "port", "pf0vf1", "trunks").strip() == "[10, 20]"
        assert not await reaches(trunk, "10.1.0.10", seconds=1)
        assert await asyncio.to_thread(_answers_tagged, trunk, 10)
        assert not await asyncio.to_thread(_answers_tagged, trunk, 20)


def _answers_tagged(host: str, vlan: int) -> bool:
    """Whether 10.1.0.10 answers frames that a host tags itself; not every kernel has VLAN devices."""
    with inside(host):
        return asyncio.run(_probe(vlan))


async def _probe(vlan: int) -> bool:
    prober = FrameProber(netdev="eth0")
    results = prober.probe(
        bridge="none", vlan=vlan, mac=A, address="10.1.0.10/24", probe_address="10.1.0.99", timeout_s=3
    )
    return [result.answered async for result in results][-1]


async def test_a_routing_domain_routes_between_its_gateways_and_not_to_another_domain(stage: OpiSwitch) -> None:
    a = stage.add_host("pf0vf0", A, "10.1.0.10/24", via="10.1.0.1")
    stage.add_host("pf0vf1", B, "10.2.0.10/24", via="10.2.0.1")
    stage.add_host("pf0vf2", C, "10.3.0.10/24", via="10.3.0.1")
    async with stage.daemon() as dpu:
        for number, (name, mac) in enumerate((("pf0vf0", A), ("pf0vf1", B), ("pf0vf2", C)), start=1):
            await dpu.opi.make_bridge(f"b{number}", 10 * number)
            await dpu.opi.make_port(name, mac, f"b{number}")
        await dpu.opi.make_vrf("blue", "192.0.2.1/32")
        await dpu.opi.make_vrf("red", "192.0.2.1/32")
        svi = await dpu.opi.make_svi("s1", "10.1.0.1/24", bridge="b1")
        await dpu.opi.make_svi("s2", "10.2.0.1/24", bridge="b2", mac="02:00:00:00:01:02")
        await dpu.opi.make_svi("s3", "10.3.0.1/24", bridge="b3", vrf="red")
        assert svi.status.oper_status == l3.SVI_OPER_STATUS_UP, svi.status
        assert await reaches(a, "10.1.0.1")
        assert await reaches(a, "10.2.0.10")
        assert await reaches(a, "192.0.2.1")
        assert not await reaches(a, "10.3.0.10", seconds=1)
        assert not await reaches(a, "10.3.0.1", seconds=1)


async def test_networks_of_two_domains_may_overlap(stage: OpiSwitch) -> None:
    a = stage.add_host("pf0vf0", A, "10.1.0.10/24", via="10.1.0.1")
    b = stage.add_host("pf0vf1", B, "10.1.0.10/24", via="10.1.0.1")
    stage.add_host("pf0vf2", C, "10.2.0.10/24", via="10.2.0.1")
    async with stage.daemon() as dpu:
        for number, (name, mac) in enumerate((("pf0vf0", A), ("pf0vf1", B), ("pf0vf2", C)), start=1):
            await dpu.opi.make_bridge(f"b{number}", 10 * number)
            await dpu.opi.make_port(name, mac, f"b{number}")
        await dpu.opi.make_vrf("blue")
        await dpu.opi.make_vrf("red")
        await dpu.opi.make_svi("s1", "10.1.0.1/24", bridge="b1", vrf="blue")
        await dpu.opi.make_svi("s2", "10.1.0.1/24", bridge="b2", vrf="red")
        await dpu.opi.make_svi("s3", "10.2.0.1/24", bridge="b3", vrf="red")
        assert await reaches(a, "10.1.0.1")
        assert await reaches(b, "10.1.0.1")
        assert await reaches(b, "10.2.0.10")
        assert not await reaches(a, "10.2.0.10", seconds=1)


async def test_a_host_cannot_reach_the_dpu_itself_through_its_gateway(stage: OpiSwitch) -> None:
    a = stage.add_host("pf0vf0", A, "10.1.0.10/24", via="10.1.0.1")
    ip("link", "add", "mgmt", "type", "veth", "peer", "name", "mgmt2")
    ip("addr", "add", "10.200.0.1/24", "dev", "mgmt")
    ip("link", "set", "mgmt", "up")
    async with stage.daemon() as dpu:
        await dpu.opi.make_bridge()
        await dpu.opi.make_port("pf0vf0", A, "b1")
        await dpu.opi.make_vrf()
        await dpu.opi.make_svi()
        assert await reaches(a, "10.1.0.1")
        assert not await reaches(a, "10.200.0.1", seconds=1)


async def test_a_gateway_speaks_both_families_and_follows_updates(stage: OpiSwitch) -> None:
    a = stage.add_host("pf0vf0", A, "10.1.0.10/24", "2001:db8:1::10/64", via="10.1.0.1")
    async with stage.daemon() as dpu:
        await dpu.opi.make_bridge()
        await dpu.opi.make_port("pf0vf0", A, "b1")
        await dpu.opi.make_vrf()
        await dpu.opi.make_svi("s1", "10.1.0.1/24", "2001:db8:1::1/64")
        assert await reaches(a, "2001:db8:1::1")
        newer = l3.Svi(spec=l3.SviSpec(gw_ip_prefix=[prefix("10.1.0.254/24"), prefix("2001:db8:1::1/64")]))
        svi = await dpu.opi.update("svis/s1", newer)
        assert len(svi.spec.gw_ip_prefix) == 2
        assert await reaches(a, "10.1.0.254")
        assert not await reaches(a, "10.1.0.1", seconds=1)


async def test_a_bridge_with_a_vni_is_stretched_over_vxlan(stage: OpiSwitch) -> None:
    with tempfile.TemporaryDirectory(prefix="on-", dir="/tmp") as directory:
        async with opi_switch(Path(directory), "dpu2") as far:
            underlay(stage, far, ("10.50.0.1/24", "10.50.0.2/24"))
            a = stage.add_host("pf0vf0", A, "10.1.0.10/24")
            far.add_host("pf0vf0", B, "10.1.0.11/24")
            remotes = ("10.50.0.1", "10.50.0.2")
            stage.fabric = replace(stage.fabric, vtep="10.50.0.1", remotes=remotes)
            far.fabric = replace(far.fabric, remotes=remotes)
            async with far.daemon() as two:
                bridge = await two.opi.make_bridge("b1", 30, 100, "10.50.0.2/32")
                assert bridge.status.oper_status == l2.LB_OPER_STATUS_UP, bridge.status
                await two.opi.make_port("pf0vf0", B, "b1")
            # What the far daemon made stays while it does not run.
            with inside(stage.dpu):
                async with stage.daemon() as one:
                    await one.opi.make_bridge("b1", 10, 100)
                    await one.opi.make_port("pf0vf0", A, "b1")
                    assert await reaches(a, "10.1.0.11", seconds=10)
                    other = l2.LogicalBridge(spec=bridge_spec(10, 101))
                    await one.opi.update("logicalBridges/b1", other, "spec.vni")
                    assert not await reaches(a, "10.1.0.11", seconds=1)


async def test_a_daemons_settings_lead_to_the_switch_and_to_the_functions_of_its_bus(stage: OpiSwitch) -> None:
    stage.add_host("pf0vf0", A, "10.1.0.10/24")
    world = World()
    world.state.nics[0] = NicSeen(vf=0, port_id="", representor="pf0vf0", mac=A, present=True)
    section = OpiNetworkSection(bridge="br-own", domains=stage.fabric.domains, vtep="10.50.0.1")
    switch = SwitchSection(ovsdb=Path(stage.ovs.socket), datapath=DATAPATH)
    layer = net_layer(section, switch, FakeBus(world))
    await layer.driver.start(lambda _: None)
    try:
        await layer.driver.make_bridge(layer.fabric.bridge)
        seen = await layer.driver.look()
        assert "br-own" in seen.bridges
        assert seen.functions == {A: "pf0vf0"}
        world.faults.down.add("bus")
        assert (await layer.driver.look()).functions == {}
    finally:
        await layer.driver.stop()
