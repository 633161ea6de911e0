"""What networks and subnets are in OVN."""

from typing import Any

import pytest

from coordinator.core.net.dhcp import dhcp_rows
from coordinator.core.net.nat import nat_rows
from coordinator.core.net.rows import Ref, Row, Table, gather, ref
from coordinator.core.net.segment import Segment, chassis_of, segment_of
from coordinator.core.net.topology import network_rows, subnet_rows
from coordinator.core.objects.net import NetworkNode
from coordinator.core.objects.network import Network, Subnet
from proto.errors import DpuError

NODES = {"n1": "chassis-1", "n2": "chassis-2"}
GATEWAY = {"physicalNetwork": "physnet", "address": "198.51.100.2/24", "nextHop": "198.51.100.1"}


def network(**spec: Any) -> Network:
    return Network.parse({"metadata": {"name": "net", "uid": "u"}, "spec": {"driver": "ovn", "mtu": 1400, **spec}})


def subnet(**spec: Any) -> Subnet:
    base = {"networkRef": {"name": "net"}, "cidr": "10.1.0.0/24", "gateway": "10.1.0.1"}
    return Subnet.parse({"metadata": {"name": "sub", "uid": "s"}, "spec": {**base, **spec}})


def segment(of: Network | None = None, **spec: Any) -> Segment:
    found = segment_of(subnet(**spec), of or network())
    assert found is not None
    return found


def columns(rows: list[Row], table: Table, key: str) -> dict[str, Any]:
    return dict(gather(rows)[ref(table, key)].columns)


def test_a_network_of_bridges_is_nothing_in_ovn() -> None:
    assert network_rows(network(driver="bridge"), NODES) == []
    assert segment_of(subnet(), network(driver="bridge")) is None
    assert segment_of(subnet(), None) is None


def test_a_network_is_a_router_and_a_subnet_a_switch_that_is_joined_to_it() -> None:
    rows = [*network_rows(network(), NODES), *subnet_rows(segment())]
    router = columns(rows, Table.ROUTER, "network.net")
    assert router == {"name": "network.net", "ports": {Ref("Logical_Router_Port", "subnet.sub:gateway")}}
    side = columns(rows, Table.SWITCH_PORT, "subnet.sub:gateway:switch")
    assert (side["type"], side["options"]) == ("router", {"router-port": "subnet.sub:gateway"})
    assert columns(rows, Table.SWITCH, "subnet.sub")["ports"] == {ref(Table.SWITCH_PORT, "subnet.sub:gateway:switch")}
    port = columns(rows, Table.ROUTER_PORT, "subnet.sub:gateway")
    assert (port["networks"], port["ipv6_ra_configs"]) == ({"10.1.0.1/24"}, {})


def test_a_routers_mac_is_the_same_every_time_and_another_for_each_subnet() -> None:
    again = segment()
    other = segment_of(
        Subnet.parse({"metadata": {"name": "b"}, "spec": {"networkRef": {"name": "net"}, "cidr": "10.1.0.0/24"}}),
        network(),
    )
    assert other is not None
    assert segment().mac == again.mac != other.mac


def test_a_subnet_of_both_families_has_both_gateways_and_announces_its_router() -> None:
    rows = subnet_rows(segment(cidrV6="fd00:1::/64", gatewayV6="fd00:1::1"))
    port = columns(rows, Table.ROUTER_PORT, "subnet.sub:gateway")
    assert port["networks"] == {"10.1.0.1/24", "fd00:1::1/64"}
    assert port["ipv6_ra_configs"] == {"address_mode": "dhcpv6_stateful", "mtu": "1400"}


def test_a_subnet_without_gateway_is_a_switch_of_its_own() -> None:
    assert [row.table for row in subnet_rows(segment(gateway=""))] == [Table.SWITCH]


def test_the_way_out_goes_by_the_nodes_that_are_named_in_their_order() -> None:
    rows = network_rows(network(gateway={**GATEWAY, "nodes": ["n2", "unknown", "n1", "n2"]}), NODES)
    port = columns(rows, Table.ROUTER_PORT, "network.net:exit")
    assert port["networks"] == {"198.51.100.2/24"}
    ranks = {row.columns["chassis_name"]: row.columns["priority"] for row in rows if row.table is Table.GATEWAY_CHASSIS}
    assert ranks == {"chassis-2": 32767, "chassis-1": 32766}
    assert len(port["gateway_chassis"]) == 2
    route = columns(rows, Table.ROUTE, "network.net:default4")
    assert route == {"ip_prefix": "0.0.0.0/0", "nexthop": "198.51.100.1", "output_port": "network.net:exit"}
    local = columns(rows, Table.SWITCH_PORT, "network.net:egress:localnet")
    assert (local["type"], local["options"]) == ("localnet", {"network_name": "physnet"})
    assert "tag" not in local


