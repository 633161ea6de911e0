"""Real containers under the real daemon: their sizes and CPUs change while they run, and their processes stay."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from proto.dpu.v1 import cpu_pb2_grpc
from tests.real import host_story
from tests.real.host_rig import Groups, HostDaemon, Runc

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("runc"), reason="needs root and runc (make deps)"),
]
CHANGES = 1000


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


@pytest.fixture
def runc(directory: Path, groups: Groups) -> Iterator[Runc]:
    made = Runc(directory, groups)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def stub(directory: Path, groups: Groups) -> Iterator[cpu_pb2_grpc.CpuServiceStub]:
    daemon = HostDaemon(directory, groups.above)
    with daemon.running(), daemon.stub() as stub:
        yield stub


def test_a_busy_container_grows_with_the_same_pid(
    stub: cpu_pb2_grpc.CpuServiceStub, runc: Runc, groups: Groups
) -> None:
    host_story.grows_without_a_restart(stub, runc, groups)


def test_a_memory_limit_below_use_is_refused_and_best_effort_pods_have_limits_too(
    stub: cpu_pb2_grpc.CpuServiceStub, runc: Runc, groups: Groups
) -> None:
    host_story.is_not_lowered_under_use(stub, runc, groups)
    host_story.best_effort_has_three_levels(stub, runc, groups)


def test_an_exclusive_container_keeps_its_cpu_through_a_thousand_changes(
    stub: cpu_pb2_grpc.CpuServiceStub, runc: Runc, groups: Groups
) -> None:
    assert host_story.exclusive_cpus_are_kept(stub, runc, groups, changes=CHANGES) == {1}
