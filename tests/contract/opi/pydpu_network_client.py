"""What an independent client does with OPI's network; run by a Python that has pydpu and knows nothing of ours.

    PYTHON pydpu_network_client.py ADDRESS

Prints one word per step that went as its library expects, and ends with a traceback otherwise.
"""

import contextlib
import io
import sys

import grpc
from google.protobuf import field_mask_pb2
from pydpu import evpn
from pydpu.proto.v1 import (
    l2_xpu_infra_mgr_pb2,
    l2_xpu_infra_mgr_pb2_grpc,
    l3_xpu_infra_mgr_pb2,
    l3_xpu_infra_mgr_pb2_grpc,
    networktypes_pb2,
)

MAC = bytes.fromhex("020000000005")


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201


def prefix(address: int, length: int) -> networktypes_pb2.IPPrefix:
    found = networktypes_pb2.IPAddress(af=networktypes_pb2.IP_AF_INET, v4_addr=address)
    return networktypes_pb2.IPPrefix(addr=found, len=length)


def empty_requests(address: str) -> None:
    """Its own four functions send nothing at all: a server has to say what is missing."""
    for call in (evpn.bridge_create, evpn.port_create, evpn.vrf_create, evpn.svi_create):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert call(address) is None
        assert "INVALID_ARGUMENT" in said.getvalue()
        assert "is missing" in said.getvalue()
    say("refused")


def bridges(channel: grpc.Channel) -> None:
    stub = l2_xpu_infra_mgr_pb2_grpc.LogicalBridgeServiceStub(channel)
    spec = l2_xpu_infra_mgr_pb2.LogicalBridgeSpec(vlan_id=22)
    bridge = l2_xpu_infra_mgr_pb2.LogicalBridge(spec=spec)
    request = l2_xpu_infra_mgr_pb2.CreateLogicalBridgeRequest(logical_bridge=bridge, logical_bridge_id="vlan22")
    made = stub.CreateLogicalBridge(request)
    assert (made.name, made.spec.vlan_id) == ("logicalBridges/vlan22", 22)
    assert made.status.oper_status == l2_xpu_infra_mgr_pb2.LB_OPER_STATUS_UP
    assert stub.CreateLogicalBridge(request) == made
    listed = stub.ListLogicalBridges(l2_xpu_infra_mgr_pb2.ListLogicalBridgesRequest())
    assert [each.name for each in listed.logical_bridges] == [made.name]
    say("bridge")


def ports(channel: grpc.Channel) -> None:
    stub = l2_xpu_infra_mgr_pb2_grpc.BridgePortServiceStub(channel)
    spec = l2_xpu_infra_mgr_pb2.BridgePortSpec(
        mac_address=MAC,
        ptype=l2_xpu_infra_mgr_pb2.BRIDGE_PORT_TYPE_ACCESS,
        logical_bridges=["logicalBridges/vlan22"],
    )
    port = l2_xpu_infra_mgr_pb2.BridgePort(spec=spec)
    request = l2_xpu_infra_mgr_pb2.CreateBridgePortRequest(bridge_port=port, bridge_port_id="pf0vf0")
    made = stub.CreateBridgePort(request)
    assert made.spec == spec
    assert made.status.oper_status == l2_xpu_infra_mgr_pb2.BP_OPER_STATUS_UP
    made.spec.ptype = l2_xpu_infra_mgr_pb2.BRIDGE_PORT_TYPE_TRUNK
    mask = field_mask_pb2.FieldMask(paths=["spec.ptype"])
    update = l2_xpu_infra_mgr_pb2.UpdateBridgePortRequest(bridge_port=made, update_mask=mask)
    assert stub.UpdateBridgePort(update).spec == made.spec
    say("port")


def domains(channel: grpc.Channel) -> None:
    vrfs = l3_xpu_infra_mgr_pb2_grpc.VrfServiceStub(channel)
    svis = l3_xpu_infra_mgr_pb2_grpc.SviServiceStub(channel)
    vrf = l3_xpu_infra_mgr_pb2.Vrf(spec=l3_xpu_infra_mgr_pb2.VrfSpec(loopback_ip_prefix=prefix(0xC0000201, 32)))
    made = vrfs.CreateVrf(l3_xpu_infra_mgr_pb2.CreateVrfRequest(vrf=vrf, vrf_id="blue"))
    assert made.status.oper_status == l3_xpu_infra_mgr_pb2.VRF_OPER_STATUS_UP
    spec = l3_xpu_infra_mgr_pb2.SviSpec(
        vrf=made.name,
        logical_bridge="logicalBridges/vlan22",
        mac_address=bytes.fromhex("020000000101"),
        gw_ip_prefix=[prefix(0x0A000001, 24)],
    )
    request = l3_xpu_infra_mgr_pb2.CreateSviRequest(svi=l3_xpu_infra_mgr_pb2.Svi(spec=spec), svi_id="gw22")
    svi = svis.CreateSvi(request)
    assert (svi.spec, svi.status.oper_status) == (spec, l3_xpu_infra_mgr_pb2.SVI_OPER_STATUS_UP)
    assert svis.GetSvi(l3_xpu_infra_mgr_pb2.GetSviRequest(name=svi.name)) == svi
    say("domain")
    svis.DeleteSvi(l3_xpu_infra_mgr_pb2.DeleteSviRequest(name=svi.name))
    vrfs.DeleteVrf(l3_xpu_infra_mgr_pb2.DeleteVrfRequest(name=made.name))


def main(address: str) -> None:
    empty_requests(address)
    with grpc.insecure_channel(address) as channel:
        bridges(channel)
        ports(channel)
        domains(channel)
        port = l2_xpu_infra_mgr_pb2_grpc.BridgePortServiceStub(channel)
        port.DeleteBridgePort(l2_xpu_infra_mgr_pb2.DeleteBridgePortRequest(name="bridgePorts/pf0vf0"))
        bridge = l2_xpu_infra_mgr_pb2_grpc.LogicalBridgeServiceStub(channel)
        bridge.DeleteLogicalBridge(l2_xpu_infra_mgr_pb2.DeleteLogicalBridgeRequest(name="logicalBridges/vlan22"))
    say("deleted")


if __name__ == "__main__":
    main(sys.argv[1])
