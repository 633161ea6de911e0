"""Random hosts and changes, written file by file to a model of the kernel: what must hold between any two writes."""

import random
from collections.abc import Mapping

import pytest

from dpu_daemon.model.cgroup import UNLIMITED, Group, Hierarchy, Knob, Layer, QosClass, Write
from dpu_daemon.plan.cpusets import Binding, WantedCpus, check_wanted, plan_cpusets, target_cpusets
from dpu_daemon.plan.resources import NodeCapacity, PodResources, Resources, lowest_limit, plan_resources
from proto.cpuset import mask_of
from proto.errors import DpuError

CPUS = 12
MIB = 1 << 20


def hierarchy(dice: random.Random) -> Hierarchy:
    """A root, its two classes, and up to six pods with up to three containers."""
    groups = {"k": Group(path="k", layer=Layer.ROOT)}
    for name in ("burstable", "besteffort"):
        groups[f"k/{name}"] = Group(path=f"k/{name}", layer=Layer.QOS, parent="k")
    for number in range(dice.randint(1, 6)):
        parent = dice.choice(("k", "k/burstable", "k/besteffort"))
        pod = f"{parent}/pod{number}"
        groups[pod] = Group(path=pod, layer=Layer.POD, parent=parent)
        for container in range(dice.randint(0, 3)):
            path = f"{pod}/c{container}"
            groups[path] = Group(path=path, layer=Layer.CONTAINER, parent=pod)
    return Hierarchy(groups=groups)


def wish(where: Hierarchy, dice: random.Random) -> WantedCpus:
    """CPUs dealt out to some containers; the rest is shared; some owners may use the shared ones, too."""
    cpus = list(range(CPUS))
    dice.shuffle(cpus)
    bindings = {}
    for group in where.at(Layer.CONTAINER):
        if dice.random() < 0.5 and len(cpus) > 3:
            own = mask_of(cpus.pop() for _ in range(dice.randint(1, 2)))
            bindings[group.path] = own
    shared = mask_of(cpus)
    return WantedCpus(
        shared=shared,
        bindings={
            path: Binding(own=own, allowed=own | (shared if dice.random() < 0.2 else 0))
            for path, own in bindings.items()
        },
    )


def settled(where: Hierarchy, masks: Mapping[str, int]) -> Hierarchy:
    return Hierarchy(
        groups={
            path: Group(path=path, layer=group.layer, parent=group.parent, cpuset=masks[path], effective=masks[path])
            for path, group in where.groups.items()
        }
    )


def replay(where: Hierarchy, writes: list[Write], target: Mapping[str, int]) -> dict[str, int]:
    """Write as a kernel of version 1 would let us, and check each step."""
    now = {path: group.cpuset for path, group in where.groups.items()}
    leaves = {group.path for group in where.at(Layer.CONTAINER)}
    for write in writes:
        assert now[write.path] == write.before
        group = where.groups[write.path]
        assert write.value, "an empty set has no CPU to run on"
        assert not group.parent or now[group.parent] & write.value == write.value, "a child outside its parent"
        for child in where.children(write.path):
            assert now[child.path] & ~write.value == 0, "a parent below its child"
        if write.path in leaves:
            gained = write.value & ~now[write.path]
            for other in leaves - {write.path}:
                leaving = now[other] & ~target[other]
                assert gained & leaving == 0, f"{write.path} is given a CPU that {other} still has to leave"
        now[write.path] = write.value
    return now


