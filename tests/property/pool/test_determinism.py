"""The same cluster gives the byte-same plan, in whatever order its objects arrive."""

import random
from dataclasses import replace
from typing import Any

import pytest

from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.record import record, to_json
from coordinator.core.pool.state import PoolState
from tests.unit.coordinator.core.pool.objects import NOW_S, budget, group, node, pod


def cluster(seed: int) -> Observation:
    rng = random.Random(seed)
    names = [f"n{n}" for n in range(14)]
    spread = [{"maxSkew": 1, "topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "spread"}}}]
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "apart"}}}
    extra: list[dict[str, Any]] = [
        {},
        {"labels": {"app": "spread"}, "spec": {"topologySpreadConstraints": spread}},
        {
            "labels": {"app": "apart"},
            "spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}},
        },
    ]
    pods = [
        pod(f"p{n}", f"{rng.randrange(1, 20) * 100}m", f"{rng.randrange(1, 40)}00Mi", rng.choice([*names, "", ""]),
            owner=rng.choice(["web", "db", "job"]), priority=rng.choice([0, 0, 100, -20]), **rng.choice(extra))
        for n in range(160)
    ]  # fmt: skip
    zones = [node(name, "8", "32Gi", labels={"zone": rng.choice("ab")}) for name in names]
    half = [group("left", names[:7]), group("right", names[7:], template=node("t", "16", "64Gi", labels={"zone": "a"}))]
    budgets = [budget("some", 2, {"app": "web"})]
    return Observation(NOW_S, nodes=zones, pods=pods, budgets=budgets, groups=half)


def shuffled(seen: Observation, rng: random.Random) -> Observation:
    def mixed(things: Any) -> list[Any]:
        return rng.sample(list(things), len(things))

    groups = [replace(one, nodes=mixed(one.nodes)) for one in mixed(seen.groups)]
    return replace(seen, nodes=mixed(seen.nodes), pods=mixed(seen.pods), budgets=mixed(seen.budgets), groups=groups)


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_shuffles_give_the_same_bytes(seed: int) -> None:
    seen = cluster(seed)
    state = PoolState(unneeded_since={f"n{n}": 0.0 for n in range(14)})
    plan = to_json(record(seen, state, PoolOptions()).decision)
    assert b'"grow":[{' in plan
    rng = random.Random(seed)
    for _ in range(100 if seed == 0 else 10):
        assert to_json(record(shuffled(seen, rng), state, PoolOptions()).decision) == plan


def test_small_clusters_where_a_search_decides_are_no_exception() -> None:
    rng = random.Random(4)
    names = [f"n{n}" for n in range(9)]
    pods = [
        pod(f"p{n}", f"{rng.randrange(1, 20)}00m", f"{rng.randrange(1, 50)}00Mi", rng.choice(names)) for n in range(25)
    ]
    seen = Observation(NOW_S, nodes=[node(name) for name in names], pods=pods, groups=[group("a", names)])
    state = PoolState(unneeded_since=dict.fromkeys(names, 0.0))
    plan = to_json(record(seen, state, PoolOptions()).decision)
    assert b'"remove":[{' in plan
    assert {to_json(record(shuffled(seen, rng), state, PoolOptions()).decision) for _ in range(20)} == {plan}
