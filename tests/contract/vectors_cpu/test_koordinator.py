from functools import cache
from pathlib import Path
from typing import Any

import pytest

from coordinator.core.cpu.koordinator import (
    BindPolicy,
    ExclusivePolicy,
    NumaStrategy,
    Request,
    Tenancy,
    take_cpus,
)
from coordinator.core.cpu.topology import Cpu, Topology
from proto.cpuset import parse
from tests.contract.vectors_cpu.vectors import cases, judge, load

CHOICES = cases("koordinator_*.json")


@cache
def topology(path: Path, name: str) -> Topology:
    rows = load(path)["topologies"][name]["cpus"]
    return Topology(tuple(Cpu(cpu=c, core=k, numa=n, socket=s) for c, k, n, s in rows))


@pytest.mark.parametrize(("path", "case"), CHOICES)
def test_the_choice_equals_koordinators(path: Path, case: dict[str, Any]) -> None:
    tenancies = [
        Tenancy(cpu=cpu, refs=refs, exclusive=ExclusivePolicy(policy or "None"))
        for cpu, refs, policy in case["allocated"]
    ]
    request = Request(
        count=case["numCPUsNeeded"],
        bind=BindPolicy(case["bindPolicy"]),
        exclusive=ExclusivePolicy(case["exclusivePolicy"]),
        strategy=NumaStrategy(case["numaAllocateStrategy"]),
        max_refs=case["maxRefCount"],
        preferred=parse(case.get("preferred", "")),
    )
    where = topology(path, case["topology"])
    judge(case, lambda: take_cpus(where, parse(case["available"]), tenancies, request))


def test_there_are_vectors() -> None:
    assert CHOICES
