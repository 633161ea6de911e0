"""Security groups: who is in them, what cannot be read, what is dropped for whom."""

from typing import Any

import pytest

from coordinator.core.net.members import Member, MemberKind
from coordinator.core.net.policy.index import PolicyIndex
from coordinator.core.net.rows import Row, Table, ref
from coordinator.core.objects.net import SecurityGroup

Json = dict[str, Any]

POD = Member("shop.web", "shop", "web", {"app": "web"}, ("10.0.0.1",), groups=frozenset({"g"}), node="n1")
MACHINE = Member("id-1", "shop", "m", {"app": "db"}, ("10.0.0.2",), kind=MemberKind.MACHINE, groups=frozenset({"g"}))


def group(name: str = "g", **spec: Any) -> SecurityGroup:
    return SecurityGroup.parse({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})


def index(*members: Member, groups: tuple[SecurityGroup, ...] = ()) -> PolicyIndex:
    built = PolicyIndex()
    for one in groups:
        built.set_group(one)
    for member in members:
        built.set_member(member)
    return built


def set_rows(built: PolicyIndex, table: Table) -> list[Row]:
    owners = [owner for owner in sorted(built.owners()) if owner[0] == "group-set"]
    return [row for owner in owners for row in built.rows(owner) if row.table is table]


def drops(built: PolicyIndex) -> list[str]:
    """What is dropped of pods in groups, without the port group."""
    return sorted(str(row.columns["match"]).partition(" && ")[2] for row in set_rows(built, Table.ACL))


def machine_acls(built: PolicyIndex) -> list[str]:
    found = [row.columns for row in built.rows(("group", "shop/g")) if row.table is Table.ACL]
    return [f"{columns['action']} {str(columns['match']).partition(' && ')[2]}" for columns in found]


def test_a_group_that_allows_nothing_drops_everything_of_pods_at_once() -> None:
    built = index(POD, groups=(group(ingress=[]),))
    assert drops(built) == ["ip"]
    (row,) = set_rows(built, Table.ACL)
    assert (row.columns["priority"], row.columns["direction"], row.columns["action"]) == (2000, "to-lport", "drop")
    (held,) = set_rows(built, Table.PORT_GROUP)
    assert held.columns["ports"] == frozenset({ref(Table.SWITCH_PORT, "shop.web")})


def test_a_group_that_says_nothing_of_a_direction_leaves_it_open() -> None:
    built = index(POD, MACHINE, groups=(group(),))
    assert drops(built) == []
    assert machine_acls(built) == []


def test_rules_that_allow_everybody_everything_drop_nothing() -> None:
    assert drops(index(POD, groups=(group(ingress=[{}]),))) == []


def test_strangers_are_dropped_by_the_addresses_that_are_not_allowed() -> None:
    rule = {"peers": [{"cidr": "10.0.0.0/9"}], "ports": [{"protocol": "ICMP"}]}
    built = index(POD, groups=(group(ingress=[rule, {"ports": [{"port": 80, "endPort": 81}, {"protocol": "UDP"}]}]),))
    found = drops(built)
    sets = {row.key: row.columns["addresses"] for row in set_rows(built, Table.ADDRESS_SET)}
    (v4, v6) = sorted(sets)
    assert sets[v6] == frozenset({"::/1", "8000::/1"})
    held = sets[v4]
    assert isinstance(held, frozenset)
    assert "10.128.0.0/9" in held
    assert "10.0.0.0/9" not in held
    assert f"ip4.src == ${v4} && ip.proto == {{1, 58}}" in found
    assert f"ip6.src == ${v6} && ip.proto == {{1, 58}}" in found
    assert "ip.proto == 132" in found
    assert not any("== 17" in match or "udp" in match for match in found)
    assert any(match.startswith("tcp.dst == {0x0/0xffc0") for match in found)


def test_a_pod_in_two_groups_may_do_what_either_allows() -> None:
    both = Member("shop.web", "shop", "web", groups=frozenset({"g", "h"}), node="n1")
    one, other = (
        group(ingress=[{"ports": [{"protocol": "TCP"}]}]),
        group("h", ingress=[{"ports": [{"protocol": "UDP"}]}]),
    )
    found = drops(index(both, groups=(one, other)))
    assert "ip.proto == 6" not in found
    assert "ip.proto == 17" not in found
    assert "ip.proto == {1, 58}" in found


def test_a_group_without_a_word_on_a_direction_does_not_open_what_another_closes() -> None:
    both = Member("shop.web", "shop", "web", groups=frozenset({"g", "h"}), node="n1")
    assert drops(index(both, groups=(group(ingress=[]), group("h")))) == ["ip"]


