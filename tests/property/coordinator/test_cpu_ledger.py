"""Random lives of a node's CPUs: what must hold after every step."""

import random
from collections.abc import Callable

import pytest

from coordinator.core.cpu.admission import InstanceKind, NodeMode, sellable_exclusive
from coordinator.core.cpu.annotations import bound_cpus, pod_annotations
from coordinator.core.cpu.asks import Ask, CpuPolicy, NumaRule
from coordinator.core.cpu.node import NodeCpus
from proto.errors import DpuError
from tests.unit.coordinator.core.cpu.servers import GIB, exclusive, server, shared

STEPS = 100_000
NODES = 8


def place(node: NodeCpus, dice: random.Random) -> NodeCpus:
    cpus, name = dice.randint(1, 24), f"i{dice.randint(0, 40)}"
    make = dice.choice((exclusive, shared))
    ask = Ask(count=cpus, policy=dice.choice(list(CpuPolicy)), numa=dice.choice(list(NumaRule)))
    return node.place(make(name, cpus, memory_bytes=dice.randint(0, 8) * GIB), ask)


def somebody(node: NodeCpus, dice: random.Random) -> str:
    return dice.choice([*sorted(node.holdings), "nobody"])


STEP_KINDS: list[Callable[[NodeCpus, random.Random], NodeCpus]] = [
    place,
    place,
    place,
    lambda node, dice: node.release(somebody(node, dice)),
    lambda node, dice: node.resize(somebody(node, dice), dice.randint(1, 24), dice.randint(0, 8) * GIB),
    lambda node, dice: node.lift(somebody(node, dice)),
    lambda node, dice: node.give_back(somebody(node, dice)),
]


def check(node: NodeCpus) -> None:
    alone = [held for held in node.holdings.values() if held.alone]
    assert sum(held.cpuset.bit_count() for held in alone) == node.exclusive.bit_count(), "two hold one CPU"
    assert node.exclusive & node.reserved == 0
    for name, held in node.holdings.items():
        allowed = node.allowed(name)
        assert allowed & node.reserved == 0
        if not held.alone:
            assert allowed & node.exclusive == 0, f"{name} runs on an exclusive CPU"
        else:
            assert held.cpuset.bit_count() == held.instance.cpus
            assert allowed & node.exclusive == held.cpuset
        assert bound_cpus(pod_annotations(node, name, ["main"]), "main") == allowed
    kinds = {
        kind: [held.instance for held in node.holdings.values() if held.instance.kind is kind] for kind in InstanceKind
    }
    sold = sum(instance.cpus for instance in kinds[InstanceKind.EXCLUSIVE])
    assert sold <= sellable_exclusive(node.limits, [instance.cpus for instance in kinds[InstanceKind.SHARED]])
    assert sold * 3 <= node.limits.sellable_cpus * 2
    assert sum(held.instance.memory_bytes for held in node.holdings.values()) <= node.limits.memory_bytes


@pytest.mark.parametrize("seed", range(NODES))
def test_no_step_ever_breaks_a_promise(seed: int) -> None:
    dice = random.Random(seed)
    mode = NodeMode.MIXED if seed % 4 else NodeMode.EXCLUSIVE
    node = server(cores=26, reserved=(0, 1, 26, 27), mode=mode)
    done = 0
    for _ in range(STEPS // NODES):
        try:
            node = dice.choice(STEP_KINDS)(node, dice)
        except DpuError:
            continue
        done += 1
        check(node)
    assert done > STEPS // NODES // 4
