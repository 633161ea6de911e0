"""Priorities, prices, and choices among equals."""

from dataclasses import replace

import pytest

from coordinator.core.pool.expanders import (
    ExpanderContext,
    ExpanderName,
    Option,
    at_random,
    by_price,
    by_priority,
    chain_of,
    choose,
    least_waste,
)
from coordinator.core.pool.model import Node, NodeGroup
from coordinator.core.pool.scheduling import PodShape
from coordinator.core.pool.seeds import SplitMix
from proto.errors import DpuError

GIB = 1024**3


def option(
    name: str, nodes: int = 1, cpus: int = 4, price: float | None = 1.0, exists: bool = True, gpus: int = 0
) -> Option:
    amounts = {"cpu": cpus * 1000, "memory": cpus * 4 * GIB} | ({"nvidia.com/gpu": gpus} if gpus else {})
    group = NodeGroup(name, 0, 9, 0, Node(f"t-{name}", amounts, amounts), price_per_hour=price, exists=exists)
    return Option(group, nodes, ((PodShape(packing=(1000, GIB)), 2),))


def names(options: list[Option]) -> list[str]:
    return [one.group.name for one in options]


def test_the_highest_priority_that_matches_wins() -> None:
    context = ExpanderContext(priorities={10: [".*cheap.*"], 50: ["gold", "none"], 99: ["absent"]})
    assert names(by_priority([option("cheap-1"), option("golden"), option("other")], context)) == ["golden"]
    assert names(by_priority([option("a"), option("b")], context)) == ["a", "b"]


def test_without_expressions_the_groups_own_priority_counts() -> None:
    def ranked(name: str, priority: int | None) -> Option:
        one = option(name)
        return replace(one, group=replace(one.group, priority=priority))

    some = [ranked("a", None), ranked("b", 5), ranked("c", 7), ranked("d", 7)]
    assert names(by_priority(some, ExpanderContext())) == ["c", "d"]
    assert names(by_priority([ranked("a", None), ranked("b", -5)], ExpanderContext())) == ["b"]
    assert names(by_priority([option("a"), option("b")], ExpanderContext())) == ["a", "b"]


def test_the_cheaper_of_alike_groups_is_chosen() -> None:
    context = ExpanderContext(cluster_nodes=10)
    assert names(by_price([option("dear", price=2.0), option("fair", price=1.0)], context)) == ["fair"]
    assert names(by_price([option("dear", price=None), option("unknown", price=None)], context)) == ["dear", "unknown"]


def test_price_leans_to_sizes_that_suit_the_cluster_and_away_from_accelerators() -> None:
    small = ExpanderContext(cluster_nodes=2)
    assert names(by_price([option("large", cpus=16, price=1.0), option("tiny", cpus=1, price=1.0)], small)) == ["tiny"]
    assert names(by_price([option("gpu", gpus=1, price=0.5), option("plain", price=1.0)], small)) == ["plain"]


def test_a_group_that_does_not_exist_yet_costs_double() -> None:
    context = ExpanderContext(cluster_nodes=10)
    assert names(by_price([option("new", price=1.0, exists=False), option("old", price=1.9)], context)) == ["old"]


def test_equal_options_are_chosen_by_the_seed_alone() -> None:
    options = [option("a"), option("b"), option("c")]

    def pick(seed: int) -> str:
        chain = chain_of([ExpanderName.LEAST_WASTE, ExpanderName.RANDOM])
        chosen = choose(options, chain, ExpanderContext(), at_random(SplitMix(seed)))
        assert chosen is not None
        return chosen.group.name

    assert [pick(7) for _ in range(5)] == [pick(7)] * 5
    assert {pick(seed) for seed in range(40)} == {"a", "b", "c"}


def test_no_options_no_choice() -> None:
    assert choose([], chain_of([ExpanderName.PRICE]), ExpanderContext(), at_random(SplitMix(0))) is None


def test_a_group_without_template_cannot_be_weighed() -> None:
    bare = Option(NodeGroup("bare", 0, 1, 0), 1, ())
    with pytest.raises(DpuError, match="bare has no template"):
        least_waste([bare, option("a")], ExpanderContext())
