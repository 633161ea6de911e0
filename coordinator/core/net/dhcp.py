"""DHCP for machines of OVN networks: the answers that OVN itself gives, per subnet and family; pure.

Source: ovn-nb(5), DHCP_Options; addresses in sets stand in braces, texts in double quotes.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from coordinator.core.net import names
from coordinator.core.net.rows import Row, Table
from coordinator.core.net.segment import Segment


def dhcp_rows(segment: Segment) -> list[Row]:
    """What machines of a subnet are told; nothing where DHCP is off."""
    if not segment.subnet.spec.dhcp.enabled:
        return []
    name = segment.subnet.metadata.name
    return [
        Row(
            Table.DHCP,
            names.dhcp_key(name, prefix.version),
            {"cidr": str(prefix), "options": _options_v4(segment) if prefix.version == 4 else _options_v6(segment)},
        )
        for prefix in segment.prefixes
    ]


def _options_v4(segment: Segment) -> dict[str, str]:
    spec = segment.subnet.spec
    found = {
        "server_id": segment.server,
        "server_mac": segment.mac,
        "lease_time": str(spec.dhcp.lease_seconds),
        "mtu": str(segment.network.spec.mtu),
    }
    router = next((str(gateway.ip) for gateway in segment.gateways if gateway.version == 4), "")
    if router:
        found["router"] = router
    servers = _of_version(spec.dns, 4)
    if servers:
        found["dns_server"] = _set(servers)
    if spec.dhcp.domain:
        found["domain_name"] = _text(spec.dhcp.domain)
    routes = [(route.dst, route.via) for route in spec.routes if ip_address(route.via).version == 4]
    if routes:
        # Who is told of routes takes no other default route than one among them (RFC 3442).
        everything = [*routes, *([("0.0.0.0/0", router)] if router else [])]
        found["classless_static_route"] = _set(f"{dst},{via}" for dst, via in everything)
    return found


def _options_v6(segment: Segment) -> dict[str, str]:
    spec = segment.subnet.spec
    found = {"server_id": segment.mac}
    servers = _of_version(spec.dns, 6)
    if servers:
        found["dns_server"] = _set(servers)
    if spec.dhcp.domain:
        found["domain_search"] = _text(spec.dhcp.domain)
    return found


def _of_version(addresses: Iterable[str], version: int) -> list[str]:
    return [address for address in addresses if ip_address(address).version == version]


def _set(members: Iterable[str]) -> str:
    return "{" + ", ".join(members) + "}"


def _text(text: str) -> str:
    return f'"{text}"'
