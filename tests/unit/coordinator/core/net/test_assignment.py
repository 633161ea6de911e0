"""What a node's daemon is told of a port, and the number by which newer goes before older."""

from typing import Any

from coordinator.core.net.assignment import assignment_of
from coordinator.core.objects.net import Port
from coordinator.core.objects.network import Network, Subnet


def port(generation: int = 1, epoch: int = 1_780_000_000_000, **spec: Any) -> Port:
    meta = {"name": "web-eth0", "namespace": "shop", "generation": generation}
    given = {
        "podRef": {"name": "web", "uid": "u"},
        "node": "node-1",
        "networkRef": {"name": "pods"},
        "subnetRef": {"name": "a"},
        "mac": "0a:58:00:00:00:01",
        "addresses": [{"cidr": "10.1.0.2/24", "gateway": "10.1.0.1"}],
        "epoch": epoch,
    }
    return Port.parse({"metadata": meta, "spec": given | spec})


def subnet(generation: int = 1, **spec: Any) -> Subnet:
    meta = {"name": "a", "generation": generation}
    return Subnet.parse({"metadata": meta, "spec": {"networkRef": {"name": "pods"}, "cidr": "10.1.0.0/24"} | spec})


def network(generation: int = 1, **spec: Any) -> Network:
    return Network.parse({"metadata": {"name": "pods", "generation": generation}, "spec": spec})


def test_bridges_and_vlans_are_told_of_networks_without_ovn_alone() -> None:
    plain = assignment_of(port(), subnet(dns=["10.1.0.53"]), network(bridge="br-x", vlan=7))
    assert (plain.port_id, plain.bridge, plain.vlan, plain.wait_for_ovn) == ("shop.web-eth0", "br-x", 7, False)
    assert plain.dns == ("10.1.0.53",)
    routed = assignment_of(
        port(), subnet(routes=[{"dst": "10.0.0.0/8", "via": "10.1.0.1"}]), network(driver="ovn", vlan=7)
    )
    assert (routed.bridge, routed.vlan, routed.wait_for_ovn) == ("", 0, True)
    assert routed.routes[0].dst == "10.0.0.0/8"


def test_every_change_of_what_is_told_has_a_higher_generation() -> None:
    first = assignment_of(port(), subnet(), network()).generation
    assert assignment_of(port(2), subnet(), network()).generation > first
    assert assignment_of(port(), subnet(2), network()).generation > first
    assert assignment_of(port(), subnet(), network(2)).generation > first


def test_a_later_port_of_the_name_goes_before_every_change_of_the_earlier() -> None:
    changed = assignment_of(port(10_000), subnet(10_000), network(10_000)).generation
    later = assignment_of(port(1, 1_780_000_000_001), subnet(), network()).generation
    assert changed < later < 2**63
