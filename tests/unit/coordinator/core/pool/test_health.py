"""Too many unready nodes: of the cluster, nothing is done; of a group, it does not grow."""

from typing import Any

from coordinator.core.pool.decide import Decision, decide
from coordinator.core.pool.observation import Observation
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.snapshot import read
from coordinator.core.pool.state import PoolState
from tests.unit.coordinator.core.pool.objects import NOW_S, group, node, pod


def cluster(unready: int, ready: int, **more: Any) -> Decision:
    sick = [node(f"sick{n}", ready=False, taints=[{"key": "down", "effect": "NoSchedule"}]) for n in range(unready)]
    for one in sick:
        one["metadata"] |= more
    well = [node(f"well{n}", "1") for n in range(ready)]
    groups = [
        group("sick", [one["metadata"]["name"] for one in sick]),
        group("well", [f"well{n}" for n in range(ready)]),
    ]
    seen = Observation(NOW_S, nodes=[*sick, *well], pods=[pod("p", "3")], groups=groups)
    return decide(read(seen), PoolState(unneeded_since={"well0": 1.0}), PoolOptions())


def test_nothing_is_done_while_more_than_three_nodes_and_45_percent_are_unready() -> None:
    said = cluster(5, 6)
    assert said.sentence == "5 of 11 nodes are not ready: nothing is added or removed"
    assert said.state.unneeded_since == {}
    assert cluster(5, 7).grow


def test_three_unready_nodes_are_always_tolerated() -> None:
    assert cluster(3, 0).grow
    assert "nothing is added" in cluster(4, 0).sentence


def test_a_group_with_too_many_unready_nodes_does_not_grow_and_another_does() -> None:
    said = cluster(4, 8)
    assert said.groups["sick"].reason == "NotHealthy"
    assert [one.group for one in said.grow] == ["well"]
    assert "sick" not in cluster(3, 8).groups


def test_nodes_that_are_still_starting_do_not_count() -> None:
    born = "2027-01-15T07:50:00Z"  # ten minutes before
    assert cluster(8, 0, creationTimestamp=born).grow
