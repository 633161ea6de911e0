"""Which of several possible scale-ups to take.

Source: cluster-autoscaler expander/ (waste, mostpods, leastnodes, priority, price, factory/chain), 1.36.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import tanh
from typing import Protocol

from coordinator.core.pool.model import Node, NodeGroup
from coordinator.core.pool.scheduling import PodShape
from proto.errors import DpuError
from proto.reasons import Reason

GPU_SUFFIX = "/gpu"
_STABILISER_CPU_MILLI, _STABILISER_BYTES = 500, 500 * 1024**2
_GPU_UNFITNESS = 1000.0


class ExpanderName(Enum):
    """The expanders a chain may name."""

    RANDOM = "random"
    MOST_PODS = "most-pods"
    LEAST_WASTE = "least-waste"
    LEAST_NODES = "least-nodes"
    PRIORITY = "priority"
    PRICE = "price"


class Rng(Protocol):
    """The one thing asked of a seeded random generator."""

    def randrange(self, stop: int, /) -> int:
        """A whole number from 0 up to, not including, ``stop``."""
        ...


@dataclass(frozen=True, slots=True)
class Option:
    """One possible scale-up: so many nodes of a group, and the pods they would take.

    Attributes:
        demands: shape and number of the pods that would be placed.
    """

    group: NodeGroup
    nodes: int
    demands: tuple[tuple[PodShape, int], ...]

    @property
    def pods(self) -> int:
        """How many pods would be placed."""
        return sum(count for _, count in self.demands)


@dataclass(frozen=True, slots=True)
class Prices:
    """What the price expander reckons with, per hour.

    Attributes:
        cpu, memory_gib: price of a pod's core and of its GiB.
    """

    cpu: float = 0.033174
    memory_gib: float = 0.004446

    def of_pod(self, cpu_milli: int, memory_bytes: int) -> float:
        """Price of a pod by its requests."""
        return cpu_milli / 1000 * self.cpu + memory_bytes / 1024**3 * self.memory_gib


@dataclass(frozen=True, slots=True)
class ExpanderContext:
    """What expanders know beside the options.

    Attributes:
        cluster_nodes: present size of the cluster, from which a preferred node size follows.
        priorities: regular expressions of group names by priority, the larger the better; else groups have their own.
    """

    cluster_nodes: int = 0
    priorities: Mapping[int, Sequence[str]] | None = None
    prices: Prices = Prices()


Filter = Callable[[Sequence[Option], ExpanderContext], list[Option]]


def least_waste(options: Sequence[Option], _: ExpanderContext) -> list[Option]:
    """Options that leave the least share of CPU plus memory unused; exact ties all stay."""
    return _least(options, _waste)


def _waste(option: Option) -> float:
    node = _template(option)
    cpu, memory = node.capacity.get("cpu", 0) * option.nodes, node.capacity.get("memory", 0) * option.nodes
    wanted_cpu = sum(shape.packing[0] * count for shape, count in option.demands)
    wanted_memory = sum(shape.packing[1] * count for shape, count in option.demands)
    return (cpu - wanted_cpu) / cpu + (memory - wanted_memory) / memory if cpu and memory else float("inf")


def _template(option: Option) -> Node:
    if option.group.template is None:
        raise DpuError(
            Reason.INVALID,
            f"node group {option.group.name} has no template",
            field="template",
            remedy="give the group a template node",
        )
    return option.group.template


def _least(options: Sequence[Option], score: Callable[[Option], float]) -> list[Option]:
    scores = [score(option) for option in options]
    return [option for option, value in zip(options, scores, strict=True) if value == min(scores)]


def most_pods(options: Sequence[Option], _: ExpanderContext) -> list[Option]:
    """Options that place the most pods; ties all stay."""
    return _least(options, lambda option: -option.pods)


def least_nodes(options: Sequence[Option], _: ExpanderContext) -> list[Option]:
    """Options with the fewest nodes; those without nodes are no options."""
    return _least([option for option in options if option.nodes > 0], lambda option: option.nodes)


def by_priority(options: Sequence[Option], context: ExpanderContext) -> list[Option]:
    """Options whose group name matches an expression of the highest priority; all when none matches.

    Without expressions each group's own priority counts; groups that have none come after all others.
    """
    if not context.priorities:
        highest = max((o.group.priority for o in options if o.group.priority is not None), default=None)
        return [option for option in options if option.group.priority == highest]
    for priority in sorted(context.priorities, reverse=True):
        patterns = context.priorities[priority]
        chosen = [o for o in options if any(re.search(pattern, o.group.name) for pattern in patterns)]
        if chosen:
            return chosen
    return list(options)


def by_price(options: Sequence[Option], context: ExpanderContext) -> list[Option]:
    """The option that costs least for what it brings, with a leaning to nodes of a size that suits the cluster."""
    priced = [option for option in options if option.group.price_per_hour is not None]
    if not priced:
        return list(options)
    best = min(priced, key=lambda option: _cost(option, context))
    return [best]


def _cost(option: Option, context: ExpanderContext) -> float:
    prices, price = context.prices, option.group.price_per_hour or 0.0
    stabiliser = prices.of_pod(_STABILISER_CPU_MILLI, _STABILISER_BYTES)
    pods = sum(prices.of_pod(*shape.packing) * count for shape, count in option.demands)
    worth = (price * option.nodes + stabiliser) / (pods + stabiliser)
    damped = (_unfitness(_template(option), context) - 1) * (1 - tanh((option.nodes - 1) / 15)) + 1
    return worth * damped * (1 if option.group.exists else 2)


def _unfitness(node: Node, context: ExpanderContext) -> float:
    if any(name.endswith(GPU_SUFFIX) and amount for name, amount in node.capacity.items()):
        return _GPU_UNFITNESS
    sizes = ((2, 1), (6, 2), (20, 4), (60, 8), (200, 16))
    preferred = next((cpus for most, cpus in sizes if context.cluster_nodes <= most), 32) * 1000
    cpu = node.capacity.get("cpu", 0) or 1
    return max(preferred / cpu, cpu / preferred)


FILTERS: dict[ExpanderName, Filter] = {
    ExpanderName.MOST_PODS: most_pods,
    ExpanderName.LEAST_WASTE: least_waste,
    ExpanderName.LEAST_NODES: least_nodes,
    ExpanderName.PRIORITY: by_priority,
    ExpanderName.PRICE: by_price,
}


def choose(
    options: Sequence[Option],
    chain: Sequence[Filter],
    context: ExpanderContext,
    fallback: Callable[[Sequence[Option]], Option],
) -> Option | None:
    """Narrow the options by each filter in turn until one is left; the fallback decides among the rest."""
    left = list(options)
    for narrow in chain:
        if len(left) < 2:
            break
        left = narrow(left, context)
    if len(left) > 1:
        return fallback(left)
    return left[0] if left else None


def chain_of(names: Sequence[ExpanderName]) -> list[Filter]:
    """The filters of a configured chain; ``random`` adds none, it is what follows every chain anyway."""
    return [FILTERS[name] for name in names if name is not ExpanderName.RANDOM]


def at_random(rng: Rng) -> Callable[[Sequence[Option]], Option]:
    """A fallback that takes any option with equal chance."""
    return lambda options: options[rng.randrange(len(options))]
