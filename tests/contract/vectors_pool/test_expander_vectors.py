"""The expanders choose what upstream's choose."""

from collections.abc import Sequence

import pytest

from coordinator.core.pool.expanders import (
    ExpanderContext,
    Filter,
    Option,
    choose,
    least_nodes,
    least_waste,
    most_pods,
)
from coordinator.core.pool.model import Node, NodeGroup
from coordinator.core.pool.scheduling import PodShape
from tests.contract.vectors_pool.cases import Case, cases

HERE = ExpanderContext()


def group(name: str, cpu_milli: int = 1000, memory_bytes: int = 1000) -> NodeGroup:
    amounts = {"cpu": cpu_milli, "memory": memory_bytes}
    return NodeGroup(name, 0, 100, 0, Node(f"template-{name}", amounts, amounts))


def names(options: Sequence[Option]) -> list[str]:
    return [option.group.name for option in options]


@pytest.mark.parametrize("case", cases("ca_expanders*.json", "least_waste"))
def test_least_waste(case: Case) -> None:
    options = []
    for given in case["options"]:
        node = case["nodes"][given["nodeGroup"]]
        pods = tuple((PodShape(packing=(pod["cpuMilli"], pod["memBytes"])), 1) for pod in given["pods"])
        made = group(given["nodeGroup"], node["cpuMilli"], node["memBytes"])
        options.append(Option(made, given["nodeCount"], pods))
    assert names(least_waste(options, HERE)) == case["expect"]


@pytest.mark.parametrize("case", cases("ca_expanders*.json", "most_pods"))
def test_most_pods(case: Case) -> None:
    options = [Option(group(name), 1, ((PodShape(), pods),)) for name, pods in case["options"]]
    assert names(most_pods(options, HERE)) == case["expect"]


@pytest.mark.parametrize("case", cases("ca_expanders*.json", "least_nodes"))
def test_least_nodes(case: Case) -> None:
    options = [Option(group(name), nodes, ()) for name, nodes in case["options"]]
    assert names(least_nodes(options, HERE)) == case["expect"]


def containing(text: str) -> Filter:
    return lambda options, _: [option for option in options if text in option.group.name]


@pytest.mark.parametrize("case", cases("ca_expanders*.json", "chain"))
def test_chain(case: Case) -> None:
    options = [Option(group(name), 1, ()) for name in case["options"]]
    fallback = containing(case["fallback"])
    chain = [containing(text) for text in case["filters"]]
    chosen = choose(options, chain, HERE, lambda left: fallback(left, HERE)[0])
    assert chosen is not None
    assert chosen.group.name == case["expect"]
