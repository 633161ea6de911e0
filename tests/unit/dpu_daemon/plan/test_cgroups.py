from dataclasses import replace
from typing import Any

import pytest

from dpu_daemon.model.cgroup import UNLIMITED, Group, Hierarchy, Knob, Layer, QosClass, Write
from dpu_daemon.plan.cpusets import Binding, WantedCpus, check_wanted, plan_cpusets
from dpu_daemon.plan.resources import NodeCapacity, PodResources, Resources, class_of, plan_resources, shares_of
from proto.cpuset import parse
from proto.errors import DpuError
from proto.reasons import Reason

MIB = 1 << 20
NODE = NodeCapacity(cpu_milli=8000, memory_bytes=8 << 30)


def host(*, cpus: str = "0-7", containers: tuple[str, ...] = ("a", "b"), **knobs: Any) -> Hierarchy:
    """A Burstable pod with containers, all on the same CPUs."""
    mask = parse(cpus)
    groups = [
        Group(path="k", layer=Layer.ROOT, cpuset=mask, effective=mask),
        Group(path="k/b", layer=Layer.QOS, parent="k", cpuset=mask, effective=mask),
        Group(path="k/b/p", layer=Layer.POD, parent="k/b", cpuset=mask, effective=mask, **knobs),
    ]
    groups += [
        Group(path=f"k/b/p/{name}", layer=Layer.CONTAINER, parent="k/b/p", cpuset=mask, effective=mask, **knobs)
        for name in containers
    ]
    return Hierarchy(groups={group.path: group for group in groups})


def bound(path: str, cpus: str, shared: str) -> WantedCpus:
    return WantedCpus(shared=parse(shared), bindings={path: Binding(own=parse(cpus), allowed=parse(cpus))})


def test_others_leave_before_an_owner_comes() -> None:
    writes = plan_cpusets(host(), bound("k/b/p/a", "2-3", "0-1,4-7"))
    assert [(write.path, write.value) for write in writes] == [
        ("k/b/p/a", parse("2-3")),
        ("k/b/p/b", parse("0-1,4-7")),
    ]


def test_what_is_right_is_not_written() -> None:
    assert plan_cpusets(host(cpus="0-7"), WantedCpus(shared=parse("0-7"))) == []


def test_two_owners_that_swap_use_a_free_cpu() -> None:
    seen = host()
    groups = dict(seen.groups)
    for name, cpus in (("a", "1"), ("b", "2")):
        groups[f"k/b/p/{name}"] = replace(groups[f"k/b/p/{name}"], cpuset=parse(cpus), effective=parse(cpus))
    wanted = WantedCpus(
        shared=parse("0"),
        bindings={
            "k/b/p/a": Binding(own=parse("2"), allowed=parse("2")),
            "k/b/p/b": Binding(own=parse("1"), allowed=parse("1")),
        },
    )
    leaves = [write for write in plan_cpusets(Hierarchy(groups=groups), wanted) if write.path.count("/") == 3]
    assert [(write.path[-1], write.value) for write in leaves] == [
        ("a", parse("0")),
        ("b", parse("1")),
        ("a", parse("2")),
    ]


def test_a_swap_without_a_free_cpu_is_refused() -> None:
    groups = dict(host(cpus="0-1").groups)
    for name, cpus in (("a", "0"), ("b", "1")):
        groups[f"k/b/p/{name}"] = replace(groups[f"k/b/p/{name}"], cpuset=parse(cpus), effective=parse(cpus))
    wanted = WantedCpus(
        shared=0,
        bindings={
            "k/b/p/a": Binding(own=parse("1"), allowed=parse("1")),
            "k/b/p/b": Binding(own=parse("0"), allowed=parse("0")),
        },
    )
    with pytest.raises(DpuError) as refused:
        plan_cpusets(Hierarchy(groups=groups), wanted)
    assert refused.value.reason is Reason.WRONG_STATE


@pytest.mark.parametrize(
    ("own", "allowed", "shared", "sentence"),
    [
        ("8", "8", "0-7", "CPU 8 of x is not online"),
        ("1", "", "0", "x would have no CPU"),
        ("1", "1", "", "the shared pool would have no CPU"),
        ("1", "2", "0", "x may not run on CPU 1"),
        ("1", "1", "0-1", "CPU 1 is shared and has an owner"),
    ],
)
def test_a_binding_that_cannot_be_meant_is_refused(own: str, allowed: str, shared: str, sentence: str) -> None:
    wanted = WantedCpus(shared=parse(shared), bindings={"x": Binding(own=parse(own), allowed=parse(allowed))})
    with pytest.raises(DpuError) as refused:
        check_wanted(wanted, parse("0-7"))
    assert sentence in refused.value.message


def test_a_cpu_has_one_owner() -> None:
    both = {name: Binding(own=parse("1"), allowed=parse("1")) for name in "xy"}
    with pytest.raises(DpuError) as refused:
        check_wanted(WantedCpus(shared=parse("0"), bindings=both), parse("0-7"))
    assert "CPU 1 of y has another owner" in refused.value.message


