"""Each filter refuses with a sentence that names the node, and a remedy."""

from typing import Any

import pytest

from coordinator.core.pool.arena import Arena
from coordinator.core.pool.parse_objects import parse_node, parse_pod
from coordinator.core.pool.predicates import Filter, Predicates
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.selectors import parse_node_terms
from tests.unit.coordinator.core.pool.objects import node, pod


def arena(*nodes: dict[str, Any]) -> Arena:
    return Arena(parse_node(thing) for thing in nodes)


def shape(cpu: str = "1", **more: Any) -> PodShape:
    return parse_pod(pod("p", cpu, **more)).shape


def spec_with(kind: str, key: str, app: str = "web") -> dict[str, Any]:
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


@pytest.mark.parametrize(
    ("thing", "wanted", "expected"),
    [
        (node("n1"), shape("5"), Filter.RESOURCES),
        (node("n1", amounts={"pods": "0"}), shape(), Filter.RESOURCES),
        (node("n1"), parse_pod(pod("p", spec={"nodeSelector": {"gpu": "yes"}})).shape, Filter.NODE_AFFINITY),
        (node("n1", taints=[{"key": "only", "effect": "NoSchedule"}]), shape(), Filter.TAINT),
        (node("n1", unschedulable=True), shape(), Filter.UNSCHEDULABLE),
        (node("n1"), shape(spec=spec_with("podAffinity", "zone")), Filter.AFFINITY),
    ],
)
def test_the_reason_is_named(thing: dict[str, Any], wanted: PodShape, expected: Filter) -> None:
    place = arena(thing)
    (refusal,) = Predicates(place).refusals(wanted, 0)
    assert refusal.filter is expected
    assert "n1" in refusal.sentence
    assert refusal.remedy


def test_a_soft_taint_refuses_nobody() -> None:
    soft = node("n1", taints=[{"key": "rather-not", "effect": "PreferNoSchedule"}])
    assert Predicates(arena(soft)).refusals(shape(), 0) == []


def test_an_extended_resource_that_no_node_has_is_missing() -> None:
    container = {"resources": {"requests": {"nvidia.com/gpu": "1"}}}
    wanted = parse_pod(pod("p", spec={"containers": [container]})).shape
    place = arena(node("n1"), node("n2", amounts={"nvidia.com/gpu": "2"}))
    predicates = Predicates(place)
    assert predicates.feasible(wanted).tolist() == [False, True]
    assert predicates.room(wanted).tolist() == [0, 2]
    assert predicates.refusals(wanted, 0)[0].sentence == "n1 has 0 nvidia.com/gpu free, the pod needs 1"


def test_a_volume_keeps_the_pod_in_its_zone() -> None:
    terms = parse_node_terms([{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["x"]}]}], "terms")
    wanted = parse_pod(pod("p"), volume_terms=(terms,)).shape
    predicates = Predicates(arena(node("n1", labels={"zone": "x"}), node("n2", labels={"zone": "y"})))
    assert predicates.feasible(wanted).tolist() == [True, False]
    assert predicates.refusals(wanted, 1)[0].filter is Filter.VOLUME


def test_the_first_pod_of_an_affine_group_may_go_anywhere_with_the_label() -> None:
    place = arena(node("n1", labels={"zone": "x"}), node("n2", labels={"zone": "x"}), node("n3"))
    predicates = Predicates(place)
    wanted = parse_pod(pod("p", spec=spec_with("podAffinity", "zone"))).shape
    assert predicates.feasible(wanted).tolist() == [True, True, False]
    place.put(wanted, 0)
    assert predicates.feasible(wanted).tolist() == [True, True, False]
    assert predicates.refusals(wanted, 2)[0].filter is Filter.AFFINITY


def test_anti_affinity_works_both_ways() -> None:
    place = arena(node("n1", labels={"zone": "x"}), node("n2", labels={"zone": "x"}), node("n3", labels={"zone": "y"}))
    predicates = Predicates(place)
    loner = parse_pod(pod("a", labels={"app": "loner"}, spec=spec_with("podAntiAffinity", "zone"))).shape
    web = shape()
    place.put(loner, 0)
    assert predicates.feasible(web).tolist() == [False, False, True]
    assert predicates.refusals(web, 1)[0].filter is Filter.ANTI_AFFINITY
    place.put(loner, 0, -1)
    place.put(web, 2)
    assert predicates.feasible(loner).tolist() == [True, True, False]


def test_spread_counts_domains_without_pods_and_fewer_than_the_minimum_as_empty() -> None:
    constraint: dict[str, Any] = {"maxSkew": 1, "topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}
    place = arena(node("n1", labels={"zone": "x"}), node("n2", labels={"zone": "y"}), node("n3"))
    predicates = Predicates(place)
    wanted = parse_pod(pod("p", spec={"topologySpreadConstraints": [constraint]})).shape
    place.put(wanted, 0)
    assert predicates.feasible(wanted).tolist() == [False, True, False]
    place.put(wanted, 1)
    assert predicates.feasible(wanted).tolist() == [True, True, False]
    more = parse_pod(pod("p", spec={"topologySpreadConstraints": [{**constraint, "minDomains": 3}]})).shape
    assert predicates.feasible(more).tolist() == [False, False, False]
    assert predicates.refusals(more, 0)[0].sentence == "n1 would exceed skew 1 over zone"


def test_a_closed_node_still_counts_as_a_domain() -> None:
    constraint = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
    place = arena(node("n1"), node("n2"))
    predicates = Predicates(place)
    wanted = parse_pod(pod("p", spec={"topologySpreadConstraints": [constraint]})).shape
    place.put(wanted, 0)
    place.close(1)
    assert predicates.feasible(wanted).tolist() == [False, False]
    assert [one.filter for one in predicates.refusals(wanted, 1)] == [Filter.CLOSED]
    place.remove(1)
    assert predicates.feasible(wanted).tolist() == [True, False]


def test_host_ports_clash() -> None:
    place = arena(node("n1"), node("n2"))
    predicates = Predicates(place)
    wanted = shape(ports=[{"hostPort": 80}])
    place.put(wanted, 0)
    assert predicates.room(wanted).tolist() == [0, 1]
    assert predicates.refusals(wanted, 0)[0].sentence == "a host port of TCP/80 is taken on n1"
