"""What a host daemon does to real containers, on whatever cgroups the machine has: each story asserts as it goes."""

import os
import subprocess
import time
from pathlib import Path

import grpc
import pytest

from dpu_daemon.model.cgroup import Knob, QosClass
from proto.cpuset import parse
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc
from tests.real.host_rig import MIB, Container, Groups, Runc, wait_for

DEADLINE_S = 60.0
SHARED, OWN = "0", "1"
"""Two CPUs are all that a test can count on."""


def resize(
    stub: cpu_pb2_grpc.CpuServiceStub,
    request_id: str,
    container: Container,
    *,
    cpu: int,
    memory: int,
    request_milli: int = 100,
    request_bytes: int = 16 * MIB,
) -> cpu_pb2.ResizePodsResponse:
    """Resize a pod of one container; limits in thousandths of a CPU and bytes."""
    size = cpu_pb2.ContainerSize(
        container_id=container.name,
        cpu_request_milli=request_milli,
        cpu_limit_milli=cpu,
        memory_request_bytes=request_bytes,
        memory_limit_bytes=memory,
    )
    request = cpu_pb2.ResizePodsRequest(
        request_id=request_id, pods=[cpu_pb2.PodSize(pod_uid=container.pod, containers=[size])]
    )
    answer: cpu_pb2.ResizePodsResponse = stub.ResizePods(request, timeout=DEADLINE_S)
    return answer


def bind(
    stub: cpu_pb2_grpc.CpuServiceStub, generation: int, *bound: Container, shared: str = SHARED, own: str = OWN
) -> cpu_pb2.HostCpus:
    """Give each container the CPUs `own`, and all others `shared`."""
    request = cpu_pb2.SetBindingsRequest(
        generation=generation,
        shared=shared,
        bindings=[cpu_pb2.Binding(pod_uid=each.pod, container_id=each.name, own=own, allowed=own) for each in bound],
    )
    answer: cpu_pb2.HostCpus = stub.SetBindings(request, timeout=DEADLINE_S)
    return answer


def has_room(groups: Groups, path: str, mib: int) -> bool:
    """Whether a process in a group can have so much memory; the kernel kills it where it cannot."""
    script = f"read go; exec dd if=/dev/zero of=/dev/null bs={mib}M count=1"
    with subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        groups.attach(path, process.pid)
        process.communicate(b"go\n", timeout=DEADLINE_S)
    return process.returncode == 0


def rate(groups: Groups, path: str, seconds: float) -> float:
    """CPUs that a group used for some time."""
    before, began = groups.cpu_us(path), time.monotonic()
    time.sleep(seconds)
    return (groups.cpu_us(path) - before) / 1e6 / (time.monotonic() - began)


def throttled(groups: Groups, path: str, seconds: float) -> bool:
    """Whether a group's quota held it back within some time."""
    before = groups.stat(path)["nr_throttled"]
    time.sleep(seconds)
    return groups.stat(path)["nr_throttled"] > before


def grows_without_a_restart(stub: cpu_pb2_grpc.CpuServiceStub, runc: Runc, groups: Groups) -> None:
    """From 0.2 to 1 CPU and from 64 to 256 MiB, in a Burstable pod, with the same process."""
    busy = runc.run("grow", "grow-main", cpu=200, memory=64 * MIB)
    resize(stub, "grow-0", busy, cpu=200, memory=64 * MIB)
    assert rate(groups, busy.path, 1.0) < 0.3
    wait_for(lambda: throttled(groups, busy.path, 0.3), "it is held back")
    assert not has_room(groups, busy.path, 100)
    resize(stub, "grow-1", busy, cpu=1000, memory=256 * MIB)
    # What it uses now is also a matter of who else wants a CPU.
    wait_for(lambda: not throttled(groups, busy.path, 1.0), "it is not held back any more")
    assert has_room(groups, busy.path, 100)
    assert Path(f"/proc/{busy.pid}/cgroup").read_text().strip().endswith(busy.path)
    for path in (busy.path, busy.pod_path):
        assert groups.tree.value(path, Knob.CPU_QUOTA) == 1000
        assert groups.tree.value(path, Knob.MEMORY) == 256 * MIB
    runc.end(busy.name)


