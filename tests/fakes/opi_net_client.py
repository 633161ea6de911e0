"""An OPI network client for tests: stubs of the four services, and requests with sensible contents."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from proto.opi_api.network.evpn_gw.v1alpha1 import l2_xpu_infra_mgr_pb2 as l2
from proto.opi_api.network.evpn_gw.v1alpha1 import l2_xpu_infra_mgr_pb2_grpc as l2_grpc
from proto.opi_api.network.evpn_gw.v1alpha1 import l3_xpu_infra_mgr_pb2 as l3
from proto.opi_api.network.evpn_gw.v1alpha1 import l3_xpu_infra_mgr_pb2_grpc as l3_grpc
from proto.opi_api.network.opinetcommon.v1alpha1 import networktypes_pb2 as types

MAC = "02:00:00:00:00:05"
GATEWAY_MAC = "02:00:00:00:01:01"


@contextmanager
def refused_at(code: grpc.StatusCode, field: str) -> Iterator[None]:
    """The block has to be refused with this code, and the error has to name this field and a remedy."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        yield
    assert error.value.code() is code, error.value
    status = rpc_status.from_call(error.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.metadata["field"] == field
    assert info.metadata["remedy"]


class NetClient:
    """All stubs over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.bridges: Any = l2_grpc.LogicalBridgeServiceStub(channel)
        self.ports: Any = l2_grpc.BridgePortServiceStub(channel)
        self.vrfs: Any = l3_grpc.VrfServiceStub(channel)
        self.svis: Any = l3_grpc.SviServiceStub(channel)

    async def make_bridge(self, name: str = "b1", vlan: int = 10, vni: int | None = None, vtep: str = "") -> Any:
        message = l2.LogicalBridge(spec=bridge_spec(vlan, vni, vtep))
        request = l2.CreateLogicalBridgeRequest(logical_bridge=message, logical_bridge_id=name)
        return await self.bridges.CreateLogicalBridge(request)

    async def make_port(self, name: str = "pf0vf0", mac: str = MAC, *bridges: str, trunk: bool = False) -> Any:
        message = l2.BridgePort(spec=port_spec(mac, *bridges, trunk=trunk))
        request = l2.CreateBridgePortRequest(bridge_port=message, bridge_port_id=name)
        return await self.ports.CreateBridgePort(request)

    async def make_vrf(self, name: str = "blue", loopback: str = "192.0.2.1/32", vni: int | None = None) -> Any:
        message = l3.Vrf(spec=l3.VrfSpec(loopback_ip_prefix=prefix(loopback)))
        if vni is not None:
            message.spec.vni = vni
        return await self.vrfs.CreateVrf(l3.CreateVrfRequest(vrf=message, vrf_id=name))

    async def make_svi(
        self,
        name: str = "s1",
        *gateways: str,
        vrf: str = "blue",
        bridge: str = "b1",
        mac: str = GATEWAY_MAC,
        enable_bgp: bool = False,
    ) -> Any:
        spec = l3.SviSpec(
            vrf=f"vrfs/{vrf}",
            logical_bridge=f"logicalBridges/{bridge}",
            mac_address=raw(mac),
            gw_ip_prefix=[prefix(each) for each in gateways or ("10.1.0.1/24",)],
            enable_bgp=enable_bgp,
        )
        return await self.svis.CreateSvi(l3.CreateSviRequest(svi=l3.Svi(spec=spec), svi_id=name))

    async def delete(self, name: str, *, allow_missing: bool = False) -> None:
        """Any object, by its resource name."""
        module, noun, stub = self._of(name)
        request = getattr(module, f"Delete{noun}Request")(name=name, allow_missing=allow_missing)
        await getattr(stub, f"Delete{noun}")(request)

    async def get(self, name: str) -> Any:
        """Any object, by its resource name."""
        module, noun, stub = self._of(name)
        return await getattr(stub, f"Get{noun}")(getattr(module, f"Get{noun}Request")(name=name))

    async def update(self, name: str, message: Any, *paths: str, allow_missing: bool = False) -> Any:
        """Any object; the message gets its name."""
        module, noun, stub = self._of(name)
        message.name = name
        field = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in noun)[1:]
        request = getattr(module, f"Update{noun}Request")(allow_missing=allow_missing)
        getattr(request, field).CopyFrom(message)
        if paths:
            request.update_mask.CopyFrom(field_mask_pb2.FieldMask(paths=paths))
        return await getattr(stub, f"Update{noun}")(request)

    def _of(self, name: str) -> tuple[Any, str, Any]:
        return {
            "logicalBridges": (l2, "LogicalBridge", self.bridges),
            "bridgePorts": (l2, "BridgePort", self.ports),
            "vrfs": (l3, "Vrf", self.vrfs),
            "svis": (l3, "Svi", self.svis),
        }[name.split("/", maxsplit=1)[0]]


def raw(mac: str) -> bytes:
    """A MAC address as the wire has it."""
    return bytes.fromhex(mac.replace(":", ""))


def prefix(text: str) -> types.IPPrefix:
    """A prefix as the wire has it."""
    found = ipaddress.ip_interface(text)
    if found.version == 4:
        address = types.IPAddress(af=types.IP_AF_INET, v4_addr=int(found.ip))
    else:
        address = types.IPAddress(af=types.IP_AF_INET6, v6_addr=found.ip.packed)
    return types.IPPrefix(addr=address, len=found.network.prefixlen)


def bridge_spec(vlan: int, vni: int | None = None, vtep: str = "") -> l2.LogicalBridgeSpec:
    """A logical bridge's spec."""
    spec = l2.LogicalBridgeSpec(vlan_id=vlan)
    if vni is not None:
        spec.vni = vni
    if vtep:
        spec.vtep_ip_prefix.CopyFrom(prefix(vtep))
    return spec


def port_spec(mac: str, *bridges: str, trunk: bool = False) -> l2.BridgePortSpec:
    """A port's spec."""
    ptype = l2.BRIDGE_PORT_TYPE_TRUNK if trunk else l2.BRIDGE_PORT_TYPE_ACCESS
    names = [f"logicalBridges/{each}" for each in bridges]
    return l2.BridgePortSpec(mac_address=raw(mac), ptype=ptype, logical_bridges=names)
