"""What the index says is touched, and what the rows look like that it makes."""

from collections import Counter
from typing import Any

import pytest

from coordinator.core.net.members import Member, MemberKind
from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.net.policy.model import GroupScope, Owner
from coordinator.core.net.policy.views import View
from coordinator.core.net.rows import Row, Table, ref
from coordinator.core.objects.net import SecurityGroup
from coordinator.core.pool.selectors import Selector

WEB = Member("shop.web", "shop", "web", {"app": "web"}, ("10.0.0.1", "fd00::1"), {"http": (("TCP", 8080),)}, node="n1")
POLICY = ("policy", "shop/p")


def index(*members: Member) -> PolicyIndex:
    built = PolicyIndex()
    built.set_namespace("shop", {"team": "a"})
    for member in members:
        built.set_member(member)
    return built


def policy(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"podSelector": {}} | spec}


def rows(built: PolicyIndex, table: Table) -> list[Row]:
    return [row for owner in sorted(built.owners()) for row in built.rows(owner) if row.table is table]


def matches(built: PolicyIndex, owner: Owner = POLICY) -> list[str]:
    found = [row.columns for row in built.rows(owner) if row.table is Table.ACL]
    allowed = [str(columns["match"]) for columns in found if columns["action"] == "allow-related"]
    return [match.partition(" && ")[2] for match in allowed]


def kinds(touched: set[Owner]) -> list[str]:
    return sorted(kind for kind, _ in touched)


def test_nothing_is_wanted_without_policies_and_groups() -> None:
    built = index(WEB)
    assert built.owners() == set()
    assert built.set_node("n1", ["192.168.0.1"]) == set()


def test_a_first_policy_brings_what_passes_always_and_the_last_takes_it_away() -> None:
    built = index(WEB)
    assert kinds(built.set_policy(policy())) == ["policy", "policy-node", "policy-pods"]
    assert kinds(built.drop_policy("shop/p")) == ["policy", "policy-node", "policy-pods"]
    assert built.owners() == set()
    assert built.rows(("policy-node", "n1")) == []


def test_a_policy_that_says_the_same_as_before_touches_nothing() -> None:
    built = index(WEB)
    built.set_policy(policy())
    assert built.set_policy(policy()) == set()
    assert built.set_member(WEB) == set()
    assert built.set_namespace("shop", {"team": "a"}) == set()
    assert built.drop_policy("shop/unknown") == set()
    assert built.drop_member("shop.unknown") == set()
    assert built.drop_namespace("unknown") == set()


def test_two_policies_for_the_same_pods_share_the_port_group_and_its_drop() -> None:
    built = index(WEB)
    built.set_policy(policy())
    other = policy(ingress=[{}])
    other["metadata"]["name"] = "q"
    assert kinds(built.set_policy(other)) == ["policy"]
    drops = [row for row in rows(built, Table.ACL) if row.columns["action"] == "drop"]
    assert len(drops) == 2
    assert drops[0] == drops[1]


def test_a_pod_that_comes_changes_sets_and_no_acl() -> None:
    built = index()
    built.set_policy(policy(ingress=[{"from": [{"podSelector": {}}]}]))
    assert kinds(built.set_member(WEB)) == ["policy-node", "policy-peers", "policy-pods"]
    held = {row.key: row.columns["addresses"] for row in rows(built, Table.ADDRESS_SET) if row.key.startswith("peers")}
    assert sorted(held.values(), key=str) == [frozenset({"10.0.0.1"}), frozenset({"fd00::1"})]


def test_a_pod_that_calls_another_number_so_brings_a_port_group_and_acls_for_it() -> None:
    built = index(WEB)
    built.set_policy(policy(ingress=[{"ports": [{"port": "http"}]}]))
    assert matches(built) == ["tcp.dst == 8080"]
    other = Member("shop.two", "shop", "two", named_ports={"http": (("TCP", 9090), ("UDP", 53))}, node="n1")
    assert "policy" in kinds(built.set_member(other))
    assert matches(built) == ["tcp.dst == 8080", "tcp.dst == 9090"]
    third = Member("shop.three", "shop", "three", named_ports={"http": (("TCP", 9090),)}, node="n1")
    assert "policy" not in kinds(built.set_member(third))
    assert "policy" not in kinds(built.drop_member("shop.two"))
    assert "policy" in kinds(built.drop_member("shop.three"))
    assert matches(built) == ["tcp.dst == 8080"]