def test_members_of_another_group_are_let_in_as_they_come_and_go() -> None:
    front = Member("shop.f", "shop", "f", {"app": "front"}, ("10.0.0.7",), node="n1")
    groups = (
        group(ingress=[{"peers": [{"group": "front"}]}]),
        group("front", podSelector={"matchLabels": {"app": "front"}}),
    )
    built = index(POD, groups=groups)
    (all_v4,) = [row.columns["addresses"] for row in set_rows(built, Table.ADDRESS_SET) if row.key.endswith(".4")]
    assert all_v4 == frozenset({"0.0.0.0/1", "128.0.0.0/1"})
    assert "group-set" in {kind for kind, _ in built.set_member(front)}
    (some_v4,) = [
        row.columns["addresses"]
        for row in set_rows(built, Table.ADDRESS_SET)
        if row.key.endswith(".4") and "0.0.0.0/1" not in str(row.columns["addresses"])
    ]
    assert isinstance(some_v4, frozenset)
    assert {"10.0.0.6", "10.0.0.0/30"} <= some_v4
    assert "10.0.0.7" not in some_v4


def test_machines_are_let_through_as_by_policies() -> None:
    rule = {"peers": [{"cidr": "10.0.0.0/8"}], "ports": [{"port": 22}, {"protocol": "ICMP"}]}
    built = index(MACHINE, groups=(group(ingress=[rule]),))
    assert machine_acls(built) == [
        "drop ip",
        "allow-related ip4.src == 10.0.0.0/8 && tcp.dst == 22",
        "allow-related ip4.src == 10.0.0.0/8 && ip.proto == {1, 58}",
    ]
    assert drops(built) == []


def test_a_group_that_is_named_and_not_there_lets_nothing_through_until_it_comes() -> None:
    built = index(POD, MACHINE)
    assert drops(built) == ["ip", "ip"]
    assert machine_acls(built) == ["drop ip", "drop ip"]
    assert "not there" in built.faults(("group", "shop/g"))[0].message
    touched = built.set_group(group(ingress=[{}]))
    assert {"group", "group-set"} <= {kind for kind, _ in touched}
    assert drops(built) == []
    assert built.faults(("group", "shop/g")) == []
    built.drop_group("shop/g")
    assert drops(built) == ["ip", "ip"]


def test_an_absent_group_is_forgotten_with_the_last_port_that_names_it() -> None:
    built = index(POD)
    assert ("group", "shop/g") in built.owners()
    built.drop_member("shop.web")
    assert built.owners() == set()
    assert built.faults(("group", "shop/g")) == []


def test_members_are_those_that_name_the_group_and_those_that_it_selects() -> None:
    built = index(
        POD,
        MACHINE,
        Member("shop.b", "shop", "b", {"app": "db"}),
        Member("far.c", "far", "c", {"app": "db"}, groups=frozenset({"g"})),
        groups=(group(podSelector={"matchLabels": {"app": "db"}}),),
    )
    assert built.group_members("shop/g") == {"shop.web", "id-1", "shop.b"}
    assert built.group_members("shop/unknown") == set()


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"peers": [{}]}, "spec.ingress[0].peers[0]"),
        ({"peers": [{"cidr": "10.0.0.0/8", "group": "g"}]}, "spec.ingress[0].peers[0]"),
        ({"peers": [{"group": "g", "excluded": ["10.0.0.0/8"]}]}, "spec.ingress[0].peers[0]"),
        ({"peers": [{"cidr": "ten"}]}, "spec.ingress[0].peers[0].cidr"),
        ({"peers": [{"cidr": "10.0.0.0/8", "excluded": ["11.0.0.0/8"]}]}, "spec.ingress[0].peers[0].excluded[0]"),
        ({"ports": [{"protocol": "GRE"}]}, "spec.ingress[0].ports[0].protocol"),
        ({"ports": [{"protocol": "ICMP", "port": 8}]}, "spec.ingress[0].ports[0].port"),
        ({"ports": [{"port": 90, "endPort": 80}]}, "spec.ingress[0].ports[0].endPort"),
        ({"ports": [{"endPort": 80}]}, "spec.ingress[0].ports[0].endPort"),
    ],
)
def test_a_direction_that_cannot_be_read_allows_nothing_and_the_field_is_named(rule: Json, field: str) -> None:
    built = index(POD, MACHINE, groups=(group(ingress=[rule, {}], egress=[{}]),))
    assert [fault.field for fault in built.faults(("group", "shop/g"))] == [field]
    assert drops(built) == ["ip"]
    assert machine_acls(built) == ["drop ip", "drop ip", "allow-related ip"]


def test_a_selector_that_cannot_be_read_keeps_traffic_from_everybody_and_lets_nobodys_through() -> None:
    expression = {"key": "app", "operator": "Near", "values": []}
    near = group(podSelector={"matchExpressions": [expression]}, ingress=[])
    far = group("h", ingress=[{"peers": [{"group": "g"}]}])
    built = index(
        Member("shop.x", "shop", "x", {}, ("10.0.0.3",)),
        Member("shop.y", "shop", "y", {}, ("10.0.0.4",), groups=frozenset({"h"})),
        groups=(near, far),
    )
    assert built.group_members("shop/g") == {"shop.x", "shop.y"}
    sets = [row.columns["addresses"] for row in set_rows(built, Table.ADDRESS_SET) if row.key.endswith(".4")]
    assert sets == [frozenset({"0.0.0.0/1", "128.0.0.0/1"})]
    assert [fault.field for fault in built.faults(("group", "shop/g"))] == [
        "spec.podSelector.matchExpressions[0].operator"
    ]
