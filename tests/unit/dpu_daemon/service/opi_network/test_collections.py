"""What all collections of OPI's network API do: repeated creates, masks, deletes, pages, roles, reflection."""

from pathlib import Path

import grpc
import pytest

from dpu_daemon.service.roles import Peer, Role, admit
from proto.errors import DpuError
from proto.opi_api.network.evpn_gw.v1alpha1 import l2_xpu_infra_mgr_pb2 as l2
from proto.opi_api.network.evpn_gw.v1alpha1 import l3_xpu_infra_mgr_pb2 as l3
from proto.reasons import Reason
from tests.fakes.daemon import fake_dpu
from tests.fakes.opi_client import refused
from tests.fakes.opi_daemon import OpiDaemon
from tests.fakes.opi_net_client import MAC, NetClient, bridge_spec, port_spec, prefix, refused_at
from tests.fakes.opi_net_daemon import NetWorld, net_daemon

Code = grpc.StatusCode
SERVICES = "/opi_api.network.evpn_gw.v1alpha1."


async def test_a_repeated_create_answers_the_same_and_another_spec_is_named(opi: NetClient) -> None:
    first = await opi.make_bridge("b1", 10)
    assert await opi.make_bridge("b1", 10) == first
    with refused(Code.ALREADY_EXISTS) as error:
        await opi.make_bridge("b1", 11)
    assert "vlan_id 10" in error.said
    await opi.make_port("pf0vf0", MAC, "b1")
    assert (await opi.make_port("pf0vf0", MAC, "b1")).name == "bridgePorts/pf0vf0"


async def test_a_create_without_an_id_gets_one(opi: NetClient) -> None:
    request = l2.CreateLogicalBridgeRequest(logical_bridge=l2.LogicalBridge(spec=bridge_spec(10)))
    made = await opi.bridges.CreateLogicalBridge(request)
    assert (await opi.get(made.name)).spec.vlan_id == 10


@pytest.mark.parametrize("name", ["-b", "b/1", "b 1", "x" * 64])
async def test_an_id_that_is_none_is_refused(opi: NetClient, name: str) -> None:
    with refused_at(Code.INVALID_ARGUMENT, "logical_bridge_id"):
        await opi.make_bridge(name)


async def test_an_update_without_a_mask_changes_what_is_set_and_replaces_lists(opi: NetClient) -> None:
    await opi.make_bridge("b1", 10)
    await opi.make_bridge("b2", 20)
    await opi.make_port("pf0vf0", MAC, "b1", trunk=True)
    changed = await opi.update("bridgePorts/pf0vf0", l2.BridgePort(spec=port_spec(MAC, "b2", trunk=True)))
    assert changed.spec.logical_bridges == ["logicalBridges/b2"]


async def test_a_mask_names_what_changes_and_an_unset_field_is_cleared(opi: NetClient) -> None:
    await opi.make_bridge("b1", 10, 100)
    changed = await opi.update("logicalBridges/b1", l2.LogicalBridge(spec=bridge_spec(99)), "spec.vni")
    assert changed.spec.vlan_id == 10
    assert not changed.spec.HasField("vni")
    with refused(Code.INVALID_ARGUMENT) as error:
        await opi.update("logicalBridges/b1", l2.LogicalBridge(spec=bridge_spec(11)), "spec.vlan_id")
    assert "vlan_id" in error.said
    with refused(Code.INVALID_ARGUMENT):
        await opi.update("logicalBridges/b1", l2.LogicalBridge(spec=bridge_spec(11)), "spec.colour")


async def test_a_mask_cannot_reach_into_a_list(opi: NetClient) -> None:
    await opi.make_bridge()
    await opi.make_vrf()
    svi = await opi.make_svi()
    with refused_at(Code.INVALID_ARGUMENT, "update_mask"):
        await opi.update("svis/s1", l3.Svi(spec=svi.spec), "spec.gw_ip_prefix.len")


async def test_a_prefix_without_its_length_is_not_the_whole_internet(opi: NetClient) -> None:
    loopback = prefix("192.0.2.1/32")
    loopback.len = 0
    message = l3.Vrf(spec=l3.VrfSpec(loopback_ip_prefix=loopback))
    with refused_at(Code.INVALID_ARGUMENT, "vrf.spec.loopback_ip_prefix.len"):
        await opi.vrfs.CreateVrf(l3.CreateVrfRequest(vrf=message, vrf_id="blue"))


async def test_a_star_replaces_the_whole_object(opi: NetClient) -> None:
    await opi.make_bridge()
    await opi.make_vrf()
    await opi.make_svi("s1", "10.1.0.1/24", "10.2.0.1/24")
    svi = await opi.get("svis/s1")
    newer = l3.Svi(spec=svi.spec)
    del newer.spec.gw_ip_prefix[:]
    newer.spec.gw_ip_prefix.append(prefix("10.3.0.1/24"))
    changed = await opi.update("svis/s1", newer, "*")
    assert list(changed.spec.gw_ip_prefix) == [prefix("10.3.0.1/24")]


