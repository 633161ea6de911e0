"""The host's daemon as a process on the kernel's own groups: SIGKILL before each write of one change."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from dpu_daemon.model.cgroup import Knob, QosClass
from dpu_daemon.plan.cpusets import Binding, WantedCpus, plan_cpusets
from proto.cpuset import parse
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc
from tests.fakes.orders import give
from tests.real.host_rig import MIB, PARENTS, Groups, HostDaemon, wait_for

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for control groups"),
]
DB = f"{PARENTS[QosClass.BURSTABLE]}/poddb/main"
WEB = f"{PARENTS[QosClass.BURSTABLE]}/podweb/main"
MOST_WRITES = 40


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dp-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def groups() -> Iterator[Groups]:
    made = Groups()
    try:
        for path in (DB, WEB):
            made.make(path.rpartition("/")[0])
            made.make(path)
        yield made
    finally:
        made.remove("")


def _bindings(generation: int, *, bound: bool) -> cpu_pb2.SetBindingsRequest:
    """CPU 1 is the instance's own and 0 everybody else's; or both are everybody's."""
    own, allowed, shared = ("1", "1", "0") if bound else ("", "0-1", "0-1")
    bindings = [cpu_pb2.Binding(pod_uid="db", container_id="main", own=own, allowed=allowed)]
    return cpu_pb2.SetBindingsRequest(generation=generation, shared=shared, bindings=bindings)


def _change(stub: cpu_pb2_grpc.CpuServiceStub, *, even: bool, number: int) -> None:
    """Bind or free the instance, and resize the pod beside it, as one change."""
    size = cpu_pb2.ContainerSize(
        container_id="main",
        cpu_request_milli=200 if even else 100,
        cpu_limit_milli=700 if even else 500,
        memory_request_bytes=MIB,
        memory_limit_bytes=(128 if even else 64) * MIB,
    )
    pod = cpu_pb2.PodSize(pod_uid="web", containers=[size])
    request = cpu_pb2.ResizePodsRequest(request_id=f"r-{number}", pods=[pod], bindings=_bindings(number, bound=even))
    stub.ResizePods(request, timeout=30)


def _is_as_the_ledger_says(stub: cpu_pb2_grpc.CpuServiceStub, groups: Groups) -> bool:
    told = stub.GetCpus(cpu_pb2.GetCpusRequest(), timeout=30)
    bound = told.bindings[0].binding
    wanted = WantedCpus(
        shared=parse(told.shared), bindings={DB: Binding(own=parse(bound.own), allowed=parse(bound.allowed))}
    )
    return told.bindings[0].state == cpu_pb2.BINDING_STATE_BOUND and not plan_cpusets(groups.tree.look(), wanted)


def _sizes(groups: Groups) -> tuple[int, int, int]:
    return (
        groups.tree.value(WEB, Knob.MEMORY),
        groups.tree.value(WEB, Knob.CPU_QUOTA),
        groups.tree.value(WEB.rpartition("/")[0], Knob.MEMORY),
    )


def test_sigkill_before_each_write_of_a_change_leaves_groups_that_a_restart_makes_as_the_ledger_says(
    directory: Path, groups: Groups
) -> None:
    """Each change goes back and forth, so that every one really writes; what one daemon left the next one finishes."""
    mortal = HostDaemon(directory, groups.above, program=("tests.fakes.host_process",))
    with mortal.running(), mortal.stub() as stub:
        stub.SetBindings(_bindings(1, bound=True), timeout=30)
        _change(stub, even=False, number=2)
    killed = 0
    for point in range(1, MOST_WRITES):
        with mortal.running() as process, mortal.stub() as stub:
            before = _wanted(even=point % 2 == 0)
            wait_for(lambda stub=stub: _is_as_the_ledger_says(stub, groups), "groups are as the ledger says")  # type: ignore[misc]
            wait_for(lambda before=before: _sizes(groups) == before, f"sizes are {before}")  # type: ignore[misc]
            give(directory / "kill-at", str(point))
            try:
                _change(stub, even=point % 2 == 1, number=point + 2)
            except grpc.RpcError:
                process.wait(timeout=60)
            else:
                break
        assert process.returncode == -signal.SIGKILL
        killed += 1
    assert killed >= 8, mortal.log()[-2000:]


def _wanted(*, even: bool) -> tuple[int, int, int]:
    memory = (128 if even else 64) * MIB
    return memory, 700 if even else 500, memory
