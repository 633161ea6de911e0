"""Fields of the OPI network API that several objects share: names, numbers, prefixes, MAC addresses, status."""

import ipaddress
from collections.abc import Iterable
from typing import Any

from dpu_daemon.model.opi_network import NetKind
from dpu_daemon.plan.opi_network_status import Health, OperState, Part
from dpu_daemon.service.opi.names import check_name
from dpu_daemon.service.validation import check_mac, invalid
from proto.opi_api.network.evpn_gw.v1alpha1 import component_pb2 as component
from proto.opi_api.network.opinetcommon.v1alpha1 import networktypes_pb2 as types

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
LARGEST_VNI = (1 << 24) - 1
_MAC_BYTES = 6
_PREFIX_REMEDY = "send addr.v4_addr with the first octet highest, or 16 bytes in addr.v6_addr, and len in bits"
_HEALTH: dict[Health, component.CompStatus] = {
    Health.PENDING: component.COMP_STATUS_PENDING,
    Health.SUCCESS: component.COMP_STATUS_SUCCESS,
    Health.ERROR: component.COMP_STATUS_ERROR,
}


def check_number(field: str, value: int, most: int) -> int:
    """A number from 1."""
    if not 1 <= value <= most:
        raise invalid(field, f"{value} is out of range", f"use 1 to {most}")
    return value


def mac_of(field: str, value: bytes) -> str:
    """A unicast MAC address of six bytes."""
    if len(value) != _MAC_BYTES:
        raise invalid(field, f"has {len(value)} bytes", "send the six bytes of a MAC address")
    return check_mac(field, value.hex(":"))


def prefix_of(field: str, message: Any) -> str:
    """An address that a device can have, with the length of its network."""
    address = _address_of(field, message.addr)
    if not message.len:
        raise invalid(f"{field}.len", "is missing", _PREFIX_REMEDY)
    try:
        found = ipaddress.ip_interface((address, message.len))
    except ValueError as error:
        raise invalid(f"{field}.len", f"{message.len} is no length of a prefix", _PREFIX_REMEDY) from error
    reserved = found.version == 4 and found.ip.is_reserved  # to the broadcast address
    if reserved or found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_loopback or found.ip.is_link_local:
        raise invalid(field, f"{found} is not an address to be given", "use a unicast address with a wider scope")
    return str(found)


def _address_of(field: str, message: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    which = message.WhichOneof("v4_or_v6")
    wanted = {"v4_addr": types.IP_AF_INET, "v6_addr": types.IP_AF_INET6}.get(which or "")
    if wanted is None:
        raise invalid(f"{field}.addr", "is missing", _PREFIX_REMEDY)
    if message.af not in {types.IP_AF_UNSPECIFIED, wanted}:
        raise invalid(f"{field}.addr.af", f"does not go with {which}", "make the two agree")
    if which == "v4_addr":
        return ipaddress.IPv4Address(message.v4_addr)
    if len(message.v6_addr) != ipaddress.IPV6LENGTH // 8:
        raise invalid(f"{field}.addr.v6_addr", f"has {len(message.v6_addr)} bytes", _PREFIX_REMEDY)
    return ipaddress.IPv6Address(message.v6_addr)


def host_prefix_of(field: str, message: Any) -> str:
    """A prefix whose address is one of a network's hosts: neither the network's own nor its broadcast address."""
    text = prefix_of(field, message)
    found = ipaddress.ip_interface(text)
    special = {found.network.network_address, found.network.broadcast_address}
    if found.version == 4 and found.network.prefixlen < 31 and found.ip in special:
        raise invalid(field, f"{text} is the address of the network, not of a gateway in it", "use one within it")
    return text


def from_prefix(text: str) -> types.IPPrefix:
    """The wire's form of a prefix."""
    found = ipaddress.ip_interface(text)
    message = types.IPPrefix(len=found.network.prefixlen)
    if found.version == 4:
        message.addr.af, message.addr.v4_addr = types.IP_AF_INET, int(found.ip)
    else:
        message.addr.af, message.addr.v6_addr = types.IP_AF_INET6, found.ip.packed
    return message


def reference_of(field: str, name: str, kind: NetKind) -> str:
    """The name of an object of another collection."""
    return check_name(field, name, kind)


def write_status(status: Any, state: OperState, parts: Iterable[Part], prefix: str) -> None:
    """Fill the status of an object; `prefix` is that of its enum's words."""
    words = {
        OperState.UNKNOWN: "UNSPECIFIED",
        OperState.UP: "UP",
        OperState.DOWN: "DOWN",
        OperState.TO_BE_DELETED: "TO_BE_DELETED",
    }
    kind = status.DESCRIPTOR.fields_by_name["oper_status"].enum_type
    status.oper_status = kind.values_by_name[f"{prefix}_OPER_STATUS_{words[state]}"].number
    for part in parts:
        status.components.add(name=part.name, status=_HEALTH[part.health], details=part.says)
