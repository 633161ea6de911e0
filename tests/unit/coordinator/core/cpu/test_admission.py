from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.cpu.admission import (
    EXCLUSIVE_CAP,
    Instance,
    InstanceKind,
    NodeLimits,
    NodeMode,
    Refused,
    refusals,
    sellable_exclusive,
)
from proto.errors import DpuError

GIB = 1 << 30


def node(mode: NodeMode = NodeMode.MIXED, **changes: object) -> NodeLimits:
    settings: dict[str, object] = {"sellable_cpus": 96, "oversell": Fraction(2), "memory_bytes": 384 * GIB}
    return NodeLimits(mode=mode, **{**settings, **changes})  # type: ignore[arg-type]


def instance(kind: InstanceKind, cpus: int, application: str = "", memory_bytes: int = GIB) -> Instance:
    name = f"{kind.value}-{cpus}"
    return Instance(name=name, application=application or name, kind=kind, cpus=cpus, memory_bytes=memory_bytes)


@pytest.mark.parametrize(("shared", "sellable"), [([], 64), ([32, 32], 32), ([32], 32), ([8], 64)])
def test_the_worked_examples_hold(shared: list[int], sellable: int) -> None:
    assert sellable_exclusive(node(), shared) == sellable


def test_an_exclusive_instance_over_the_limit_hears_the_numbers() -> None:
    sold = [instance(InstanceKind.SHARED, 32)]
    [refusal] = refusals(node(), sold, instance(InstanceKind.EXCLUSIVE, 40))
    assert refusal.rule is Refused.EXCLUSIVE_LIMIT
    assert "make 40, over the 32" in refusal.sentence


def test_a_shared_instance_may_not_break_what_exclusive_ones_were_sold() -> None:
    sold = [instance(InstanceKind.EXCLUSIVE, 48)]
    assert refusals(node(), sold, instance(InstanceKind.SHARED, 24)) == []
    [refusal] = refusals(node(), sold, instance(InstanceKind.SHARED, 25))
    assert refusal.rule is Refused.SHARED_LIMIT
    assert "over the 24" in refusal.sentence


@pytest.mark.parametrize(
    ("mode", "kind"), [(NodeMode.EXCLUSIVE, InstanceKind.SHARED), (NodeMode.SHARED, InstanceKind.EXCLUSIVE)]
)
def test_a_node_of_one_kind_refuses_the_other(mode: NodeMode, kind: InstanceKind) -> None:
    assert [refusal.rule for refusal in refusals(node(mode), [], instance(kind, 4))] == [Refused.MODE]


def test_an_application_runs_once_per_node_unless_listed() -> None:
    sold = [instance(InstanceKind.SHARED, 4, "db")]
    again = instance(InstanceKind.EXCLUSIVE, 4, "db")
    assert [refusal.rule for refusal in refusals(node(), sold, again)] == [Refused.PER_APPLICATION]
    assert refusals(node(machine_max={"db": 2}), sold, again) == []


def test_memory_is_never_oversold() -> None:
    sold = [instance(InstanceKind.SHARED, 4, memory_bytes=380 * GIB)]
    [refusal] = refusals(node(), sold, instance(InstanceKind.SHARED, 4, "other", 5 * GIB))
    assert refusal.rule is Refused.MEMORY


def test_all_broken_rules_are_told_at_once() -> None:
    sold = [instance(InstanceKind.SHARED, 90, "db", 384 * GIB)]
    new = instance(InstanceKind.EXCLUSIVE, 90, "db")
    assert {refusal.rule for refusal in refusals(node(NodeMode.SHARED), sold, new)} == {
        Refused.MODE,
        Refused.EXCLUSIVE_LIMIT,
        Refused.MEMORY,
        Refused.PER_APPLICATION,
    }


def test_impossible_sizes_name_their_field() -> None:
    with pytest.raises(DpuError) as refusal:
        instance(InstanceKind.SHARED, 0)
    assert refusal.value.field == "cpus"
    with pytest.raises(DpuError) as refusal:
        node(oversell=Fraction(1, 2))
    assert refusal.value.field == "oversell"


@given(st.lists(st.tuples(st.sampled_from(InstanceKind), st.integers(1, 64)), max_size=40))
def test_whatever_comes_the_promises_hold(asked: list[tuple[InstanceKind, int]]) -> None:
    sold: list[Instance] = []
    for number, (kind, cpus) in enumerate(asked):
        new = instance(kind, cpus, f"app-{number}")
        if not refusals(node(), sold, new):
            sold.append(new)
    shared = [one.cpus for one in sold if one.kind is InstanceKind.SHARED]
    exclusive = sum(one.cpus for one in sold if one.kind is InstanceKind.EXCLUSIVE)
    assert exclusive <= EXCLUSIVE_CAP * 96
    assert exclusive <= sellable_exclusive(node(), shared)
    assert sum(shared) <= (96 - exclusive) * 2
