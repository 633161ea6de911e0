"""Who is eligible, who waits, and how budgets are spent."""

from dataclasses import replace
from typing import Any

import pytest

from coordinator.core.pool.arena import Arena
from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.decide import Decision, decide
from coordinator.core.pool.drain_rules import (
    REMEDIES,
    SAFE_TO_EVICT,
    Blocker,
    DrainContext,
    DrainOptions,
    Outcome,
    replica_count,
)
from coordinator.core.pool.estimator import Packing
from coordinator.core.pool.model import Budget, Controller, Node, Owner, Pod
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import PoolOptions, ScaleDownOptions
from coordinator.core.pool.parse_objects import parse_node, parse_pod
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.removal import Unremovable
from coordinator.core.pool.removals import simulate_removals
from coordinator.core.pool.selectors import Selector
from coordinator.core.pool.snapshot import read
from coordinator.core.pool.state import PoolState, after_added, after_deleted, after_failed_add, after_joined
from coordinator.core.pool.utilisation import utilisation
from tests.unit.coordinator.core.pool.objects import LONG_AGO, NOW_S, group, node, pod


def loop(state: PoolState | None = None, down: ScaleDownOptions | None = None, **seen: Any) -> Decision:
    observation = Observation(now_s=NOW_S, **seen)
    return decide(read(observation), state or PoolState(), PoolOptions(down=down or ScaleDownOptions()))


def unneeded(*names: str) -> PoolState:
    return PoolState(unneeded_since=dict.fromkeys(names, NOW_S - 1201))


def test_a_node_of_a_group_at_its_minimum_is_not_tried_and_takes_the_pods_of_others() -> None:
    said = loop(
        unneeded("a", "b"),
        nodes=[node("a"), node("b")],
        pods=[pod("p", on="b")],
        groups=[group("least", ["a"], minimum=1), group("other", ["b"])],
    )
    assert [(one.node, dict(one.moves)) for one in said.remove] == [("b", {"default/p": "a"})]
    assert (said.nodes["a"].reason, said.nodes["a"].remedy) == ("NodeGroupMinSizeReached", "lower the group's minimum")


def test_nodes_that_leave_already_are_not_taken_off_the_group_twice() -> None:
    names = ["n1", "n2", "n3", "n4"]
    said = loop(
        unneeded(*names),
        nodes=[node(name) for name in names],
        groups=[group("a", names, minimum=1, target=2)],
        deleting={"n3": False, "n4": False},
    )
    assert [one.node for one in said.remove] == ["n1"]


def test_an_unready_node_that_is_in_use_stays_as_any_other() -> None:
    seen: dict[str, Any] = {"nodes": [node("n1", ready=False), node("n2")], "groups": [group("a", ["n1"])]}
    assert loop(unneeded("n1"), pods=[pod("p", "3", on="n1")], **seen).nodes["n1"].reason == "NotUnderutilized"
    assert [one.node for one in loop(unneeded("n1"), pods=[pod("p", on="n1")], **seen).remove] == ["n1"]


def test_a_node_with_a_pod_that_could_not_be_read_stays() -> None:
    broken = pod("p", on="n1") | {"status": 3}
    said = loop(unneeded("n1"), nodes=[node("n1"), node("n2")], pods=[broken], groups=[group("a", ["n1", "n2"])])
    assert said.nodes["n1"].reason == "UnexpectedError"
    assert "default/p on n1 could not be read" in said.nodes["n1"].sentence


def atomic(names: list[str], **more: Any) -> dict[str, Any]:
    options = {"zero_or_max": True}
    return {"nodes": [node(n) for n in names], "groups": [group("a", names, options=options, **more)]}


def test_a_whole_group_goes_at_once_even_beyond_the_budget() -> None:
    names = [f"n{n:02}" for n in range(12)]
    said = loop(unneeded(*names), ScaleDownOptions(max_parallel=5), **atomic(names))
    assert [one.node for one in said.remove] == names


def test_a_whole_group_waits_while_the_budget_is_spent() -> None:
    deleting = {f"d{n}": False for n in range(10)}
    said = loop(unneeded("n1"), deleting=deleting, **atomic(["n1"]))
    assert said.remove == ()
    assert said.nodes["n1"].reason == "NodeGroupMaxDeletionCountReached"


def test_nodes_wait_while_deletions_are_under_way() -> None:
    nodes = [node("n1"), node("gone")]
    said = loop(unneeded("n1"), ScaleDownOptions(max_parallel=1), nodes=nodes, groups=[group("a", ["n1", "gone"])],
                deleting={"gone": True})  # fmt: skip
    assert said.remove == ()
    assert said.nodes["gone"].reason == "CurrentlyBeingDeleted"
    assert said.nodes["n1"].sentence == "n1 waits: as many deletions as allowed are under way"


