"""Objects with errors are named and left out."""

from typing import Any

import pytest

from coordinator.core.pool.dump import read_dump
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.snapshot import Known, read
from proto.errors import DpuError
from tests.unit.coordinator.core.pool.objects import NOW_S, budget, group, node, pod


def left_out(**seen: Any) -> list[tuple[str, str]]:
    return [(one.name, one.field) for one in read(Observation(NOW_S, **seen)).bad]


def test_negative_sizes_and_unknown_units() -> None:
    assert left_out(nodes=[node("n1", "-4")], pods=[pod("p", memory="1Q")], groups=[group("a", target=-1)]) == [
        ("node n1", "status.capacity.cpu"),
        ("nodegroup a", "target"),
        ("pod default/p", "spec.containers[0].resources.requests.memory"),
    ]


def test_a_group_whose_template_has_an_error_cannot_grow_and_is_still_there() -> None:
    broken = node("t", taints=[{"key": "k", "effect": "Never"}])
    snapshot = read(Observation(NOW_S, groups=[group("a", template=broken), group("b")]))
    assert [(one.name, one.field) for one in snapshot.bad] == [("nodegroup a", "template.spec.taints[0].effect")]
    assert [one.template is None for one in snapshot.groups] == [True, False]


def test_unknown_options_and_double_names() -> None:
    assert left_out(groups=[group("a", options={"speed": 1}), group("b"), group("b")]) == [
        ("nodegroup a", "options.speed"),
        ("nodegroup b", "name"),
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"spec": "oops"}, "spec"),
        ({"spec": {"containers": [3]}}, "spec.containers[0]"),
        ({"spec": {"priority": "high"}}, "spec.priority"),
        ({"spec": {"terminationGracePeriodSeconds": "x"}}, "spec.terminationGracePeriodSeconds"),
        ({"spec": {"volumes": [{"name": "v", "emptyDir": 3}]}}, "spec.volumes[0].emptyDir"),
        ({"spec": {"nodeSelector": {"disk": 3}}}, "spec.nodeSelector.disk"),
        ({"status": []}, "status"),
    ],
)
def test_a_pod_with_a_field_of_the_wrong_type_is_left_out_by_field(change: dict[str, Any], field: str) -> None:
    assert left_out(pods=[pod("p") | change, pod("q")]) == [("pod default/p", field)]


def test_other_objects_with_a_field_of_the_wrong_type_are_left_out_by_field() -> None:
    listed, many = node("n1"), budget("b", 1, {})
    listed["metadata"]["labels"] = ["a"]
    many["status"]["disruptionsAllowed"] = "many"
    replicas = controller("c", "") | {"spec": {"replicas": "x"}}
    negative = controller("d", "") | {"spec": {"replicas": -1}}
    assert left_out(nodes=[listed], budgets=[many], controllers=[replicas, negative]) == [
        ("controller ReplicaSet default/c", "spec.replicas"),
        ("controller ReplicaSet default/d", "spec.replicas"),
        ("node n1", "metadata.labels"),
        ("poddisruptionbudget default/b", "status.disruptionsAllowed"),
    ]


def test_of_two_objects_with_one_name_one_is_read_the_same_in_any_order() -> None:
    nodes = [node("n1", "4"), node("n1", "8"), node("n2")]
    found = [read(Observation(NOW_S, nodes=listed)) for listed in (nodes, nodes[::-1])]
    assert found[0] == found[1]
    assert [one.name for one in found[0].nodes] == ["n1", "n2"]
    assert [(one.name, one.message) for one in found[0].bad] == [("node n1", "the name is taken")]


def test_a_node_that_two_groups_claim_belongs_to_the_first() -> None:
    seen = Observation(NOW_S, nodes=[node("n1")], groups=[group("b", ["n1"]), group("a", ["n1"])])
    snapshot = read(seen)
    assert snapshot.nodes[0].group == "a"
    assert [(one.name, one.field) for one in snapshot.bad] == [("nodegroup b", "nodes")]


