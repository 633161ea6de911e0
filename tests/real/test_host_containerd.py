"""Containers of a real containerd, found by the names that its CRI tells."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpu_daemon.drivers.cri import CriNames
from dpu_daemon.model.cgroup import Knob
from proto.cpuset import parse
from proto.dpu.v1 import cpu_pb2
from tests.real.containerd_rig import Containerd
from tests.real.host_rig import BUSY, MIB, Groups, HostDaemon, wait_for
from tests.real.host_story import DEADLINE_S, OWN, SHARED

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("containerd"), reason="needs root, containerd (make deps)"
    ),
]


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


def test_a_container_is_bound_and_resized_by_its_name_and_stays_bound_while_the_runtime_is_away(
    directory: Path, groups: Groups
) -> None:
    runtime = Containerd(directory, groups.above)
    daemon = HostDaemon(directory, groups.above, runtime=str(runtime.socket))
    with runtime.running():
        db = runtime.run("db", "main", BUSY, cpu=200)
        runtime.run("web", "main", "sleep 1000", cpu=200)
        with daemon.running(), daemon.stub() as stub:
            bound = cpu_pb2.Binding(pod_uid="db", container="main", own=OWN, allowed=OWN)
            stub.SetBindings(
                cpu_pb2.SetBindingsRequest(generation=1, shared=SHARED, bindings=[bound]), timeout=DEADLINE_S
            )
            path = f"kubepods/burstable/poddb/{db}"
            assert groups.tree.value(path, Knob.CPUSET) == parse(OWN)
            size = cpu_pb2.ContainerSize(
                container="main",
                cpu_request_milli=100,
                cpu_limit_milli=1000,
                memory_request_bytes=MIB,
                memory_limit_bytes=256 * MIB,
            )
            pod = cpu_pb2.PodSize(pod_uid="db", containers=[size])
            stub.ResizePods(cpu_pb2.ResizePodsRequest(request_id="r", pods=[pod]), timeout=DEADLINE_S)
            assert groups.tree.value(path, Knob.CPU_QUOTA) == 1000
        hidden = directory / "hidden"
        runtime.socket.rename(hidden)
        with daemon.running(), daemon.stub() as stub:
            wait_for(lambda: "does not answer" in _warnings(stub), "the host says that the runtime is away")
            assert groups.tree.value(path, Knob.CPUSET) == parse(OWN)
        hidden.rename(runtime.socket)
        with daemon.running(), daemon.stub() as stub:
            wait_for(lambda: _state(stub) == cpu_pb2.BINDING_STATE_BOUND, "the name is known again")


def _view(stub: object) -> cpu_pb2.HostCpus:
    answer: cpu_pb2.HostCpus = stub.GetCpus(cpu_pb2.GetCpusRequest(), timeout=DEADLINE_S)  # type: ignore[attr-defined]
    return answer


def _warnings(stub: object) -> str:
    return " ".join(_view(stub).warnings)


def _state(stub: object) -> int:
    return _view(stub).bindings[0].state


async def test_a_runtime_that_never_answered_makes_names_unknown_and_not_absent(directory: Path) -> None:
    names = CriNames(directory / "nobody.sock", timeout_s=0.3)
    assert await names.names() == {}
    assert not names.known
    assert "does not answer" in names.trouble()
    await names.close()