@pytest.mark.parametrize("seed", range(40))
def test_cpus_change_hands_without_a_moment_of_overlap(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(50):
        where = hierarchy(dice)
        before, after = wish(where, dice), wish(where, dice)
        for each in (before, after):
            check_wanted(each, (1 << CPUS) - 1)
        start = settled(where, target_cpusets(where, before))
        target = target_cpusets(where, after)
        try:
            writes = plan_cpusets(start, after)
        except DpuError as error:
            if "no CPU is free" not in error.message:
                raise
            continue
        now = replay(start, writes, target)
        assert now == dict(target)
        assert plan_cpusets(settled(where, now), after) == []
        for cut in range(len(writes)):
            halfway = {path: group.cpuset for path, group in start.groups.items()}
            halfway |= {write.path: write.value for write in writes[:cut]}
            resumed = settled(where, halfway)
            assert replay(resumed, plan_cpusets(resumed, after), target) == dict(target), "a killed change goes on"


def sizes(dice: random.Random, qos: QosClass) -> Resources:
    cpu, memory = dice.randint(1, 40) * 100, dice.randint(1, 64) * 16 * MIB
    if qos is QosClass.GUARANTEED:
        return Resources(
            cpu_request_milli=cpu, cpu_limit_milli=cpu, memory_request_bytes=memory, memory_limit_bytes=memory
        )
    if qos is QosClass.BURSTABLE:
        return Resources(
            cpu_request_milli=cpu // 2,
            cpu_limit_milli=dice.choice((cpu, UNLIMITED)),
            memory_request_bytes=memory // 2,
            memory_limit_bytes=dice.choice((memory, UNLIMITED)),
        )
    return Resources(cpu_limit_milli=dice.choice((cpu, UNLIMITED)), memory_limit_bytes=dice.choice((memory, UNLIMITED)))


PARENT = {
    QosClass.GUARANTEED: "k",
    QosClass.BURSTABLE: "k/burstable",
    QosClass.BEST_EFFORT: "k/besteffort",
}


def one_pod(qos: QosClass, containers: int) -> Hierarchy:
    groups = {"k": Group(path="k", layer=Layer.ROOT)}
    for name in ("burstable", "besteffort"):
        groups[f"k/{name}"] = Group(path=f"k/{name}", layer=Layer.QOS, parent="k", shares=2)
    pod = f"{PARENT[qos]}/pod"
    groups[pod] = Group(path=pod, layer=Layer.POD, parent=PARENT[qos])
    for number in range(containers):
        groups[f"{pod}/c{number}"] = Group(path=f"{pod}/c{number}", layer=Layer.CONTAINER, parent=pod)
    return Hierarchy(groups=groups)


def apply(where: Hierarchy, writes: list[Write]) -> Hierarchy:
    """Write as a kernel of version 1 would let us: no quota of a child above its parent's."""
    values = {(path, knob): group.value(knob) for path, group in where.groups.items() for knob in Knob}
    for write in writes:
        assert values[write.path, write.knob] == write.before
        values[write.path, write.knob] = write.value
        if write.knob is Knob.CPU_QUOTA:
            for path, group in where.groups.items():
                above = values.get((group.parent, write.knob), UNLIMITED)
                own = values[path, write.knob]
                assert UNLIMITED in {above, own} or own <= above
    return Hierarchy(
        groups={
            path: Group(
                path=path,
                layer=group.layer,
                parent=group.parent,
                quota_milli=values[path, Knob.CPU_QUOTA],
                shares=values[path, Knob.CPU_SHARES],
                memory_bytes=values[path, Knob.MEMORY],
                memory_used_bytes=group.memory_used_bytes,
            )
            for path, group in where.groups.items()
        }
    )


@pytest.mark.parametrize("qos", list(QosClass))
@pytest.mark.parametrize("seed", range(10))
def test_a_pod_is_resized_over_all_layers_in_the_safe_order(seed: int, qos: QosClass) -> None:
    dice = random.Random(seed)
    capacity = NodeCapacity(cpu_milli=64_000, memory_bytes=64 << 30)
    where = one_pod(qos, dice.randint(1, 3))
    pod = next(group.path for group in where.at(Layer.POD))
    for _ in range(60):
        asked = {group.path: sizes(dice, qos) for group in where.at(Layer.CONTAINER)}
        wanted = PodResources(path=pod, qos=qos, containers=asked)
        writes = plan_resources(where, wanted, capacity)
        knobs = [write.knob for write in writes]
        assert knobs == sorted(knobs, key=[Knob.MEMORY, Knob.CPU_QUOTA, Knob.CPU_SHARES].index), "memory before CPU"
        where = apply(where, writes)
        assert plan_resources(where, wanted, capacity) == []


@pytest.mark.parametrize("used", [0, 1, 64 * MIB, 63 * MIB + 17, 8 << 30])
def test_the_lowest_limit_is_whole_pages_above_what_is_in_use(used: int) -> None:
    assert lowest_limit(used) % 4096 == 0
    assert lowest_limit(used) > used
