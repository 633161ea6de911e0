from functools import cache
from pathlib import Path
from typing import Any

import pytest

from coordinator.core.cpu.distributed import take_distributed
from coordinator.core.cpu.kubelet import Picker, SortStrategy, take_packed
from coordinator.core.cpu.topology import Cpu, Level, Topology
from proto.cpuset import Mask, members, parse
from tests.contract.vectors_cpu.vectors import cases, judge, load

LEVELS = {"freeSockets": Level.SOCKET, "freeNUMANodes": Level.NUMA, "freeCores": Level.CORE}
CHOICES = cases("cpumanager_*.json")


@cache
def topology(path: Path, name: str) -> Topology:
    rows = load(path)["topologies"][name]["cpus"]
    return Topology(tuple(Cpu(cpu=c, core=k, socket=s, numa=n, uncore=u) for c, k, s, n, u in rows))


@pytest.mark.parametrize(("path", "case"), CHOICES)
def test_the_choice_equals_kubelets(path: Path, case: dict[str, Any]) -> None:
    where, available = topology(path, case["topology"]), parse(case["available"])
    strategy, count = SortStrategy(case["strategy"]), case["numCPUs"]

    def choose() -> Mask:
        if case["algo"] == "distributed":
            return take_distributed(where, available, count, case["cpuGroupSize"], strategy)
        align = bool(case.get("preferAlignByUncoreCache"))
        return take_packed(where, available, count, strategy, align_uncore=align)

    judge(case, choose)


@pytest.mark.parametrize(("path", "case"), cases("cpumanager_*.json", "free_cases"))
def test_units_are_looked_at_in_kubelets_order(path: Path, case: dict[str, Any]) -> None:
    where = topology(path, case["topology"])
    picker = Picker(where, parse(case["available"]), 0, SortStrategy.PACKED)
    cores = where.units[Level.CORE]
    if case["method"] == "freeCPUs":
        found = [cpu for core in picker.ordered(Level.CORE) for cpu in members(picker.free & cores[core])]
    else:
        level = LEVELS[case["method"]]
        units, whole = where.units[level], where.average(level)
        found = [unit for unit in picker.ordered(level) if (picker.free & units[unit]).bit_count() == whole]
    if case["method"] == "freeSockets":
        found.sort()  # upstream's own test sorts this list, so its order was not observed
    assert found == case["expect"]


def test_there_are_vectors() -> None:
    assert CHOICES
