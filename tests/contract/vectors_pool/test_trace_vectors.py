"""On real traces the estimator never needs more nodes than upstream did, and places as many pods."""

import os
from collections import Counter
from pathlib import Path

import pytest

from coordinator.core.pool.allowance import NodeAllowance
from coordinator.core.pool.arena import Arena
from coordinator.core.pool.estimator import Demand, estimate
from coordinator.core.pool.model import Node
from coordinator.core.pool.predicates import Predicates
from coordinator.core.pool.tight import estimate_tightly
from coordinator.core.pool.traces import MIB, read_pods
from tests.contract.vectors_pool.cases import Case, cases

TRACES = Path(os.environ.get("DPUPOOL_TRACES") or Path(__file__).parents[4] / "shared" / "data")
FILES = {"dlrm_CN": "disaggregated_DLRM_trace.csv"}


def demands(trace: str) -> list[Demand]:
    path = TRACES / FILES.get(trace, f"{trace}.csv")
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"the trace {path} is missing; DPUPOOL_TRACES names the directory")
        pytest.skip(f"the trace {path} is not here; DPUPOOL_TRACES names the directory")
    with path.open(encoding="utf-8") as lines:
        pods = read_pods(lines)
    wanted = [pod for pod in pods if trace != "dlrm_CN" or pod.role == "CN"]
    return [Demand(shape, count) for shape, count in Counter(pod.shape() for pod in wanted).items()]


def template(case: Case) -> Node:
    given = case["node"]
    amounts = {"cpu": given["cpuMilli"], "memory": given["memMiB"] * MIB, "pods": given["pods"]}
    return Node("template", amounts, amounts)


@pytest.mark.parametrize("case", cases("ca_estimator_traces*.json", "cases"))
def test_no_more_nodes_than_upstream_at_its_best(case: Case) -> None:
    arena = Arena()
    found = estimate(arena, Predicates(arena), template(case), demands(case["trace"]), NodeAllowance())
    assert case["lowerBound"] <= found.nodes <= min(case["upstreamNodes"])
    assert sum(found.placed) == case["upstreamPlaced"]


@pytest.mark.parametrize("case", cases("ca_estimator_traces*.json", "cases"))
def test_the_tight_estimator_places_the_same_pods_on_fewer_nodes(case: Case) -> None:
    arena = Arena()
    wanted = demands(case["trace"])
    found = estimate_tightly(arena, Predicates(arena), template(case), wanted)
    assert case["lowerBound"] <= found.nodes <= min(case["upstreamNodes"])
    assert sum(found.placed) == case["upstreamPlaced"]