def test_a_named_port_to_addresses_is_of_the_pods_that_have_them() -> None:
    built = index(WEB)
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.0/30"}}], "ports": [{"port": "http"}]}
    built.set_policy(policy(policyTypes=["Egress"], egress=[rule]))
    assert len(matches(built)) == 2
    sets = {row.key: row.columns["addresses"] for row in rows(built, Table.ADDRESS_SET) if row.key.startswith("peers")}
    assert set(sets.values()) == {frozenset({"10.0.0.1"}), frozenset()}


def test_a_namespace_whose_labels_are_not_known_is_found_by_no_selector() -> None:
    built = index(WEB)
    far = Member("far.x", "far", "x", {}, ("10.0.0.9",))
    built.set_member(far)
    expression = {"key": "team", "operator": "NotIn", "values": ["a"]}
    peer = {"namespaceSelector": {"matchExpressions": [expression]}}
    built.set_policy(policy(ingress=[{"from": [peer]}]))
    sets = [row for row in rows(built, Table.ADDRESS_SET) if row.key.startswith("peers")]
    assert all(row.columns["addresses"] == frozenset() for row in sets)
    assert kinds(built.set_namespace("far", {})) == ["policy-peers"]
    assert kinds(built.set_namespace("far", {"team": "a"})) == ["policy-peers"]
    assert kinds(built.drop_namespace("far")) == []


def test_the_label_with_a_namespaces_name_is_there_also_when_the_server_gave_none() -> None:
    built = index(WEB)
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}
    built.set_policy(policy(ingress=[{"from": [peer]}]))
    sets = [row.columns["addresses"] for row in rows(built, Table.ADDRESS_SET) if row.key.startswith("peers")]
    assert frozenset({"10.0.0.1"}) in sets


def test_ports_of_other_attachments_are_selected_by_no_policy_and_are_no_peers() -> None:
    side = Member("shop.web-net1", "shop", "web", {"app": "web"}, ("10.7.0.1",), primary=False, node="n1")
    built = index(side)
    built.set_policy(policy(ingress=[{"from": [{"podSelector": {}}]}]))
    groups = [row for row in rows(built, Table.PORT_GROUP) if row.key.startswith("pods")]
    assert all(row.columns["ports"] == frozenset() for row in groups)


def test_a_pod_that_ovn_does_not_forward_for_is_a_peer_and_is_not_selected() -> None:
    outside = Member("shop.old", "shop", "old", {}, ("10.0.0.7",), switched=False, node="n1")
    built = index(outside)
    built.set_policy(policy(ingress=[{"from": [{"podSelector": {}}]}]))
    assert all(row.columns["ports"] == frozenset() for row in rows(built, Table.PORT_GROUP))
    assert any(row.columns["addresses"] == frozenset({"10.0.0.7"}) for row in rows(built, Table.ADDRESS_SET))


def test_everybody_of_a_family_is_matched_without_addresses() -> None:
    built = index(WEB)
    built.set_policy(policy(ingress=[{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"protocol": "UDP"}]}]))
    assert matches(built) == ["ip4 && udp"]


def test_what_cannot_be_read_is_told_until_it_is_put_right() -> None:
    built = index(WEB)
    built.set_policy(policy(ingress=[{"from": [{}]}]))
    assert [fault.field for fault in built.faults(POLICY)] == ["spec.ingress[0].from[0]"]
    built.set_policy(policy())
    assert built.faults(POLICY) == []
    built.set_policy(policy(ingress=[{"from": [{}]}]))
    built.drop_policy("shop/p")
    assert built.faults(POLICY) == []


def test_machines_may_ask_for_their_address_whatever_their_groups_say() -> None:
    machine = Member("id-1", "shop", "m", {}, ("10.0.0.8",), kind=MemberKind.MACHINE, groups=frozenset({"g"}))
    built = index(machine)
    built.set_group(SecurityGroup.parse({"metadata": {"name": "g", "namespace": "shop"}, "spec": {"egress": []}}))
    found = matches(built, ("policy-node", ""))
    assert found == ["udp.src == 68 && udp.dst == 67", "udp.src == 546 && udp.dst == 547"]