def test_a_pod_that_owns_itself_is_left_out_and_its_node_stays_as_it_is() -> None:
    ring = pod("p", on="n1")
    ring["metadata"] |= {"uid": "u1"}
    ring["metadata"]["ownerReferences"] = [{"kind": "Pod", "name": "p", "uid": "u1", "controller": True}]
    snapshot = read(Observation(NOW_S, nodes=[node("n1")], pods=[ring]))
    assert [(one.name, one.field) for one in snapshot.bad] == [("pod default/p", "metadata.ownerReferences")]
    assert snapshot.unread == {"n1": "default/p"}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"unneeded_s": "x"}, "options.unneeded_s"),
        ({"unready_s": -1}, "options.unready_s"),
        ({"zero_or_max": 3}, "options.zero_or_max"),
    ],
)
def test_options_of_a_group_are_of_their_type(options: dict[str, Any], field: str) -> None:
    assert left_out(groups=[group("a", options=options)]) == [("nodegroup a", field)]


def test_an_object_without_name() -> None:
    assert left_out(nodes=[{"metadata": {}}]) == [("node ", "metadata.name")]


def test_a_malformed_budget_and_volume() -> None:
    bad = budget("b", 1, {})
    bad["spec"]["selector"] = {"matchExpressions": [{"key": "a", "operator": "Like"}]}
    term = {"matchExpressions": [{"key": "a", "operator": "In"}]}
    volume = {"metadata": {"name": "v"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}}
    assert left_out(budgets=[bad], volumes=[volume]) == [
        ("persistentvolume v", "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values"),
        ("poddisruptionbudget default/b", "spec.selector.matchExpressions[0].operator"),
    ]


def controller(name: str, owner: str) -> dict[str, Any]:
    ref = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}
    metadata = {"name": name, "namespace": "default", "uid": name, "ownerReferences": [ref] if owner else []}
    return {"kind": "ReplicaSet", "metadata": metadata, "spec": {"replicas": 2}}


def test_owners_in_a_circle_are_named_and_others_kept() -> None:
    things = [controller("a", "b"), controller("b", "a"), controller("c", ""), controller("d", "c")]
    snapshot = read(Observation(NOW_S, controllers=things))
    assert [one.name for one in snapshot.bad] == [
        "controller ReplicaSet default/a",
        "controller ReplicaSet default/b",
    ]
    assert sorted(name for _, _, name in snapshot.controllers or {}) == ["c", "d"]


def test_pods_that_have_not_changed_are_not_read_again_and_others_are() -> None:
    known, kept, old = Known(), pod("kept"), pod("changed", "1")
    first = read(Observation(NOW_S, pods=[kept, old]), known)
    seen = Observation(NOW_S, pods=[kept, pod("changed", "2"), pod("new")])
    second = read(seen, known)
    assert second == read(seen)
    assert second.pods[1] is first.pods[1]
    assert [one.shape.request("cpu") for one in second.pods] == [2000, 1000, 1000]
    assert second.pods[1].shape is second.pods[2].shape


def test_a_dump_is_sorted_by_kind() -> None:
    things = [
        {"kind": "Node", **node("n1")},
        {"kind": "Pod", **pod("p", on="n1")},
        {"kind": "PodDisruptionBudget", **budget("b", 1, {"app": "web"})},
        controller("c", ""),
        {"kind": "Secret", "metadata": {"name": "s"}},
    ]
    snapshot = read(read_dump({"kind": "List", "items": things}, NOW_S, [group("a", ["n1"])]))
    assert (len(snapshot.nodes), len(snapshot.pods), len(snapshot.budgets)) == (1, 1, 1)
    assert snapshot.nodes[0].group == "a"
    assert snapshot.controllers is not None
    assert snapshot.bad == ()
    assert read_dump([], NOW_S).controllers is None


@pytest.mark.parametrize("dump", [{}, "text", [1], {"items": 3}])
def test_what_is_no_dump_is_refused(dump: Any) -> None:
    with pytest.raises(DpuError, match="no list of objects"):
        read_dump(dump, NOW_S)
