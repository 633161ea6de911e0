"""The drain rules, alone and together, decide as upstream's."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from coordinator.core.pool import drain_rules
from coordinator.core.pool.budgets import BudgetTracker
from coordinator.core.pool.drain import pods_to_move
from coordinator.core.pool.drain_rules import Blocker, DrainContext, DrainOptions, Outcome, Rule, Status
from coordinator.core.pool.model import Budget, Controller
from coordinator.core.pool.parse_objects import parse_pod
from coordinator.core.pool.selectors import parse_selector
from tests.contract.vectors_pool.cases import Case, cases

RULES: dict[str, Rule] = {
    "Mirror": drain_rules.mirror,
    "LongTerminating": drain_rules.long_terminating,
    "ReplicaCount": drain_rules.replica_count,
    "DaemonSet": drain_rules.daemon_set,
    "SafeToEvict": drain_rules.safe_to_evict,
    "Terminal": drain_rules.terminal,
    "OnCompletion": drain_rules.on_completion,
    "Replicated": drain_rules.replicated,
    "System": drain_rules.system,
    "NotSafeToEvict": drain_rules.not_safe_to_evict,
    "LocalStorage": drain_rules.local_storage,
    "PDB": drain_rules.budget,
}
LEADING: dict[str, Status] = {
    "AlwaysDrain": Status(Outcome.DRAIN),
    "NeverDrain": Status(Outcome.BLOCK, Blocker.UNEXPECTED),
    "CantDecide": Status(),
}
KINDS = {
    "daemonSets": "DaemonSet",
    "jobs": "Job",
    "replicaSets": "ReplicaSet",
    "replicationControllers": "ReplicationController",
    "statefulSets": "StatefulSet",
}


def budgets(case: Case) -> BudgetTracker:
    return BudgetTracker(
        Budget(pdb["namespace"], pdb["name"], parse_selector(pdb["selector"], "selector"), pdb["disruptionsAllowed"])
        for pdb in case.get("pdbs") or []
    )


def controllers(case: Case) -> Mapping[tuple[str, str, str], Controller] | None:
    if "controllers" not in case:
        return None
    return {
        (KINDS[plural], one["namespace"], one["name"]): Controller(
            KINDS[plural], one["namespace"], one["name"], one.get("replicas")
        )
        for plural, listed in case["controllers"].items()
        for one in listed
    }


def context(case: Case, options: DrainOptions) -> DrainContext:
    now_s = datetime.fromisoformat(case.get("now", "2020-12-18T17:00:00Z")).timestamp()
    return DrainContext(budgets(case), now_s, options, controllers(case))


def seconds(duration: str) -> float:
    """Seconds of a Go duration such as 1h2m3s."""
    total, number = 0.0, ""
    for letter in duration:
        if letter in "hms":
            total += float(number) * {"h": 3600, "m": 60, "s": 1}[letter]
            number = ""
        else:
            number += letter
    return total


def fixed(status: Status) -> Rule:
    return lambda _pod, _context: status


@pytest.mark.parametrize("case", cases("ca_drainability*.json", "rule_cases"))
def test_one_rule_alone(case: Case) -> None:
    options = DrainOptions(
        keep_custom_controllers=case.get("skipNodesWithCustomControllerPods", True),
        min_replicas=case.get("minReplicaCount", 0),
        system_pod_timeout_s=seconds(case.get("bspDisruptionTimeout", "1h")),
    )
    found = RULES[case["rule"]](parse_pod(case["pod"]), context(case, options))
    assert found.outcome is Outcome(case["outcome"])
    assert (found.blocker.value if found.blocker else None) == case.get("blockingReason")


@pytest.mark.parametrize("case", cases("ca_drainability*.json", "node_cases"))
def test_all_pods_of_a_node(case: Case) -> None:
    given = case["options"]
    options = DrainOptions(
        keep_system_pods=given["skipNodesWithSystemPods"],
        keep_local_storage=given["skipNodesWithLocalStorage"],
        keep_custom_controllers=given["skipNodesWithCustomControllerPods"],
        min_replicas=given["minReplicaCount"],
        system_pod_timeout_s=given["bspDisruptionTimeoutSeconds"],
    )
    leading = [fixed(LEADING[name]) for name in case.get("extraLeadingRules") or []]
    rules = [*leading, *drain_rules.default_rules(options)]
    found = pods_to_move([parse_pod(pod) for pod in case["pods"]], rules, context(case, options))
    expect = case["expect"]
    assert [pod.key for pod in found.move] == expect["pods"]
    assert [pod.key for pod in found.daemons] == expect["daemonSetPods"]
    assert [pod.key for pod in found.awaited] == expect["onCompletionPods"]
    assert (found.blocked is not None) == expect["error"]
    if found.blocked is not None and "blockingPod" in expect:
        assert (found.blocked.pod.key, found.blocked.blocker.value) == (expect["blockingPod"], expect["blockingReason"])


def status(given: dict[str, Any]) -> Status:
    blocker = Blocker(given["blockingReason"]) if "blockingReason" in given else None
    return Status(Outcome(given["outcome"]), blocker, "", tuple(Outcome(o) for o in given.get("overrides", ())))


@pytest.mark.parametrize("case", cases("ca_drainability*.json", "chain_cases"))
def test_rules_combine(case: Case) -> None:
    rules = [fixed(status(rule)) for rule in case["rules"]]
    nobody = parse_pod({"metadata": {"name": "pod"}})
    assert drain_rules.judge(rules, nobody, DrainContext(BudgetTracker(), 0.0)) == status(case["want"])
