"""NetworkPolicies are read as Kubernetes means them; what cannot be read lets nothing through, and says which field."""

from typing import Any

import pytest

from coordinator.core.net.policy.model import (
    EVERYTHING,
    BlockScope,
    NamedPort,
    PodScope,
    Policy,
    Ports,
    Protocol,
    Rule,
)
from coordinator.core.net.policy.parse import parse_policy
from coordinator.core.net.policy.spans import Family, cidrs, networks
from proto.errors import DpuError

Json = dict[str, Any]


def parse(**spec: Any) -> tuple[Policy, list[DpuError]]:
    return parse_policy({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec})


def read(**spec: Any) -> Policy:
    policy, faults = parse(**spec)
    assert faults == []
    return policy


def test_a_policy_without_types_isolates_ingress_and_egress_only_when_it_has_egress_rules() -> None:
    assert (read().ingress, read().egress) == ((), None)
    assert read(egress=[]).egress is None
    assert read(egress=[{}]) == Policy(("policy", "shop/p"), PodScope(EVERYTHING, namespace="shop"), (), (Rule(),))


def test_types_that_are_given_decide_alone() -> None:
    policy = read(policyTypes=["Egress"], ingress=[{}])
    assert (policy.ingress, policy.egress) == (None, ())


def test_a_missing_spec_is_an_empty_one() -> None:
    policy, faults = parse_policy({"metadata": {"name": "p", "namespace": "shop"}})
    assert faults == []
    assert (policy.ingress, policy.egress) == ((), None)


def test_peers_are_pods_here_pods_of_chosen_namespaces_or_addresses() -> None:
    label = {"matchLabels": {"app": "web"}}
    here: Json = {"podSelector": label}
    there: Json = {"namespaceSelector": {}}
    both: Json = {"namespaceSelector": {}, "podSelector": label}
    block: Json = {"ipBlock": {"cidr": "10.0.0.7/8", "except": ["10.0.0.0/9"]}}
    (rule,) = read(ingress=[{"from": [here, there, both, block, here]}]).ingress or ()
    mine, every, chosen, addresses = rule.peers
    assert isinstance(mine, PodScope)
    assert (mine.namespace, str(mine.pods.requirements[0])) == ("shop", "app In web")
    assert every == PodScope(EVERYTHING, namespaces=EVERYTHING)
    assert chosen == PodScope(mine.pods, namespaces=EVERYTHING)
    assert isinstance(addresses, BlockScope)
    assert cidrs(addresses.networks.v4, Family.V4) == ["10.128.0.0/9"]


def test_ports_are_numbers_ranges_names_or_all_of_a_protocol() -> None:
    ports: list[Json] = [
        {"port": 80},
        {"port": 80, "endPort": 90, "protocol": "UDP"},
        {"port": "http"},
        {"protocol": "SCTP"},
        {},
    ]
    (rule,) = read(ingress=[{"ports": ports}]).ingress or ()
    assert rule.ports == (
        Ports(Protocol.TCP, 80, 80),
        Ports(Protocol.UDP, 80, 90),
        NamedPort(Protocol.TCP, "http"),
        Ports(Protocol.SCTP),
        Ports(Protocol.TCP),
    )


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"from": [{}]}, "spec.ingress[0].from[0]"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}, "spec.ingress[0].from[0]"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}, "spec.ingress[0].from[0].ipBlock.cidr"),
        ({"from": [{"ipBlock": {"cidr": "all"}}]}, "spec.ingress[0].from[0].ipBlock.cidr"),
        (
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}]},
            "spec.ingress[0].from[0].ipBlock.except[0]",
        ),
        (
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["fd00::/64"]}}]},
            "spec.ingress[0].from[0].ipBlock.except[0]",
        ),
        ({"from": [{"fqdn": "example.org"}]}, "spec.ingress[0].from[0].fqdn"),
        ({"from": {}}, "spec.ingress[0].from"),
        ({"to": []}, "spec.ingress[0].to"),
        ({"port": 80}, "spec.ingress[0].port"),
        ({"ports": [{"protocol": "ICMP"}]}, "spec.ingress[0].ports[0].protocol"),
        ({"ports": [{"port": "80"}]}, "spec.ingress[0].ports[0].port"),
        ({"ports": [{"port": 0}]}, "spec.ingress[0].ports[0].port"),
        ({"ports": [{"port": True}]}, "spec.ingress[0].ports[0].port"),
        ({"ports": [{"port": 90, "endPort": 80}]}, "spec.ingress[0].ports[0].endPort"),
        ({"ports": [{"port": "http", "endPort": 80}]}, "spec.ingress[0].ports[0].endPort"),
        ({"ports": [{"endPort": 80}]}, "spec.ingress[0].ports[0].endPort"),
        (
            {"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}]},
            "spec.ingress[0].from[0].podSelector.matchExpressions",
        ),
        ({"from": [{"podSelector": {"matchLabels": {"a": 1}}}]}, "spec.ingress[0].from[0].podSelector.matchLabels.a"),
        ({"from": [{"podSelector": {"labels": {}}}]}, "spec.ingress[0].from[0].podSelector.labels"),
    ],
)
def test_a_direction_with_a_part_that_cannot_be_read_allows_nothing_and_leaves_the_other_alone(
    rule: Json, field: str
) -> None:
    policy, faults = parse(policyTypes=["Ingress", "Egress"], ingress=[{}, rule][::-1], egress=[{}])
    assert [fault.field for fault in faults] == [field]
    assert all(fault.remedy for fault in faults)
    assert (policy.ingress, policy.egress) == ((), (Rule(),))


@pytest.mark.parametrize(("types", "field"), [(["Outgress"], "spec.policyTypes[0]"), ("Ingress", "spec.policyTypes")])
def test_both_directions_are_isolated_when_it_cannot_be_read_which_are_meant(types: Any, field: str) -> None:
    policy, faults = parse(policyTypes=types, ingress=[{}])
    assert [fault.field for fault in faults] == [field]
    assert (policy.ingress, policy.egress) == ((Rule(),), ())


def test_both_directions_are_denied_when_a_field_beside_the_rules_is_unknown() -> None:
    policy, faults = parse(ingres=[{}], ingress=[{}], egress=[{}])
    assert [fault.field for fault in faults] == ["spec.ingres"]
    assert (policy.ingress, policy.egress) == ((), ())


def test_every_pod_of_the_namespace_is_selected_when_it_cannot_be_read_which_are() -> None:
    policy, faults = parse(podSelector={"matchExpressions": [{"key": "a", "operator": "Near"}]}, ingress=[])
    assert [fault.field for fault in faults] == ["spec.podSelector.matchExpressions[0].operator"]
    assert policy.selects == PodScope(EVERYTHING, namespace="shop")


def test_a_spec_that_is_none_denies_the_whole_namespace() -> None:
    policy, faults = parse_policy({"metadata": {"name": "p", "namespace": "shop"}, "spec": []})
    assert [fault.field for fault in faults] == ["spec"]
    assert (policy.ingress, policy.egress) == ((), ())


def test_a_block_may_be_all_addresses_and_lose_all_of_them() -> None:
    block = {"cidr": "::/0", "except": ["::/1", "8000::/1"]}
    (rule,) = read(ingress=[{"from": [{"ipBlock": block}]}]).ingress or ()
    assert rule.peers == (BlockScope(networks([])),)