def is_not_lowered_under_use(stub: cpu_pb2_grpc.CpuServiceStub, runc: Runc, groups: Groups) -> None:
    """A memory limit below what is in use is refused with numbers, and nothing changes."""
    holds = "dd if=/dev/zero of=/dev/null bs=100M count=100000"
    held = runc.run("hold", "hold-main", holds, cpu=200, memory=256 * MIB)
    resize(stub, "hold-0", held, cpu=200, memory=256 * MIB)
    wait_for(lambda: groups.tree.look().groups[held.path].memory_used_bytes > 90 * MIB, "it holds 100 MiB")
    with pytest.raises(grpc.RpcError) as refused:
        resize(stub, "hold-1", held, cpu=300, memory=64 * MIB)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "would kill it" in (refused.value.details() or "")
    assert groups.tree.value(held.path, Knob.MEMORY) == 256 * MIB
    assert groups.tree.value(held.path, Knob.CPU_QUOTA) == 200
    assert Path(f"/proc/{held.pid}").exists()
    runc.end(held.name)


def best_effort_has_three_levels(stub: cpu_pb2_grpc.CpuServiceStub, runc: Runc, groups: Groups) -> None:
    """A BestEffort pod gets limits in its own groups; the class keeps the smallest weight."""
    idle = runc.run("poor", "poor-main", "sleep 1000", qos=QosClass.BEST_EFFORT)
    answer = resize(stub, "poor-0", idle, cpu=300, memory=32 * MIB, request_milli=0, request_bytes=0)
    assert any(line.startswith("kubepods/besteffort/podpoor/poor-main: memory") for line in answer.written)
    for path in (idle.path, idle.pod_path):
        assert groups.tree.value(path, Knob.CPU_QUOTA) == 300
        assert groups.tree.value(path, Knob.MEMORY) == 32 * MIB
    assert groups.tree.value("kubepods/besteffort", Knob.MEMORY) == -1
    runc.end(idle.name)


def exclusive_cpus_are_kept(
    stub: cpu_pb2_grpc.CpuServiceStub, runc: Runc, groups: Groups, *, changes: int, first_generation: int = 1
) -> set[int]:
    """While others come, go and are resized, a bound container's threads run on its CPU and nobody else's do.

    Returns:
        The CPUs on which its threads were seen.
    """
    bound = runc.run("db", "db-main", f"({'while :; do :; done'}) & while :; do :; done", qos=QosClass.GUARANTEED)
    other = runc.run("web", "web-main", "sleep 1000")
    answer = bind(stub, first_generation, bound)
    assert answer.bindings[0].state == cpu_pb2.BINDING_STATE_BOUND
    assert groups.tree.value(other.path, Knob.CPUSET) == parse(SHARED)
    wait_for(lambda: bound.cpus() == {1}, "it has moved to its CPU")
    seen: set[int] = set()
    for change in range(changes):
        match change % 3:
            case 0:
                _comes_and_goes(groups, change)
            case 1:
                resize(stub, f"web-{change}", other, cpu=200 + change % 500, memory=64 * MIB)
            case _:
                bind(stub, first_generation + 1 + change, bound)
        seen |= bound.cpus()
        assert groups.tree.value(bound.path, Knob.CPUSET) == parse(OWN)
    runc.end(other.name)
    runc.end(bound.name)
    return seen


def _comes_and_goes(groups: Groups, change: int) -> None:
    """A pod with a process, which ends up on the shared CPU without anybody being asked."""
    pod = f"kubepods/burstable/podx{change}"
    path = f"{pod}/c{change}"
    groups.make(pod)
    groups.make(path)
    with subprocess.Popen(["/bin/sleep", "100"]) as process:
        groups.attach(path, process.pid)
        wait_for(lambda: groups.tree.value(path, Knob.CPUSET) == parse(SHARED), f"{path} is on the shared CPU")
        assert os.sched_getaffinity(process.pid) == {0}
        process.kill()
    groups.remove(pod)
