"""Groups of this machine's own kernel, made for the test and removed after it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpu_daemon.drivers.cgroups.files import CONTROLLERS, detect
from dpu_daemon.drivers.cgroups.tree import CgroupTree
from dpu_daemon.model.cgroup import UNLIMITED, CgroupVersion, Knob, Write
from dpu_daemon.plan.cpusets import Binding, WantedCpus, plan_cpusets
from proto.cpuset import lowest, show
from proto.errors import DpuError
from proto.reasons import Reason

MOUNT = Path("/sys/fs/cgroup")
PATHS = ("kubepods", "kubepods/burstable", "kubepods/burstable/podp", "kubepods/burstable/podp/c", "kubepods/podq")
POD, LEAF = PATHS[2], PATHS[3]


@pytest.fixture
def tree() -> Iterator[CgroupTree]:
    above = f"dpupool-test-{os.getpid()}"
    found = CgroupTree(MOUNT, above=above)
    made: list[Path] = []
    tops = [MOUNT / name for name in CONTROLLERS] if detect(MOUNT) is CgroupVersion.V1 else [MOUNT]
    try:
        for top in tops:
            for path in ("", *PATHS):
                directory = top / above / path
                directory.mkdir()
                made.append(directory)
                if top.name == "cpuset":
                    for name in ("cpuset.cpus", "cpuset.mems"):
                        (directory / name).write_text((directory.parent / name).read_text())
        yield found
    finally:
        for directory in reversed(made):
            directory.rmdir()


def test_cpus_are_moved_in_an_order_that_the_kernel_takes(tree: CgroupTree) -> None:
    online = tree.online()
    own = lowest(online, 1)
    wanted = WantedCpus(shared=online & ~own, bindings={LEAF: Binding(own=own, allowed=own)})
    for write in plan_cpusets(tree.look(), wanted):
        tree.write(write)
    seen = tree.look()
    assert seen.groups[LEAF].cpuset == seen.groups[POD].cpuset == own
    assert plan_cpusets(seen, wanted) == []
    for write in plan_cpusets(seen, WantedCpus(shared=online)):
        tree.write(write)
    assert tree.look().groups[LEAF].effective == online


@pytest.mark.parametrize(
    ("knob", "values"),
    [
        (Knob.MEMORY, (64 << 20, 256 << 20, 32 << 20, UNLIMITED)),
        (Knob.CPU_QUOTA, (200, 1000, 50, UNLIMITED)),
        (Knob.CPU_SHARES, (2, 1024, 4096)),
    ],
)
def test_what_was_written_is_what_the_kernel_shows(tree: CgroupTree, knob: Knob, values: tuple[int, ...]) -> None:
    for value in values:
        tree.write(Write(path=LEAF, knob=knob, value=value, before=tree.value(LEAF, knob)))
        assert tree.value(LEAF, knob) == value


def test_the_kernels_refusal_names_knob_and_group(tree: CgroupTree) -> None:
    absent = 1 << tree.online().bit_length()
    with pytest.raises(DpuError) as refused:
        tree.write(Write(path=LEAF, knob=Knob.CPUSET, value=absent, before=0))
    assert refused.value.reason is Reason.IN_USE
    assert show(absent) in refused.value.message
    assert LEAF in refused.value.message
