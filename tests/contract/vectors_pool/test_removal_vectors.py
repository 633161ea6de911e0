"""Removal simulation: upstream's answer where it has one, at least its best of 40 runs where it has several."""

from typing import Any

import pytest

from coordinator.core.pool.arena import Arena
from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.drain_rules import SAFE_TO_EVICT, DrainContext
from coordinator.core.pool.model import Budget, Node, Owner, Pod
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.removal import Removal
from coordinator.core.pool.removals import simulate_removals
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.selectors import parse_selector
from tests.contract.vectors_pool.cases import Case, cases

MIB = 1024 * 1024


def pod(given: dict[str, Any], node: str) -> Pod:
    namespace = "kube-system" if given.get("kubeSystem") else "default"
    labels = (("critical", "true"),) if given.get("labelCritical") else ()
    amounts = given["cpuMilli"], given["memMiB"] * MIB
    requests = (("cpu", amounts[0]), ("memory", amounts[1]))
    return Pod(
        namespace,
        given["name"],
        PodShape(namespace, labels, tuple(r for r in requests if r[1]), amounts),
        node=node,
        annotations={SAFE_TO_EVICT: "false"} if given.get("safeToEvictFalse") else {},
        owner=None if given.get("notReplicated") else Owner("apps/v1", "ReplicaSet", "rs"),
        local_volumes=("scratch",) if given.get("emptyDirVolume") else (),
    )


def run(case: Case) -> tuple[list[Removal], Arena]:
    arena = Arena()
    for given in case["nodes"]:
        amounts = {"cpu": given["cpuMilli"], "memory": given["memMiB"] * MIB, "pods": 100}
        at = arena.add(Node(given["name"], amounts, amounts))
        for one in given["pods"]:
            arena.seat(pod(one, given["name"]), at)
    critical = parse_selector({"matchLabels": {"critical": "true"}}, "selector")
    budgets = BudgetTracker([Budget("default", "pdb", critical, case["pdbDisruptionsAllowed"])])
    context = DrainContext(budgets, now_s=0.0)
    names = [given["name"] for given in case["nodes"]]
    return list(simulate_removals(arena, Predicates(arena), context, names)), arena


def told(removal: Removal) -> dict[str, Any]:
    """A removal in the words of the vectors."""
    if removal.reason is None:
        return {"node": removal.node, "removable": True, "risky": removal.risky}
    found: dict[str, Any] = {"node": removal.node, "removable": False, "reason": removal.reason.value}
    if removal.blocked is not None:
        found |= {"blockingPod": removal.blocked.pod.name, "blockingReason": removal.blocked.blocker.value}
    return found


@pytest.mark.parametrize("case", cases("ca_removal_simulation*.json", "cases"))
def test_removals_equal_upstreams_or_beat_them(case: Case) -> None:
    removals, arena = run(case)
    assert (arena.free[arena.open] >= 0).all()
    if case["stable"]:
        assert [told(removal) for removal in removals] == case["expect"]
    else:
        assert sum(removal.removable for removal in removals) >= case["upstreamRemovable"]["max"]
