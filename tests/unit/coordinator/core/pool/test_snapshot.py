"""Objects with errors are named and left out."""

from typing import Any

import pytest

from coordinator.core.pool.dump import read_dump
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.snapshot import read
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


def test_a_template_with_an_error_takes_its_group_out() -> None:
    broken = node("t", taints=[{"key": "k", "effect": "Never"}])
    assert left_out(groups=[group("a", template=broken), group("b")]) == [("nodegroup a", "spec.taints[0].effect")]


def test_unknown_options_and_double_names() -> None:
    assert left_out(groups=[group("a", options={"speed": 1}), group("b"), group("b")]) == [
        ("nodegroup a", "options.speed"),
        ("nodegroup b", "name"),
    ]


def test_an_object_without_name() -> None:
    assert left_out(nodes=[{"metadata": {}}]) == [("node ", "metadata.name")]


def test_a_malformed_budget_and_volume() -> None:
    bad = budget("b", 1, {})
    bad["spec"]["selector"] = {"matchExpressions": [{"key": "a", "operator": "Like"}]}
    term = {"matchExpressions": [{"key": "a", "operator": "In"}]}
    volume = {"metadata": {"name": "v"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}}
    assert left_out(budgets=[bad], volumes=[volume]) == [
        ("persistentvolumes", "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values"),
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
