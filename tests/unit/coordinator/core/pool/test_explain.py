"""Why a pod is pending, and what would help."""

from dataclasses import replace
from typing import Any

import pytest

from coordinator.core.pool.explain import PodExplanation, explain_pod
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.scaleup import GROUP_REMEDIES, Skipped
from coordinator.core.pool.snapshot import read
from proto.errors import DpuError
from tests.unit.coordinator.core.pool.objects import NOW_S, group, node, pod


def explain(key: str = "default/p", **seen: Any) -> PodExplanation:
    return explain_pod(read(Observation(NOW_S, **seen)), key, PoolOptions())


def test_the_closest_place_and_the_smallest_change_are_named() -> None:
    taint = [{"key": "only", "effect": "NoSchedule"}]
    nodes = [node("n1", "1", taints=taint), node("n2", "4", taints=taint), node("n3", "1")]
    said = explain(nodes=nodes, pods=[pod("p", "3")])
    assert said.closest == "n2"
    assert said.remedies == ("tolerate only:NoSchedule or remove it from n2",)
    assert said.sentence == "default/p fits none of 3 places; closest is n2: n2 has the taint only:NoSchedule"
    assert [len(place.refusals) for place in said.places] == [2, 1, 1]


def test_a_new_node_is_a_place_too() -> None:
    said = explain(nodes=[node("n1", "1")], pods=[pod("p", "3")], groups=[group("a")])
    assert said.sentence == "default/p fits a new node of a"


def test_a_group_that_cannot_grow_is_no_place_and_says_what_would_help() -> None:
    full = explain(nodes=[node("n1", "1")], pods=[pod("p", "3")], groups=[group("a", target=10)])
    assert full.sentence.endswith("closest is a new node of a: a has reached its maximum of 10 nodes")
    assert full.remedies == ("raise its maximum, or add servers that its rules fit",)
    unknown = explain(pods=[pod("p", "3")], groups=[replace(group("a"), template=None)])
    assert "a has no template" in unknown.sentence


def test_every_reason_of_a_group_has_a_remedy() -> None:
    assert set(GROUP_REMEDIES) == set(Skipped)


def test_a_running_pod_needs_no_explanation() -> None:
    said = explain(nodes=[node("n1")], pods=[pod("p", on="n1")])
    assert said.sentence == "default/p runs on n1"


def test_nothing_to_run_on() -> None:
    assert explain(pods=[pod("p")]).remedies == ("add a node group",)


def test_an_unknown_pod_is_not_found() -> None:
    with pytest.raises(DpuError, match="no pod default/q"):
        explain("default/q")