async def test_an_update_that_fails_leaves_the_object_as_it_was(opi: NetClient, around: NetWorld) -> None:
    await opi.make_bridge("b1", 10, 100)
    around.world.faults.errors["net.plug"] = [DpuError(Reason.UNAVAILABLE, "the switch does not follow")] * 3
    with refused(Code.UNAVAILABLE):
        await opi.update("logicalBridges/b1", l2.LogicalBridge(spec=bridge_spec(10, 101)), "spec.vni")
    assert (await opi.get("logicalBridges/b1")).spec.vni == 100


async def test_a_create_that_fails_is_undone(opi: NetClient, around: NetWorld) -> None:
    around.world.faults.errors["net.plug"] = [DpuError(Reason.UNAVAILABLE, "the switch does not follow")] * 3
    with refused(Code.UNAVAILABLE):
        await opi.make_bridge("b1", 10, 100)
    with refused(Code.NOT_FOUND):
        await opi.get("logicalBridges/b1")
    assert around.state.ports == {}


async def test_what_is_missing_is_made_or_ignored_where_the_caller_allows_it(opi: NetClient) -> None:
    message = l2.LogicalBridge(spec=bridge_spec(10))
    with refused(Code.NOT_FOUND):
        await opi.update("logicalBridges/b1", message)
    assert (await opi.update("logicalBridges/b1", message, allow_missing=True)).spec.vlan_id == 10
    await opi.delete("logicalBridges/b1")
    await opi.delete("logicalBridges/b1", allow_missing=True)
    with refused(Code.NOT_FOUND):
        await opi.delete("logicalBridges/b1")


async def test_lists_come_in_pages(opi: NetClient) -> None:
    for number in range(1, 6):
        await opi.make_vrf(f"v{number}", f"192.0.2.{number}/32")
    names: list[str] = []
    token = ""
    while True:
        page = await opi.vrfs.ListVrfs(l3.ListVrfsRequest(page_size=2, page_token=token))
        names += [vrf.name for vrf in page.vrfs]
        assert all(vrf.status.oper_status == l3.VRF_OPER_STATUS_UP for vrf in page.vrfs)
        token = page.next_page_token
        if not token:
            break
    assert names == [f"vrfs/v{number}" for number in range(1, 6)]
    with refused(Code.INVALID_ARGUMENT):
        await opi.vrfs.ListVrfs(l3.ListVrfsRequest(page_size=-1))
    with refused(Code.INVALID_ARGUMENT):
        await opi.bridges.ListLogicalBridges(l2.ListLogicalBridgesRequest(page_token="bm9uZQ=="))


async def test_all_is_there_after_a_restart(tmp_path: Path) -> None:
    around = NetWorld()
    async with net_daemon(tmp_path, around) as daemon:
        opi = NetClient(daemon.channel)
        await opi.make_bridge()
        await opi.make_vrf()
        svi = await opi.make_svi()
    around.state.lose_switch()
    around.state.lose_domain("opi-blue")
    async with net_daemon(tmp_path, around) as daemon:
        found = await NetClient(daemon.channel).get("svis/s1")
        assert (found.spec, found.status.oper_status) == (svi.spec, l3.SVI_OPER_STATUS_UP)


async def test_a_daemon_without_a_switch_for_opi_says_so(tmp_path: Path) -> None:
    async with fake_dpu(tmp_path) as dpu:
        with refused(Code.UNIMPLEMENTED):
            await NetClient(dpu.channel()).make_bridge()


def test_the_role_opi_may_call_all_and_admins_may_read() -> None:
    for role in (Role.OPI, Role.COORDINATOR):
        admit(Peer("x", role), f"{SERVICES}VrfService/CreateVrf")
    admit(Peer("x", Role.ADMIN), f"{SERVICES}SviService/ListSvis")
    for role, method in (
        (Role.ADMIN, "SviService/DeleteSvi"),
        (Role.HOST, "VrfService/GetVrf"),
        (Role.DPU, "LogicalBridgeService/GetLogicalBridge"),
    ):
        with pytest.raises(DpuError) as error:
            admit(Peer("x", role), f"{SERVICES}{method}")
        assert error.value.reason is Reason.FORBIDDEN


async def test_reflection_and_health_name_the_services(daemon: OpiDaemon) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(daemon.channel)
    for name in ("LogicalBridgeService", "BridgePortService", "VrfService", "SviService"):
        request = health_pb2.HealthCheckRequest(service=f"opi_api.network.evpn_gw.v1alpha1.{name}")
        assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