def test_every_node_may_be_the_gateway_where_none_is_named_and_a_vlan_is_tagged() -> None:
    rows = network_rows(network(gateway={**GATEWAY, "vlan": 30}), NODES)
    assert sum(row.table is Table.GATEWAY_CHASSIS for row in rows) == 2
    assert columns(rows, Table.SWITCH_PORT, "network.net:egress:localnet")["tag"] == 30


@pytest.mark.parametrize(
    ("gateway", "field"),
    [
        ({"address": "nonsense"}, "spec.gateway.address"),
        ({"address": "2001:db8::2/64"}, "spec.gateway.address"),
        ({"nextHop": "203.0.113.1"}, "spec.gateway.nextHop"),
        ({"nextHop": "198.51.100.2"}, "spec.gateway.nextHop"),
        ({"addressV6": "198.51.100.9/24"}, "spec.gateway.addressV6"),
    ],
)
def test_a_way_out_that_cannot_be_names_its_field(gateway: dict[str, str], field: str) -> None:
    with pytest.raises(DpuError) as refused:
        network_rows(network(gateway={**GATEWAY, **gateway}), NODES)
    assert refused.value.field == field


def test_addresses_are_translated_for_the_families_that_subnet_and_gateway_share() -> None:
    both = {**GATEWAY, "addressV6": "2001:db8::2/64", "nextHopV6": "2001:db8::1"}
    of = network(gateway=both, egressNAT=True)
    rows = nat_rows(segment(of, cidrV6="fd00:1::/64", gatewayV6="fd00:1::1"))
    inner = {row.columns["logical_ip"]: row.columns["external_ip"] for row in rows if row.table is Table.NAT}
    assert inner == {"10.1.0.0/24": "198.51.100.2", "fd00:1::/64": "2001:db8::2"}
    alone = nat_rows(segment(network(gateway=GATEWAY, egressNAT=True), cidrV6="fd00:1::/64"))
    assert [row.columns["logical_ip"] for row in alone if row.table is Table.NAT] == ["10.1.0.0/24"]
    assert nat_rows(segment(network(gateway=GATEWAY))) == []
    assert nat_rows(segment(network(egressNAT=True))) == []


def test_dhcp_tells_all_that_the_subnet_says() -> None:
    spec: dict[str, Any] = {
        "dns": ["10.1.0.53", "10.1.0.54", "fd00:1::53"],
        "dhcp": {"leaseSeconds": 600, "domain": "example.org"},
        "routes": [{"dst": "10.9.0.0/16", "via": "10.1.0.9"}],
        "cidrV6": "fd00:1::/64",
    }
    found = segment(**spec)
    rows = dhcp_rows(found)
    assert columns(rows, Table.DHCP, "subnet.sub:dhcp4") == {
        "cidr": "10.1.0.0/24",
        "options": {
            "server_id": "10.1.0.1",
            "server_mac": found.mac,
            "lease_time": "600",
            "mtu": "1400",
            "router": "10.1.0.1",
            "dns_server": "{10.1.0.53, 10.1.0.54}",
            "domain_name": '"example.org"',
            "classless_static_route": "{10.9.0.0/16,10.1.0.9, 0.0.0.0/0,10.1.0.1}",
        },
    }
    assert columns(rows, Table.DHCP, "subnet.sub:dhcp6") == {
        "cidr": "fd00:1::/64",
        "options": {"server_id": found.mac, "dns_server": "{fd00:1::53}", "domain_search": '"example.org"'},
    }


def test_dhcp_without_gateway_answers_from_an_address_that_nobody_has() -> None:
    options = columns(dhcp_rows(segment(gateway="")), Table.DHCP, "subnet.sub:dhcp4")["options"]
    assert options["server_id"] == "10.1.0.254"
    assert "router" not in options


def test_dhcp_that_is_off_is_not_there() -> None:
    assert dhcp_rows(segment(dhcp={"enabled": False})) == []


def test_a_nodes_chassis_is_the_one_it_names_or_its_server_name_or_its_own() -> None:
    specs: dict[str, dict[str, str]] = {"a": {"chassis": "c", "serverName": "s"}, "b": {"serverName": "s"}, "d": {}}
    nodes = [
        NetworkNode.parse({"metadata": {"name": name}, "spec": {"address": "x:1", **spec}})
        for name, spec in specs.items()
    ]
    assert chassis_of(nodes) == {"a": "c", "b": "s", "d": "d"}
