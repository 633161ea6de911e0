"""Groups of pods, groups of nodes that are alike, and what caps a scale-up."""

from typing import Any

from coordinator.core.pool.decide import Decision, Growth, decide
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.model import Node, NodeGroup
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import PoolOptions, ScaleUpOptions
from coordinator.core.pool.parse_objects import parse_node, parse_pod
from coordinator.core.pool.pending import by_shape, equivalence_groups
from coordinator.core.pool.similar import are_similar, balance
from coordinator.core.pool.snapshot import read
from coordinator.core.pool.state import PoolState
from coordinator.core.pool.watch import Watch
from tests.unit.coordinator.core.pool.objects import NOW_S, group, node, pod


def loop(up: ScaleUpOptions | None = None, out_of_time: bool = False, **seen: Any) -> Decision:
    options = PoolOptions(up=up or ScaleUpOptions())
    return decide(read(Observation(now_s=NOW_S, **seen)), PoolState(), options, Watch(lambda *_: out_of_time))


def test_pods_of_one_controller_and_shape_belong_together() -> None:
    pods = [pod("a1"), pod("b1", owner="db"), pod("a2"), pod("bare", owner=""), pod("agent", kind="DaemonSet")]
    groups = equivalence_groups(parse_pod(thing) for thing in pods)
    assert [[one.name for one in found.pods] for found in groups] == [["a1", "a2"], ["b1"], ["bare"], ["agent"]]
    assert [[one.name for one in found.pods] for found in by_shape(groups)] == [["a1", "a2", "b1", "bare", "agent"]]


def test_beyond_ten_shapes_the_pods_of_a_controller_stand_alone() -> None:
    pods = [parse_pod(pod(f"p{n}-{twin}", f"{n + 1}00m")) for n in range(12) for twin in "ab"]
    sizes = [len(found.pods) for found in equivalence_groups(pods)]
    assert sizes == [2] * 10 + [1] * 4


def template(**more: Any) -> Node:
    return parse_node(node("t", more.pop("cpu", "4"), more.pop("memory", "16Gi"), **more))


def test_groups_are_alike_but_for_place_and_rounding() -> None:
    here = template(labels={"topology.kubernetes.io/zone": "a"})
    assert are_similar(here, template(labels={"topology.kubernetes.io/zone": "b"}))
    assert are_similar(here, template(memory="16200Mi"))
    assert not are_similar(here, template(memory="15Gi"))
    assert not are_similar(here, template(cpu="5"))
    assert not are_similar(here, template(labels={"disk": "ssd"}))
    assert not are_similar(here, template(amounts={"nvidia.com/gpu": "1"}))
    less = Node("t", {**here.allocatable, "cpu": 3000}, here.capacity, here.labels)
    assert not are_similar(here, less)


def test_new_nodes_go_to_the_smallest_group_that_is_not_full() -> None:
    groups = [NodeGroup("a", 0, 10, 5), NodeGroup("b", 0, 3, 1), NodeGroup("c", 0, 10, 2)]
    shares = {share.group.name: share.target for share in balance(groups, 5)}
    assert shares == {"b": 3, "c": 5}
    assert [share.added for share in balance(groups[1:2], 9)] == [2]


def test_a_group_that_alone_can_take_the_pods_is_not_balanced_with_others() -> None:
    tainted = node("t", taints=[{"key": "only", "effect": "NoSchedule"}])
    said = loop(ScaleUpOptions(balance=True), pods=[pod("p1", "4"), pod("p2", "4")],
                groups=[group("a"), group("b", template=tainted)])  # fmt: skip
    assert said.grow == (Growth("a", 2, 2),)
    assert said.groups["b"].reason == "NoPodFits"


def test_the_tight_estimator_can_be_chosen() -> None:
    pods = [pod(f"p{n}", "2", "1Gi") for n in range(5)]
    said = loop(ScaleUpOptions(packing=Packing.TIGHT), pods=pods, groups=[group("a")])
    assert said.grow == (Growth("a", 3, 3),)


def test_without_time_nothing_is_estimated() -> None:
    said = loop(out_of_time=True, pods=[pod("p")], groups=[group("a")])
    assert said.grow == ()
    assert said.groups["a"].reason == "OutOfTime"


def test_a_quota_that_allows_no_node_skips_the_group_by_name_of_the_resource() -> None:
    said = loop(ScaleUpOptions(quotas={"memory": 2**30}), pods=[pod("p")], groups=[group("a")])
    assert said.groups["a"].sentence == "one more node of a exceeds the cluster's memory quota"
    assert said.pods == {"default/p": (said.groups["a"].sentence,)}


def test_a_full_cluster_adds_nothing() -> None:
    said = loop(ScaleUpOptions(max_nodes=1), nodes=[node("n1")], pods=[pod("p", "9")], groups=[group("a")])
    assert said.grow == ()
    assert "has its maximum of 1 nodes" in said.sentence


def test_nodes_on_their_way_count_against_the_maximum() -> None:
    up = ScaleUpOptions(max_nodes=3)
    pods = [pod(f"p{n}", "4") for n in range(9)]
    said = loop(up, nodes=[node("n1", "1")], pods=pods, groups=[group("a", target=1)])
    assert said.grow == (Growth("a", 1, 2),)


def test_all_or_nothing_needs_room_for_all() -> None:
    up = ScaleUpOptions(max_nodes=3)
    said = loop(up, pods=[pod("p", "4")], groups=[group("a", maximum=5, options={"zero_or_max": True})])
    assert said.grow == ()
    assert said.sentence.startswith("quotas allow no more nodes")


def test_pods_kept_apart_or_spread_get_a_node_each() -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    apart = {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    said = loop(pods=[pod(f"p{n}", "100m", spec=apart) for n in range(4)], nodes=[node("n1")], groups=[group("a")])
    assert said.grow == (Growth("a", 3, 3),)
    spread = {"topologySpreadConstraints": [{"maxSkew": 2, **term}]}
    said = loop(
        pods=[pod(f"p{n}", "100m", spec=spread) for n in range(6)], nodes=[node("n1", "0")], groups=[group("a")]
    )
    assert said.grow == (Growth("a", 3, 3),)


def test_pods_with_volumes_in_a_zone_grow_only_the_group_of_that_zone() -> None:
    claim = {"metadata": {"name": "data", "namespace": "default"}, "spec": {"volumeName": "pv"}}
    volume = {"metadata": {"name": "pv", "labels": {"topology.kubernetes.io/zone": "b"}}, "spec": {}}
    groups = [group(f"zone-{z}", template=node("t", labels={"topology.kubernetes.io/zone": z})) for z in "abc"]
    wanted = pod("p", spec={"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]})
    said = loop(pods=[wanted], groups=groups, claims=[claim], volumes=[volume])
    assert said.grow == (Growth("zone-b", 1, 1),)