def test_the_cluster_keeps_its_minimum_of_resources() -> None:
    seen: dict[str, Any] = {"nodes": [node("n1"), node("n2")], "groups": [group("a", ["n1", "n2"])]}
    said = loop(unneeded("n1", "n2"), ScaleDownOptions(minimums={"cpu": 4000}), **seen)
    assert [one.node for one in said.remove] == ["n1"]
    assert said.nodes["n2"].reason == "MinimalResourceLimitExceeded"


def test_unready_nodes_wait_longer_or_stay() -> None:
    seen: dict[str, Any] = {"nodes": [node("n1", ready=False)], "groups": [group("a", ["n1"])]}
    early = PoolState(unneeded_since={"n1": NOW_S - 700})
    assert loop(early, **seen).nodes["n1"].reason == "NotUnreadyLongEnough"
    assert [one.node for one in loop(unneeded("n1"), **seen).remove] == ["n1"]
    stays = loop(unneeded("n1"), ScaleDownOptions(unready_enabled=False), **seen)
    assert stays.nodes["n1"].reason == "ScaleDownUnreadyDisabled"


def test_a_node_of_no_group_stays_and_one_that_could_not_go_is_not_tried_again_at_once() -> None:
    seen: dict[str, Any] = {"nodes": [node("n1"), node("n2")], "groups": [group("a", ["n2"])]}
    said = loop(replace(unneeded("n2"), recheck_after={"n2": NOW_S + 60}), **seen)
    assert (said.nodes["n1"].reason, said.nodes["n2"].reason) == ("NotAutoscaled", "RecentlyUnremovable")
    assert said.nodes["n2"].sentence == "n2 could not go lately; the next look is in 60 s"


def test_own_thresholds_and_times_of_a_group() -> None:
    options = {"utilisation_threshold": 0.9, "unneeded_s": 30.0}
    seen: dict[str, Any] = {
        "nodes": [node("n1"), node("n2")],
        "groups": [group("a", ["n1", "n2"], options=options)],
        "pods": [pod("p", "3", on="n1"), pod("q", "1", on="n2")],
    }
    said = loop(PoolState(unneeded_since={"n1": NOW_S - 31}), **seen)
    assert [one.node for one in said.remove] == ["n1"]


@pytest.mark.parametrize("change", ["failed", "deleted"])
def test_cool_downs_bar_removal(change: str) -> None:
    state, down = unneeded("n1"), ScaleDownOptions(delay_after_delete_s=60)
    options = PoolOptions(down=down)
    recent = (
        after_failed_add(state, "a", NOW_S - 5, options.up) if change == "failed" else after_deleted(state, NOW_S - 5)
    )
    said = loop(recent, down, nodes=[node("n1")], groups=[group("a", ["n1"])])
    assert said.remove == ()
    assert "5 s ago" in said.nodes["n1"].sentence


def test_a_group_whose_nodes_came_is_no_longer_backing_off() -> None:
    failed = after_failed_add(PoolState(), "a", NOW_S, PoolOptions().up)
    assert after_joined(failed, "a").backoffs == {}
    assert after_added(failed, NOW_S).added_s == NOW_S


def test_large_clusters_inspect_only_as_many_nodes_as_can_be_deleted_soon() -> None:
    names = [f"n{n:02}" for n in range(40)]
    said = loop(nodes=[node(n) for n in names], groups=[group("a", names, maximum=99)])
    reasons = [verdict.reason for verdict in said.nodes.values()]
    assert reasons.count("NotUnneededLongEnough") == 20
    assert reasons.count("NotUnneededOtherReason") == 20


def test_pods_that_must_complete_delay_their_node() -> None:
    waiting = pod("p", on="n1", annotations={SAFE_TO_EVICT: "on-completion"})
    seen: dict[str, Any] = {"nodes": [node("n1"), node("n2")], "groups": [group("a", ["n1", "n2"])], "pods": [waiting]}
    said = loop(unneeded("n1"), **seen)
    assert said.nodes["n1"].reason == "BlockedByOnCompletionPod"


def test_every_blocker_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Blocker)


def machine(cpu: int = 4000, gpus: int = 0) -> Node:
    amounts = {"cpu": cpu, "memory": 8 * 1024**3} | ({"nvidia.com/gpu": gpus} if gpus else {})
    return Node("n1", amounts, amounts)


