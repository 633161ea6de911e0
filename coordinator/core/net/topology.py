"""Routers and switches: what networks and subnets are in OVN; pure.

A network is a router of its own, so networks share no address with each other and two may have the same. A subnet is
a switch, joined to that router when it has a gateway.
"""

from collections.abc import Iterable

from coordinator.core.net import names
from coordinator.core.net.rows import Row, Table, Value, ref, router_key, switch_key
from coordinator.core.net.segment import Chassis, Exit, Segment, exit_of
from coordinator.core.objects.network import EgressGateway, Network, NetworkDriver

HIGHEST_PRIORITY = 32767
ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def network_rows(network: Network, nodes: Chassis) -> list[Row]:
    """A network's router, and its way out.

    Args:
        nodes: chassis of all NetworkNodes.

    Raises:
        DpuError: INVALID; its way out cannot be had, names the field.
    """
    if network.spec.driver is not NetworkDriver.OVN:  # one that only goes has pods still
        return []
    name = network.metadata.name
    router = Row(Table.ROUTER, router_key(name), {"name": router_key(name)})
    way_out = exit_of(network)
    return [router] if way_out is None else [router, *_exit_rows(name, way_out, nodes)]


def subnet_rows(segment: Segment) -> list[Row]:
    """A subnet's switch, and where it has a gateway the pair of ports that joins it to the router."""
    name, key = segment.subnet.metadata.name, switch_key(segment.subnet.metadata.name)
    if not segment.gateways:
        return [Row(Table.SWITCH, key, {"name": key})]
    port = names.router_port(name)
    router = router_key(segment.network.metadata.name)
    return [
        Row(Table.SWITCH, key, {"name": key, "ports": frozenset({ref(Table.SWITCH_PORT, names.switch_side(port))})}),
        _patched(port, {"router-port": port}),
        Row(Table.ROUTER, router, {"ports": frozenset({ref(Table.ROUTER_PORT, port)})}),
        Row(
            Table.ROUTER_PORT,
            port,
            {
                "name": port,
                "mac": segment.mac,
                "networks": frozenset(str(gateway) for gateway in segment.gateways),
                "ipv6_ra_configs": _announced(segment),
            },
        ),
    ]


def egress_nodes(gateway: EgressGateway, nodes: Iterable[str]) -> list[str]:
    """NetworkNodes that may be a network's gateway, the preferred first: those that it names, or all."""
    known = sorted(nodes)
    return [node for node in dict.fromkeys(gateway.nodes) if node in known] if gateway.nodes else known


def _announced(segment: Segment) -> dict[str, str]:
    """What machines hear of the router over IPv6: a default route, and that addresses come from DHCPv6."""
    if not any(gateway.version == 6 for gateway in segment.gateways) or not segment.subnet.spec.dhcp.enabled:
        return {}
    return {"address_mode": "dhcpv6_stateful", "mtu": str(segment.network.spec.mtu)}


def _exit_rows(network: str, way_out: Exit, nodes: Chassis) -> list[Row]:
    port = names.egress_port(network)
    candidates = _candidates(network, egress_nodes(way_out.gateway, nodes), nodes)
    routes = [
        Row(
            Table.ROUTE,
            names.route_key(network, version),
            {"ip_prefix": ANYWHERE[version], "nexthop": hop, "output_port": port},
        )
        for version, hop in way_out.next_hops
    ]
    router = {
        "ports": frozenset({ref(Table.ROUTER_PORT, port)}),
        "static_routes": frozenset(route.ref for route in routes),
    }
    exit_port: dict[str, Value] = {
        "name": port,
        "mac": way_out.mac,
        "networks": frozenset(str(address) for address in way_out.addresses),
        "gateway_chassis": frozenset(one.ref for one in candidates),
    }
    return [
        Row(Table.ROUTER, router_key(network), router),
        Row(Table.ROUTER_PORT, port, exit_port),
        *_outside(network, way_out.gateway),
        *routes,
        *candidates,
    ]


def _candidates(network: str, preferred: list[str], nodes: Chassis) -> list[Row]:
    """Who may be the gateway; OVN takes the one of highest priority that is alive."""
    return [
        Row(
            Table.GATEWAY_CHASSIS,
            names.candidate(network, chassis),
            {"name": names.candidate(network, chassis), "chassis_name": chassis, "priority": HIGHEST_PRIORITY - rank},
        )
        for rank, chassis in enumerate(dict.fromkeys(nodes[node] for node in preferred))
    ]


def _outside(network: str, gateway: EgressGateway) -> list[Row]:
    """The physical network as a switch; its other end is a bridge of each chassis."""
    switch, local, port = names.egress_switch(network), names.localnet(network), names.egress_port(network)
    side = names.switch_side(port)
    tag: dict[str, Value] = {"tag_request": gateway.vlan, "tag": gateway.vlan} if gateway.vlan else {}
    columns: dict[str, Value] = {
        "name": local,
        "type": "localnet",
        "addresses": frozenset({"unknown"}),
        "options": {"network_name": gateway.physical_network},
    }
    ports = frozenset({ref(Table.SWITCH_PORT, local), ref(Table.SWITCH_PORT, side)})
    return [
        Row(Table.SWITCH, switch, {"name": switch, "ports": ports}),
        Row(Table.SWITCH_PORT, local, {**columns, **tag}),
        _patched(port, {"router-port": port, "nat-addresses": "router"}),
    ]


def _patched(port: str, options: dict[str, str]) -> Row:
    """The switch's side of a router's port."""
    name = names.switch_side(port)
    columns: dict[str, Value] = {"name": name, "type": "router", "addresses": frozenset({"router"}), "options": options}
    return Row(Table.SWITCH_PORT, name, columns)
