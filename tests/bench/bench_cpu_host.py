"""What a host daemon costs, and how fast it is beside what containers are resized with elsewhere.

Run as ``python -m pytest tests/bench/bench_cpu_host.py -s`` as root, with runc and containerd; prints, asserts nothing
about time. The ways of resizing are measured in turns, so that a busy machine is busy for all of them.
"""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from rich.console import Console

from dpu_daemon.model.cgroup import QosClass
from proto.cpuset import parse
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc
from tests.real import host_story
from tests.real.containerd_rig import Containerd
from tests.real.host_rig import MIB, PARENTS, Container, Groups, HostDaemon, Runc

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

ROUNDS = 100
PODS, CONTAINERS = 100, 4
"""With the pods' own groups 500 in all; one container of each pod does something every second."""
WATCHED_S = 20.0
ACTIVE = ["/bin/busybox", "sh", "-c", "while :; do sleep 0.7; done"]


def tell(words: str) -> None:
    Console(width=160).print(words)


def percentiles(name: str, times_ms: list[float]) -> None:
    ordered = sorted(times_ms)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    tell(f"{name:58} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms   least {ordered[0]:8.2f} ms")


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def groups() -> Iterator[Groups]:
    made = Groups()
    try:
        yield made
    finally:
        made.remove("")


def test_a_resize_from_the_call_to_the_group(directory: Path, groups: Groups) -> None:
    runc = Runc(directory, groups)
    runtime = Containerd(directory, groups.above)
    daemon = HostDaemon(directory, groups.above)
    ours: list[float] = []
    writes: list[float] = []
    others: dict[str, list[float]] = {"runc update": [], "containerd's UpdateContainerResources": []}
    try:
        with runtime.running(), daemon.running(), daemon.stub() as stub:
            here = runc.run("ours", "ours-main", "sleep 1000", cpu=200, memory=64 * MIB)
            runc.run("theirs", "theirs-main", "sleep 1000", cpu=200, memory=64 * MIB)
            there = runtime.run("cri", "main", "sleep 1000", cpu=200)
            for turn in range(ROUNDS):
                cpu, memory = 200 + turn % 2 * 800, (64 + turn % 2 * 192) * MIB
                took, answer = _resized(stub, f"bench-{turn}", here, cpu=cpu, memory=memory)
                ours.append(took)
                writes.append(answer.microseconds / 1000)
                others["runc update"].append(
                    _spent(lambda cpu=cpu, memory=memory: _runc_update(runc, cpu, memory))  # type: ignore[misc]
                )
                others["containerd's UpdateContainerResources"].append(
                    _spent(lambda cpu=cpu, memory=memory: runtime.update(there, cpu=cpu, memory=memory))  # type: ignore[misc]
                )
            tell(f"{len(answer.written)} files over container, pod and class, each read back: {answer.written[0]} ...")
            runc.close()
    finally:
        runc.close()
    percentiles("ResizePods, from the call to its answer", ours)
    percentiles("  of it all writes, each read back", writes)
    for name, times in others.items():
        percentiles(f"{name} (the container's own group alone)", times)


def _resized(
    stub: cpu_pb2_grpc.CpuServiceStub, request_id: str, container: Container, *, cpu: int, memory: int
) -> tuple[float, cpu_pb2.ResizePodsResponse]:
    began = time.perf_counter()
    answer = host_story.resize(
        stub, request_id, container, cpu=cpu, memory=memory, request_milli=cpu // 2, request_bytes=memory // 2
    )
    return 1000 * (time.perf_counter() - began), answer


def _spent(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def _runc_update(runc: Runc, cpu: int, memory: int) -> None:
    runc.call("update", "--cpu-quota", str(cpu * 100), "--cpu-period", "100000", "--memory", str(memory), "theirs-main")


def test_what_watching_500_groups_costs(directory: Path, groups: Groups) -> None:
    busy: list[subprocess.Popen[bytes]] = []
    try:
        for pod in range(PODS):
            home = f"{PARENTS[QosClass.BURSTABLE]}/pod{pod}"
            groups.make(home)
            for number in range(CONTAINERS):
                groups.make(f"{home}/c{number}")
            busy.append(subprocess.Popen(ACTIVE))
            groups.attach(f"{home}/c0", busy[-1].pid)
            if groups.version.value == "v1":
                (Path("/sys/fs/cgroup/cpuacct") / groups.above / home / "c0").mkdir(parents=True, exist_ok=True)
                (Path("/sys/fs/cgroup/cpuacct") / groups.above / home / "c0/cgroup.procs").write_text(str(busy[-1].pid))
        daemon = HostDaemon(directory, groups.above, audit_s=10.0)
        with daemon.running() as process, daemon.stub() as stub:
            stub.SetBindings(cpu_pb2.SetBindingsRequest(generation=1, shared="0-1"), timeout=60)
            _watch(stub, process.pid)
            _newcomers(groups, stub)
    finally:
        for child in busy:
            child.kill()
            child.wait()


def _watch(stub: cpu_pb2_grpc.CpuServiceStub, pid: int) -> None:
    stream = stub.WatchUsage(cpu_pb2.WatchUsageRequest())
    sizes: list[int] = []
    changed: list[int] = []

    def read() -> None:
        try:
            for report in stream:
                sizes.append(report.ByteSize())
                changed.append(len(report.groups))
        except grpc.RpcError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(3.0)
    before, began = _cpu_s(pid), time.monotonic()
    time.sleep(WATCHED_S)
    spent = (_cpu_s(pid) - before) / (time.monotonic() - began)
    stream.cancel()
    reader.join()
    tell(f"{changed[0]} groups watched every second, {changed[-1]} of them changing: {100 * spent:.2f} % of a core")
    tell(f"{_rss_mib(pid):.1f} MiB resident; full report {sizes[0]} bytes, delta {sorted(sizes)[len(sizes) // 2]}")


def _newcomers(groups: Groups, stub: cpu_pb2_grpc.CpuServiceStub) -> None:
    """From the making of a container's group to its leaving the exclusive CPU, among 500 others."""
    bound = cpu_pb2.Binding(pod_uid="0", container_id="c1", own="1", allowed="1")
    stub.SetBindings(cpu_pb2.SetBindingsRequest(generation=2, shared="0", bindings=[bound]), timeout=60)
    delays: list[float] = []
    cpuset = Path("/sys/fs/cgroup/cpuset") if groups.version.value == "v1" else Path("/sys/fs/cgroup")
    for number in range(ROUNDS):
        directory = cpuset / groups.above / PARENTS[QosClass.BURSTABLE] / f"podn{number}"
        began = time.perf_counter()
        directory.mkdir()
        file = directory / "cpuset.cpus"
        while parse(file.read_text()) != 1:
            time.sleep(0.0002)
        delays.append(1000 * (time.perf_counter() - began))
        time.sleep(0.02)
    percentiles("a new group leaves the exclusive CPUs after", delays)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