def test_utilisation_is_the_larger_of_cpu_and_memory_and_accelerators_alone_where_there_are_some() -> None:
    pods = [parse_pod(pod("a", "1", "6Gi")), parse_pod(pod("agent", "1", "0", kind="DaemonSet"))]
    used = utilisation(machine(), pods, NOW_S, ignore_daemon_sets=False, ignore_mirror_pods=False)
    assert (used.share, used.resource) == (0.75, "memory")
    light = [parse_pod(pod("b", "1500m", "1Gi")), pods[1]]
    assert utilisation(machine(), light, NOW_S, ignore_daemon_sets=False, ignore_mirror_pods=False).share == 0.625
    assert utilisation(machine(), light, NOW_S, ignore_daemon_sets=True, ignore_mirror_pods=False).share == 0.5
    used = utilisation(machine(gpus=4), pods, NOW_S, ignore_daemon_sets=False, ignore_mirror_pods=False)
    assert (used.share, used.resource) == (0.0, "nvidia.com/gpu")


def test_pods_that_should_be_gone_do_not_count() -> None:
    gone = replace(parse_pod(pod("a", "4")), deleted_s=0.0)
    assert utilisation(machine(), [gone], NOW_S, ignore_daemon_sets=False, ignore_mirror_pods=False).share == 0.0


def test_too_few_replicas_block() -> None:
    context = DrainContext(
        BudgetTracker(),
        NOW_S,
        DrainOptions(min_replicas=3),
        {("ReplicaSet", "default", "web"): Controller("ReplicaSet", "default", "web", 2)},
    )
    status = replica_count(parse_pod(pod("p")), context)
    assert (status.outcome, status.blocker) == (Outcome.BLOCK, Blocker.MIN_REPLICAS)
    assert status.sentence == "ReplicaSet web of default/p has 2 of at least 3 replicas"


def seated(*nodes: tuple[str, list[Pod]]) -> Arena:
    arena = Arena()
    for name, pods in nodes:
        at = arena.add(parse_node(node(name)))
        for one in pods:
            arena.seat(one, at)
    return arena


def test_budgets_are_spent_node_by_node_and_mark_the_risky_ones() -> None:
    pods = [parse_pod(pod(f"p{n}", "500m")) for n in range(3)]
    arena = seated(("n1", pods[:2]), ("n2", pods[2:]), ("n3", []), ("n4", []))
    context = DrainContext(BudgetTracker([Budget("default", "b", Selector(), 1)]), NOW_S)
    found = list(simulate_removals(arena, Predicates(arena), context, ["n1", "n2", "missing"]))
    assert [(one.removable, one.risky) for one in found] == [(True, True), (False, False), (False, False)]
    assert (found[1].reason, found[2].reason) == (Unremovable.BLOCKED, Unremovable.NO_NODE)


def test_pods_go_to_the_node_that_was_found_for_them_before() -> None:
    shapes = [parse_pod(pod("p", "500m", ports=[{"hostPort": 80}]))]
    arena = seated(("n1", shapes), ("n2", []), ("n3", []))
    context = DrainContext(BudgetTracker(), NOW_S)
    found = list(simulate_removals(arena, Predicates(arena), context, ["n1"], hints={"default/p": "n3"}))
    assert [move.to for move in found[0].moves] == ["n3"]


def test_the_tight_search_frees_more_where_upstream_would_not_look() -> None:
    owner = Owner("apps/v1", "ReplicaSet", "web")

    def sized(name: str, cpu: str) -> Pod:
        return replace(parse_pod(pod(name, cpu, created=LONG_AGO)), owner=owner)

    def freed(*, tight: bool) -> int:
        arena = seated(
            ("n1", [sized("a", "1"), sized("b", "2")]),
            ("n2", [sized("c", "2")]),
            ("n3", [sized("d", "3")]),
        )
        context = DrainContext(BudgetTracker(), NOW_S)
        trials = simulate_removals(arena, Predicates(arena), context, ["n2", "n1", "n3"], tight=tight)
        return sum(one.removable for one in trials)

    assert freed(tight=True) >= freed(tight=False)
    assert freed(tight=True) == 1


def test_the_tight_option_reaches_the_search() -> None:
    seen: dict[str, Any] = {"nodes": [node("n1"), node("n2")], "groups": [group("a", ["n1", "n2"])]}
    said = loop(unneeded("n1", "n2"), ScaleDownOptions(packing=Packing.TIGHT), **seen)
    assert len(said.remove) == 2
