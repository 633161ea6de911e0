"""Logical bridges, ports, routing domains and gateways on the wire."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dpu_daemon.engine.opi_network.objects import NetView
from dpu_daemon.model.opi_network import BridgePort, LogicalBridge, NetKind, NetSpec, PortType, Svi, Vrf
from dpu_daemon.service.opi.checks import required, unsupported
from dpu_daemon.service.opi.codec import Called
from dpu_daemon.service.opi_network.fields import (
    LARGEST_VNI,
    check_number,
    from_prefix,
    host_prefix_of,
    mac_of,
    prefix_of,
    reference_of,
    write_status,
)
from dpu_daemon.service.validation import invalid
from proto.opi_api.network.evpn_gw.v1alpha1 import l2_xpu_infra_mgr_pb2 as l2
from proto.opi_api.network.evpn_gw.v1alpha1 import l3_xpu_infra_mgr_pb2 as l3

T = TypeVar("T", bound=NetSpec)
HIGHEST_VLAN = 4094
NO_EVPN = "this DPU has no EVPN control plane"
_PORT_TYPES: dict[int, PortType] = {
    l2.BRIDGE_PORT_TYPE_ACCESS: PortType.ACCESS,
    l2.BRIDGE_PORT_TYPE_TRUNK: PortType.TRUNK,
}
_TYPE_NUMBERS = {ptype: number for number, ptype in _PORT_TYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class NetCodec(Called):
    """One collection.

    Attributes:
        kind: of its objects.
        read: a message to its spec; raises DpuError INVALID or UNSUPPORTED naming the field.
        write: a view to its message.
    """

    kind: NetKind
    read: Callable[[Any], NetSpec]
    write: Callable[[NetView], Any]


def _spec(view: NetView, kind: type[T]) -> T:
    spec = view.record.spec
    if not isinstance(spec, kind):
        raise TypeError(f"{view.record.name} is no {kind.__name__}")
    return spec


def _bridge(message: Any) -> NetSpec:
    asked, field = required("logical_bridge", message, "spec"), "logical_bridge.spec"
    vni = check_number(f"{field}.vni", asked.vni, LARGEST_VNI) if asked.HasField("vni") else None
    vtep = prefix_of(f"{field}.vtep_ip_prefix", asked.vtep_ip_prefix) if asked.HasField("vtep_ip_prefix") else ""
    if vtep and vni is None:
        raise invalid(f"{field}.vtep_ip_prefix", "is given without a vni", "give the vni, too, or leave both out")
    vlan = check_number(f"{field}.vlan_id", asked.vlan_id, HIGHEST_VLAN)
    return LogicalBridge(vlan_id=vlan, vni=vni, vtep_ip_prefix=vtep)


def _from_bridge(view: NetView) -> Any:
    spec = _spec(view, LogicalBridge)
    message = l2.LogicalBridge(name=view.record.name)
    message.spec.vlan_id = spec.vlan_id
    if spec.vni is not None:
        message.spec.vni = spec.vni
    if spec.vtep_ip_prefix:
        message.spec.vtep_ip_prefix.CopyFrom(from_prefix(spec.vtep_ip_prefix))
    write_status(message.status, view.state, view.parts, "LB")
    return message


def _port(message: Any) -> NetSpec:
    asked, field = required("bridge_port", message, "spec"), "bridge_port.spec"
    ptype = _PORT_TYPES.get(asked.ptype)
    if ptype is None:
        raise invalid(f"{field}.ptype", f"{asked.ptype} is not a type of port", "use ACCESS or TRUNK")
    bridges = tuple(
        reference_of(f"{field}.logical_bridges", name, NetKind.LOGICAL_BRIDGE) for name in asked.logical_bridges
    )
    return BridgePort(
        mac_address=mac_of(f"{field}.mac_address", asked.mac_address), ptype=ptype, logical_bridges=bridges
    )


def _from_port(view: NetView) -> Any:
    spec = _spec(view, BridgePort)
    message = l2.BridgePort(name=view.record.name)
    message.spec.mac_address = bytes.fromhex(spec.mac_address.replace(":", ""))
    message.spec.ptype = _TYPE_NUMBERS[spec.ptype]  # type: ignore[assignment]  # numbers are the enum's, by their table
    message.spec.logical_bridges.extend(spec.logical_bridges)
    write_status(message.status, view.state, view.parts, "BP")
    return message


def _vrf(message: Any) -> NetSpec:
    asked, field = required("vrf", message, "spec"), "vrf.spec"
    if asked.HasField("vni") or asked.HasField("vtep_ip_prefix"):
        named = "vni" if asked.HasField("vni") else "vtep_ip_prefix"
        remedy = "leave vni and vtep_ip_prefix out: routes to other DPUs come from EVPN alone"
        raise unsupported(f"{field}.{named}", NO_EVPN, remedy)
    loopback = required(field, asked, "loopback_ip_prefix")
    return Vrf(loopback_ip_prefix=prefix_of(f"{field}.loopback_ip_prefix", loopback))


def _from_vrf(view: NetView) -> Any:
    message = l3.Vrf(name=view.record.name)
    message.spec.loopback_ip_prefix.CopyFrom(from_prefix(_spec(view, Vrf).loopback_ip_prefix))
    write_status(message.status, view.state, view.parts, "VRF")
    return message


def _svi(message: Any) -> NetSpec:
    asked, field = required("svi", message, "spec"), "svi.spec"
    if asked.enable_bgp or asked.remote_as:
        named = "enable_bgp" if asked.enable_bgp else "remote_as"
        raise unsupported(f"{field}.{named}", NO_EVPN, "leave enable_bgp and remote_as out")
    if not asked.gw_ip_prefix:
        raise invalid(f"{field}.gw_ip_prefix", "is empty", "give the gateway an address")
    return Svi(
        vrf=reference_of(f"{field}.vrf", asked.vrf, NetKind.VRF),
        logical_bridge=reference_of(f"{field}.logical_bridge", asked.logical_bridge, NetKind.LOGICAL_BRIDGE),
        mac_address=mac_of(f"{field}.mac_address", asked.mac_address),
        gw_ip_prefix=tuple(host_prefix_of(f"{field}.gw_ip_prefix", each) for each in asked.gw_ip_prefix),
    )


def _from_svi(view: NetView) -> Any:
    spec = _spec(view, Svi)
    message = l3.Svi(name=view.record.name)
    message.spec.vrf, message.spec.logical_bridge = spec.vrf, spec.logical_bridge
    message.spec.mac_address = bytes.fromhex(spec.mac_address.replace(":", ""))
    message.spec.gw_ip_prefix.extend(from_prefix(each) for each in spec.gw_ip_prefix)
    write_status(message.status, view.state, view.parts, "SVI")
    return message


BRIDGE = NetCodec(
    kind=NetKind.LOGICAL_BRIDGE,
    noun="LogicalBridge",
    field="logical_bridge",
    module=l2,
    read=_bridge,
    write=_from_bridge,
)
PORT = NetCodec(
    kind=NetKind.BRIDGE_PORT, noun="BridgePort", field="bridge_port", module=l2, read=_port, write=_from_port
)
VRF = NetCodec(kind=NetKind.VRF, noun="Vrf", field="vrf", module=l3, read=_vrf, write=_from_vrf)
SVI = NetCodec(kind=NetKind.SVI, noun="Svi", field="svi", module=l3, read=_svi, write=_from_svi)