def test_a_nodes_addresses_pass_both_ways_for_its_own_pods() -> None:
    built = index(WEB)
    built.set_policy(policy())
    assert built.set_node("n1", ["192.168.0.1"]) == {("policy-node", "n1")}
    assert built.set_node("n1", ["192.168.0.1"]) == set()
    (group,) = [row for row in built.rows(("policy-node", "n1")) if row.table is Table.PORT_GROUP]
    assert group.columns["ports"] == frozenset({ref(Table.SWITCH_PORT, "shop.web")})
    assert len([match for match in matches(built, ("policy-node", "n1")) if "$" in match]) == 4
    assert built.set_node("n1", []) == {("policy-node", "n1")}


MANY = 40


def test_of_what_a_nodes_status_says_only_addresses_pass() -> None:
    built = index(WEB)
    built.set_policy(policy())
    built.set_node("n1", ["192.168.0.1", "0.0.0.0/0", "host.example", "fe80::1%eth0", "FD00::7", ""])
    held = {
        str(row.columns["addresses"]) for row in built.rows(("policy-node", "n1")) if row.table is Table.ADDRESS_SET
    }
    assert held == {"frozenset({'192.168.0.1'})", "frozenset({'fd00::7'})"}


def neighbours(labelled: bool) -> PolicyIndex:
    """Many namespaces, each of which lets in one other by its own policy."""
    built = PolicyIndex()
    for number in range(MANY):
        built.set_namespace(f"ns-{number}", {"number": str(number)})
    for number in range(MANY):
        wanted = {"operator": "In", "key": "number", "values": [str(number), "x"]}
        chosen = {"matchLabels": {"number": str(number)}} if labelled else {"matchExpressions": [wanted]}
        made = policy(ingress=[{"from": [{"namespaceSelector": chosen}]}])
        built.set_policy(made | {"metadata": {"name": "p", "namespace": f"ns-{number}"}})
    return built


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often selectors, and views, look at something."""
    counted: Counter[str] = Counter()
    matches, put = Selector.matches, View.put

    def counting_matches(self: Selector, labels: Any) -> bool:
        counted["matches"] += 1
        return matches(self, labels)

    def counting_put(self: View, port_id: str, member: Member | None) -> tuple[bool, bool]:
        counted["put"] += 1
        return put(self, port_id, member)

    monkeypatch.setattr(Selector, "matches", counting_matches)
    monkeypatch.setattr(View, "put", counting_put)
    return counted


def test_a_namespace_that_changes_is_looked_at_once_by_each_view_and_no_other_is(calls: Counter[str]) -> None:
    built = neighbours(labelled=False)
    calls.clear()
    assert built.set_namespace("ns-1", {"number": "2"}) == set()
    assert calls["matches"] <= MANY


def test_a_policy_looks_at_namespaces_with_its_label_alone(calls: Counter[str]) -> None:
    neighbours(labelled=True)
    assert calls["matches"] <= 2 * MANY


def test_a_pod_that_comes_is_looked_at_by_views_of_its_namespace_alone(calls: Counter[str]) -> None:
    built = neighbours(labelled=True)
    calls.clear()
    touched = built.set_member(Member("ns-1.web", "ns-1", "web", addresses=("10.0.0.1",)))
    assert calls["put"] == len(touched & {*built.owners()} - {("policy-node", "?")}) == 2


def test_a_group_that_changes_is_asked_about_each_member_once_and_no_other_group_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def group(name: str, **spec: Any) -> SecurityGroup:
        meta = {"name": name, "namespace": "shop"}
        return SecurityGroup.parse({"metadata": meta, "spec": {"podSelector": {"matchLabels": {"app": name}}} | spec})

    built = index()
    for number in range(MANY):
        built.set_member(Member(f"shop.{number}", "shop", f"{number}", {"app": f"g-{number}"}))
        built.set_group(group(f"g-{number}"))
    asked: list[str] = []
    takes = GroupScope.takes

    def counting(self: GroupScope, member: Member) -> bool:
        asked.append(self.name)
        return takes(self, member)

    monkeypatch.setattr(GroupScope, "takes", counting)
    built.set_group(group("g-1", ingress=[]))
    assert asked == ["g-1"] * MANY
    monkeypatch.undo()
    built.set_group(group("g-1", podSelector={"matchLabels": {"app": "g-2"}}))
    assert (built.group_members("shop/g-1"), built.group_members("shop/g-2")) == ({"shop.2"}, {"shop.2"})
