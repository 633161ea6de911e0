"""What is wrong with networks and subnets, in one sentence."""

from ipaddress import ip_address
from typing import Any

import pytest

from coordinator.core.ipam.book import AddressBook, Holding, port_holder
from coordinator.core.ipam.plan import plans_of
from coordinator.core.net.standing import network_problem, subnet_problem, trespass
from coordinator.core.objects.network import Network
from proto.reasons import Reason
from tests.unit.coordinator.core.net.test_topology import GATEWAY, network, subnet


def aged(name: str, created: str, **spec: Any) -> Network:
    metadata = {"name": name, "uid": name, "creationTimestamp": created}
    return Network.parse({"metadata": metadata, "spec": {"driver": "ovn", **spec}})


OLD = aged("old", "2026-01-01T00:00:00Z", default=True)
YOUNG = aged("young", "2026-01-02T00:00:00Z", default=True)


def test_a_second_default_network_is_refused_and_the_first_is_not() -> None:
    problem = network_problem(YOUNG, [YOUNG, OLD], (), ovn=True)
    assert problem is not None
    assert (problem.reason, problem.field) == (Reason.ALREADY_EXISTS, "spec.default")
    assert "old" in str(problem)
    assert network_problem(OLD, [YOUNG, OLD], (), ovn=True) is None


@pytest.mark.parametrize(
    ("spec", "nodes", "ovn", "field"),
    [
        ({}, (), False, "spec.driver"),
        ({"egressNAT": True}, (), True, "spec.egressNAT"),
        ({"gateway": {**GATEWAY, "nextHop": "1.2.3.4"}}, ("n1",), True, "spec.gateway.nextHop"),
        ({"gateway": GATEWAY}, (), True, "spec.gateway.nodes"),
        ({"gateway": {**GATEWAY, "nodes": ["n1", "n9"]}}, ("n1",), True, "spec.gateway.nodes"),
    ],
)
def test_a_network_says_which_field_is_wrong(spec: Any, nodes: tuple[str, ...], ovn: bool, field: str) -> None:
    problem = network_problem(network(**spec), [], nodes, ovn=ovn)
    assert problem is not None
    assert problem.field == field
    assert problem.remedy


def test_a_good_network_and_one_of_bridges_have_no_problem() -> None:
    assert network_problem(network(gateway={**GATEWAY, "nodes": ["n1"]}), [], ("n1",), ovn=True) is None
    assert network_problem(network(driver="bridge"), [], (), ovn=False) is None


def test_a_subnet_says_what_ovn_cannot_do() -> None:
    without = subnet_problem(subnet(), network(), ovn=False)
    assert without is not None
    assert "no OVN is configured" in str(without)
    wrong = subnet_problem(subnet(cidrV6="nonsense"), network(), ovn=True)
    assert wrong is not None
    assert wrong.field == "spec.cidrV6"
    assert subnet_problem(subnet(), network(), ovn=True) is None
    assert subnet_problem(subnet(), network(driver="bridge"), ovn=False) is None


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"gateway": "10.1.0.9"}, "spec.gateway"),
        ({"probeAddress": "10.1.0.9"}, "spec.probeAddress"),
        ({"cidrV6": "fd00::/64", "gatewayV6": "fd00::9"}, "spec.gatewayV6"),
        ({"cidr": "fd00::/64", "gateway": "fd00::9"}, "spec.gateway"),
        ({}, ""),
    ],
)
def test_a_subnet_whose_gateway_or_probe_somebody_has_names_the_field_and_who(spec: Any, field: str) -> None:
    held = Holding(
        holder=port_holder("shop/web"),
        words="pod shop/web",
        network="net",
        mac="0a:00:00:00:00:01",
        subnet="sub",
        addresses=(ip_address("10.1.0.9"), ip_address("fd00::9")),
    )
    book = AddressBook()
    book.hold(held)
    plans = plans_of(subnet(**spec).spec)
    problem = trespass("sub", plans, book)
    assert (problem.field if problem else "") == field
    assert problem is None or "pod shop/web" in problem.message
    assert trespass("other", plans, book) is None
