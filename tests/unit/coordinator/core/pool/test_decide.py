"""One loop's decision, from objects to sentences."""

from dataclasses import replace
from typing import Any

from coordinator.core.pool.decide import Decision, Growth, decide
from coordinator.core.pool.eligibility import DISABLED
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import PoolOptions, ScaleDownOptions, ScaleUpOptions
from coordinator.core.pool.snapshot import read
from coordinator.core.pool.state import PoolState, after_added, after_failed_add
from tests.unit.coordinator.core.pool.objects import NOW_S, budget, group, node, pod


def loop(state: PoolState | None = None, options: PoolOptions | None = None, **seen: Any) -> Decision:
    observation = Observation(now_s=seen.pop("now_s", NOW_S), **seen)
    return decide(read(observation), state or PoolState(), options or PoolOptions())


def idle(*names: str, **more: Any) -> dict[str, Any]:
    return {"nodes": [node(name) for name in names], "groups": [group("a", list(names), **more)]}


def unneeded(*names: str, for_s: float = 601) -> PoolState:
    return PoolState(unneeded_since=dict.fromkeys(names, NOW_S - for_s))


def test_pending_pods_grow_the_group_that_wastes_least() -> None:
    small, large = group("small", template=node("s", "4", "8Gi")), group("large", template=node("l", "64", "256Gi"))
    said = loop(pods=[pod(f"p{n}", "2", "4Gi") for n in range(4)], groups=[large, small])
    assert said.grow == (Growth("small", 2, 2),)
    assert said.sentence.startswith("grow small by 2 to 2 for 4 pending pods")


def test_pods_that_fit_present_nodes_add_nothing() -> None:
    said = loop(pods=[pod("p", "1")], **idle("n1", minimum=1))
    assert said.grow == ()
    assert said.fits == {"default/p": "n1"}
    assert said.sentence.startswith("no pending pod needs a new node")


def test_nodes_on_their_way_are_counted_on() -> None:
    said = loop(pods=[pod("p", "3")], groups=[group("a", target=1)])
    assert said.grow == ()
    assert said.fits == {"default/p": "upcoming-0.a"}


def test_pods_too_large_for_every_group_are_told_why() -> None:
    said = loop(pods=[pod("p", "8")], groups=[group("a")])
    assert said.grow == ()
    assert said.pods == {"default/p": ("a: template-a has 4 cpu free, the pod needs 8",)}
    assert said.groups["a"].reason == "NoPodFits"


def test_a_group_in_back_off_is_left_alone_and_the_back_off_doubles() -> None:
    options = ScaleUpOptions()
    state = after_failed_add(PoolState(), "a", NOW_S, options)
    seen: dict[str, Any] = {"pods": [pod("p")], "groups": [group("a")]}
    assert loop(state, now_s=NOW_S + 299, **seen).groups["a"].reason == "InBackoff"
    assert loop(state, now_s=NOW_S + 300, **seen).grow == (Growth("a", 1, 1),)
    again = after_failed_add(state, "a", NOW_S + 301, options)
    assert again.backoffs["a"].duration_s == 600
    forgotten = after_failed_add(again, "a", NOW_S + 301 + 10801, options)
    assert forgotten.backoffs["a"].duration_s == 300


def test_groups_at_their_maximum_without_template_or_unhealthy_are_skipped_with_the_reason() -> None:
    full, blank, ill = group("full", maximum=0), replace(group("blank"), template=None), group("ill", healthy=False)
    said = loop(pods=[pod("p")], groups=[full, blank, ill])
    reasons = {name: verdict.reason for name, verdict in said.groups.items()}
    assert reasons == {"full": "MaxSizeReached", "blank": "NoTemplate", "ill": "NotHealthy"}
    assert said.grow == ()


def test_the_cluster_quota_caps_the_scale_up() -> None:
    options = PoolOptions(up=ScaleUpOptions(quotas={"cpu": 9000}))
    said = loop(options=options, pods=[pod(f"p{n}", "4") for n in range(5)], groups=[group("a")])
    assert said.grow == (Growth("a", 2, 2),)


def test_the_maximum_of_the_cluster_caps_the_scale_up() -> None:
    options = PoolOptions(up=ScaleUpOptions(max_nodes=3))
    pods = [pod(f"p{n}", "4") for n in range(5)]
    assert loop(options=options, pods=pods, groups=[group("a")]).grow == (Growth("a", 3, 3),)


def test_new_pods_are_waited_for_and_nothing_is_removed_meanwhile() -> None:
    young = pod("p", "8", created="2027-01-15T08:00:00Z")  # NOW_S
    said = loop(unneeded("n1", "n2"), pods=[young], **idle("n1", "n2"))
    assert (said.grow, said.remove) == ((), ())
    assert "waiting for pending pods" in said.sentence


def test_pods_with_accelerators_are_waited_for_longer() -> None:
    container = {"resources": {"requests": {"nvidia.com/gpu": "1"}}}
    young = pod("p", created="2027-01-15T07:59:40Z", spec={"containers": [container]})  # 20 s old
    gpus = group("g", template=node("t", amounts={"nvidia.com/gpu": "8"}))
    assert loop(pods=[young, pod("old", "1")], groups=[gpus]).grow == ()
    assert loop(pods=[young], groups=[gpus], now_s=NOW_S + 10).grow == (Growth("g", 1, 1),)


def test_old_failures_are_forgotten() -> None:
    failed = after_failed_add(PoolState(), "gone", NOW_S - 10801, ScaleUpOptions())
    assert loop(failed).state.backoffs == {}
    assert loop(after_failed_add(failed, "gone", NOW_S, ScaleUpOptions())).state.backoffs.keys() == {"gone"}


