"""A subnet of an OVN network as addresses, checked once for all that is made of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any

import msgspec

from coordinator.core.ipam.mac import choose_mac, gateway_mac
from coordinator.core.ipam.plan import Prefix, plans_of
from coordinator.core.objects.net import NetworkNode
from coordinator.core.objects.network import EgressGateway, Network, NetworkDriver, Subnet, SubnetSpec
from proto.errors import DpuError
from proto.reasons import Reason

Interface = IPv4Interface | IPv6Interface
Chassis = Mapping[str, str]
"""Name of a NetworkNode to the name of its OVN chassis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A subnet.

    Attributes:
        prefixes: of each family that it has.
        gateways: the router's address of each family, with the prefix length; none leaves the subnet to itself.
        mac: of the router's port, the same for ever.
        server: address that DHCP answers from, of the first family.
    """

    subnet: Subnet
    network: Network
    prefixes: tuple[Prefix, ...]
    gateways: tuple[Interface, ...]
    mac: str
    server: str


_RELAXATIONS: tuple[dict[str, Any], ...] = (
    {"reserved": [], "pools": [], "dns": [], "routes": [], "probe_address": ""},
    {"gateway": "", "gateway_v6": ""},
)
"""What is left out of a subnet that is wrong, the least important first; at last all but its first prefix."""


def segment_of(subnet: Subnet, network: Network | None) -> Segment | None:
    """The segment that a subnet is; None when its network is none of OVN's, or not there.

    Raises:
        DpuError: INVALID; names the field.
    """
    if network is None or network.spec.driver is not NetworkDriver.OVN:
        return None
    plans = plans_of(subnet.spec)
    gateways = [ip_interface(f"{plan.gateway}/{plan.prefix.prefixlen}") for plan in plans if plan.gateway is not None]
    return Segment(
        subnet=subnet,
        network=network,
        prefixes=tuple(plan.prefix for plan in plans),
        gateways=tuple(gateways),
        mac=gateway_mac(subnet.metadata.name),
        server=str(plans[0].gateway or plans[0].probe),
    )


def nearest_segment(subnet: Subnet, network: Network | None) -> Segment | None:
    """What of a wrong subnet can be a segment, the prefix at least: who lives in it keeps as much as there can be.

    Raises:
        DpuError: INVALID; of the prefix.
    """
    less: dict[str, Any] = {}
    for step in _RELAXATIONS:
        less |= step
        try:
            relaxed = msgspec.structs.replace(subnet.spec, **less)
            return segment_of(msgspec.structs.replace(subnet, spec=relaxed), network)
        except DpuError:
            continue
    least = SubnetSpec(cidr=subnet.spec.cidr, network_ref=subnet.spec.network_ref)
    return segment_of(msgspec.structs.replace(subnet, spec=least), network)


def chassis_of(nodes: Iterable[NetworkNode]) -> Chassis:
    """Chassis by name of a NetworkNode."""
    return {node.metadata.name: chassis(node) for node in nodes}


def chassis(node: NetworkNode) -> str:
    """The OVN chassis of a node."""
    return node.spec.chassis or node.spec.server_name or node.metadata.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The way out of a network, checked.

    Attributes:
        addresses: of the router on the physical network, with prefix length, at most one of each family.
        next_hops: the default route of each of these families.
    """

    gateway: EgressGateway
    addresses: tuple[Interface, ...]
    next_hops: tuple[tuple[int, str], ...]
    mac: str


def exit_of(network: Network) -> Exit | None:
    """The way out of a network; None when it has none.

    Raises:
        DpuError: INVALID; names the field.
    """
    gateway = network.spec.gateway
    if gateway is None or network.spec.driver is not NetworkDriver.OVN:
        return None
    addresses, hops = [], []
    sides = (
        (gateway.address, gateway.next_hop, "address", "nextHop", 4),
        (gateway.address_v6, gateway.next_hop_v6, "addressV6", "nextHopV6", 6),
    )
    for address, hop, address_field, hop_field, version in sides:
        if not address and not hop:
            continue
        own = _interface(address, f"spec.gateway.{address_field}", version)
        addresses.append(own)
        if hop:
            inside = _interface(hop, f"spec.gateway.{hop_field}", version)
            if inside.ip not in own.network or inside.ip == own.ip:
                remedy = f"write the address of the router in {own.network}"
                message = f"{hop} is no other address of {own.network}"
                raise DpuError(Reason.INVALID, message, field=f"spec.gateway.{hop_field}", remedy=remedy)
            hops.append((version, str(inside.ip)))
    mac = choose_mac(f"network/{network.metadata.name}", "egress", ())
    return Exit(gateway=gateway, addresses=tuple(addresses), next_hops=tuple(hops), mac=mac)


def _interface(text: str, field: str, version: int) -> Interface:
    try:
        found = ip_interface(text)
    except ValueError as error:
        raise _invalid(f"{text!r} is no address", field, version) from error
    if found.version != version:
        raise _invalid(f"{text} is not of IPv{version}", field, version)
    return found


def _invalid(message: str, field: str, version: int) -> DpuError:
    example = "198.51.100.2/24" if version == 4 else "2001:db8::2/64"
    return DpuError(Reason.INVALID, message, field=field, remedy=f"write one such as {example}")