def resized(limit_mib: int, *, cpu: int = 1000, request_mib: int = 16) -> Resources:
    return Resources(
        cpu_request_milli=100,
        cpu_limit_milli=cpu,
        memory_request_bytes=request_mib * MIB,
        memory_limit_bytes=limit_mib * MIB,
    )


def pod(*asked: Resources, qos: QosClass = QosClass.BURSTABLE) -> PodResources:
    return PodResources(path="k/b/p", qos=qos, containers=dict(zip(("k/b/p/a", "k/b/p/b"), asked, strict=False)))


def test_growing_goes_from_the_pod_down_and_memory_first() -> None:
    seen = host(containers=("a",), quota_milli=200, memory_bytes=64 * MIB, shares=102)
    writes = plan_resources(seen, pod(resized(256)), NODE)
    assert [(write.knob, write.path) for write in writes][:4] == [
        (Knob.MEMORY, "k/b/p"),
        (Knob.MEMORY, "k/b/p/a"),
        (Knob.CPU_QUOTA, "k/b/p"),
        (Knob.CPU_QUOTA, "k/b/p/a"),
    ]
    assert writes[0] == Write(path="k/b/p", knob=Knob.MEMORY, value=256 * MIB, before=64 * MIB)


def test_shrinking_goes_from_the_container_up() -> None:
    seen = host(containers=("a",), quota_milli=2000, memory_bytes=512 * MIB, shares=102)
    writes = [write for write in plan_resources(seen, pod(resized(256)), NODE) if write.knob is Knob.MEMORY]
    assert [write.path for write in writes] == ["k/b/p/a", "k/b/p"]


def test_memory_is_never_set_below_what_is_in_use() -> None:
    seen = host(containers=("a",), memory_bytes=512 * MIB, memory_used_bytes=255 * MIB)
    with pytest.raises(DpuError) as refused:
        plan_resources(seen, pod(resized(256)), NODE)
    assert refused.value.reason is Reason.IN_USE
    assert "ask for at least" in refused.value.remedy


def test_memory_may_grow_while_it_is_nearly_full() -> None:
    seen = host(containers=("a",), memory_bytes=256 * MIB, memory_used_bytes=255 * MIB)
    assert plan_resources(seen, pod(resized(257)), NODE)


def test_a_pod_never_gets_more_than_the_node_has() -> None:
    with pytest.raises(DpuError) as refused:
        plan_resources(host(), pod(resized(9000, request_mib=8193), resized(16)), NODE)
    assert refused.value.reason is Reason.EXHAUSTED
    assert refused.value.field == "resources.requests.memory"


def test_a_limit_of_the_class_moves_with_its_pod() -> None:
    seen = host(containers=("a",), memory_bytes=64 * MIB)
    groups = dict(seen.groups)
    groups["k/b"] = replace(groups["k/b"], memory_bytes=100 * MIB)
    writes = plan_resources(Hierarchy(groups=groups), pod(resized(128)), NODE)
    assert (writes[0].path, writes[0].value) == ("k/b", 164 * MIB)


def test_a_pinned_pod_has_no_quota() -> None:
    seen = host(containers=("a",), quota_milli=2000)
    wanted = replace(pod(resized(256)), pinned=True)
    quotas = {write.path: write.value for write in plan_resources(seen, wanted, NODE) if write.knob is Knob.CPU_QUOTA}
    assert quotas == {"k/b/p": UNLIMITED, "k/b/p/a": UNLIMITED}


def test_a_pods_class_never_changes() -> None:
    same = Resources(cpu_request_milli=1, cpu_limit_milli=1, memory_request_bytes=1, memory_limit_bytes=1)
    with pytest.raises(DpuError) as refused:
        plan_resources(host(containers=("a",)), pod(same), NODE)
    assert "would become Guaranteed" in refused.value.message


def test_a_best_effort_pod_may_be_limited_in_its_groups_but_asks_for_nothing() -> None:
    limited = Resources(cpu_limit_milli=500, memory_limit_bytes=8 * MIB)
    assert plan_resources(host(containers=("a",)), pod(limited, qos=QosClass.BEST_EFFORT), NODE)
    with pytest.raises(DpuError):
        plan_resources(host(containers=("a",)), pod(resized(1), qos=QosClass.BEST_EFFORT), NODE)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (Resources(cpu_request_milli=-1), "resources.cpu"),
        (Resources(memory_limit_bytes=0), "resources.memory"),
        (Resources(cpu_request_milli=2, cpu_limit_milli=1), "resources.limits.cpu"),
    ],
)
def test_sizes_that_make_no_sense_are_refused_by_field(asked: Resources, field: str) -> None:
    with pytest.raises(DpuError) as refused:
        plan_resources(host(containers=("a",)), pod(asked), NODE)
    assert refused.value.field == field


def test_a_group_that_is_gone_is_named() -> None:
    with pytest.raises(DpuError) as refused:
        plan_resources(Hierarchy(), pod(resized(1)), NODE)
    assert refused.value.reason is Reason.NOT_FOUND


def test_classes_and_weights_are_kubernetes() -> None:
    assert class_of([Resources()]) is QosClass.BEST_EFFORT
    assert [shares_of(milli) for milli in (0, 100, 1000, 2_000_000)] == [2, 102, 1024, 262_144]