def test_expendable_pods_cause_no_scale_up() -> None:
    assert loop(pods=[pod("p", "8", priority=-11)], groups=[group("a", template=node("t", "9"))]).grow == ()


def test_similar_groups_share_the_scale_up() -> None:
    zones = [group(f"zone-{zone}", template=node("t", labels={"topology.kubernetes.io/zone": zone})) for zone in "abc"]
    options = PoolOptions(up=ScaleUpOptions(balance=True))
    said = loop(options=options, pods=[pod(f"p{n}", "4") for n in range(6)], groups=zones)
    assert sorted(growth.add for growth in said.grow) == [2, 2, 2]


def test_a_group_of_all_or_nothing_grows_to_its_maximum() -> None:
    said = loop(pods=[pod("p", "4")], groups=[group("a", maximum=5, options={"zero_or_max": True})])
    assert said.grow == (Growth("a", 5, 5),)


def test_an_idle_node_goes_after_ten_minutes() -> None:
    first = loop(**idle("n1", "n2"))
    assert first.remove == ()
    assert first.nodes["n1"].reason == "NotUnneededLongEnough"
    later = loop(first.state, now_s=NOW_S + 600, **idle("n1", "n2"))
    assert [one.node for one in later.remove] == ["n1", "n2"]


def test_the_group_keeps_its_minimum() -> None:
    said = loop(unneeded("n1", "n2"), **idle("n1", "n2", minimum=1))
    assert [one.node for one in said.remove] == ["n1"]
    assert said.nodes["n2"].reason == "NodeGroupMinSizeReached"


def test_pods_of_a_leaving_node_get_a_place() -> None:
    seen = idle("n1", "n2") | {"pods": [pod("p1", "1", on="n1"), pod("p2", "1", on="n2")]}
    said = loop(unneeded("n1"), **seen)
    assert [(one.node, one.moves) for one in said.remove] == [("n1", {"default/p1": "n2"})]


def test_a_blocking_pod_is_named_with_its_remedy() -> None:
    seen = idle("n1", "n2") | {
        "pods": [pod("p1", on="n1")],
        "budgets": [budget("strict", 0, {"app": "web"})],
    }
    said = loop(unneeded("n1", "n2"), **seen)
    assert said.nodes["n1"].reason == "BlockedByPod"
    assert "strict" in said.nodes["n1"].sentence
    assert "PodDisruptionBudget" in said.nodes["n1"].remedy
    assert said.state.recheck_after["n1"] == NOW_S + 300


def test_a_busy_node_says_how_busy_it_is() -> None:
    seen = idle("n1", "n2") | {"pods": [pod("p1", "3", on="n1")]}
    verdict = loop(**seen).nodes["n1"]
    assert (verdict.reason, verdict.sentence) == (
        "NotUnderutilized",
        "n1 has 75% of its cpu requested, over the threshold of 50%",
    )


def test_the_annotation_keeps_a_node_only_when_it_says_true() -> None:
    nodes = [node("n1", annotations={DISABLED: "true"}), node("n2", annotations={DISABLED: "yes"})]
    said = loop(unneeded("n1", "n2"), nodes=nodes, groups=[group("a", ["n1", "n2"])])
    assert said.nodes["n1"].reason == "ScaleDownDisabledAnnotation"
    assert [one.node for one in said.remove] == ["n2"]


def test_nothing_is_removed_for_ten_minutes_after_adding() -> None:
    state = after_added(unneeded("n1"), NOW_S - 10)
    said = loop(state, **idle("n1"))
    assert said.remove == ()
    assert said.nodes["n1"].sentence.startswith("nodes were added 10 s ago")


def test_only_one_node_is_drained_at_a_time_and_empty_ones_go_beside_it() -> None:
    names = [f"n{n}" for n in range(6)]
    seen = idle(*names) | {"pods": [pod(f"p{n}", "1", on=f"n{n}") for n in range(3)]}
    said = loop(unneeded(*names), **seen)
    assert sum(bool(one.moves) for one in said.remove) == 1
    assert {"n3", "n4", "n5"} - {one.node for one in said.remove} <= {"n5"}


def test_a_group_of_all_or_nothing_stays_while_one_node_is_busy() -> None:
    seen = idle("n1", "n2", options={"zero_or_max": True}) | {"pods": [pod("p", "3", on="n1")]}
    said = loop(unneeded("n1", "n2"), **seen)
    assert said.remove == ()
    assert said.nodes["n2"].reason == "AtomicScaleDownFailed"


def test_a_cluster_with_many_unready_nodes_is_left_alone() -> None:
    nodes = [node(f"n{n}", ready=n > 3) for n in range(6)]
    said = loop(unneeded("n5"), nodes=nodes, pods=[pod("p", "99")], groups=[group("a", ["n5"])])
    assert (said.grow, said.remove) == ((), ())
    assert said.sentence == "4 of 6 nodes are not ready: nothing is added or removed"
    assert said.state.unneeded_since == {}


def test_scale_down_can_be_switched_off() -> None:
    said = loop(unneeded("n1"), PoolOptions(down=ScaleDownOptions(enabled=False)), **idle("n1"))
    assert (said.remove, said.nodes) == ((), {})


def test_a_bad_object_is_named_and_the_loop_goes_on() -> None:
    broken = pod("broken", cpu="-1")
    said = loop(pods=[broken, pod("fine", "4")], groups=[group("a"), replace(group("b"), minimum=3, maximum=1)])
    assert said.grow == (Growth("a", 1, 1),)
    assert said.left_out == (
        "nodegroup b: minimum: minimum 3 is above maximum 1 (correct one of them)",
        "pod default/broken: spec.containers[0].resources.requests.cpu: '-1' is negative (give zero or more)",
    )
