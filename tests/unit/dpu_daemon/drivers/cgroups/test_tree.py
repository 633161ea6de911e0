from pathlib import Path

import pytest

from dpu_daemon.drivers.cgroups.tree import CgroupTree, check_controllers, enable_controllers
from dpu_daemon.model.cgroup import UNLIMITED, CgroupVersion, Knob, Layer, QosClass, Write, settable
from proto.cpuset import parse
from proto.errors import DpuError
from proto.reasons import Reason

POD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-poda_b.slice"
LEAF = f"{POD}/cri-containerd-c1.scope"
FILES = {
    "cpuset.cpus": "0-3\n",
    "cpuset.cpus.effective": "0-3\n",
    "cpu.max": "20000 100000\n",
    "cpu.weight": "39\n",
    "memory.max": "67108864\n",
    "memory.current": "50000000\n",
    "memory.stat": "anon 1\ninactive_file 20000000\nactive_file 3\n",
}


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A tree of version 2 as plain files: what is tested is which file gets which text."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    for path in ("kubepods.slice", "kubepods.slice/kubepods-burstable.slice", POD, LEAF, f"{LEAF}/inner"):
        (tmp_path / path).mkdir()
        for name, text in FILES.items():
            (tmp_path / path / name).write_text(text)
    (tmp_path / "online").write_text("0-7\n")
    return tmp_path


@pytest.fixture
def tree(mount: Path) -> CgroupTree:
    return CgroupTree(mount, online=mount / "online")


def write(knob: Knob, value: int, path: str = LEAF) -> Write:
    return Write(path=path, knob=knob, value=value, before=UNLIMITED)


def test_a_look_shows_pods_and_containers_and_not_what_they_made(tree: CgroupTree) -> None:
    seen = tree.look()
    assert seen.version is CgroupVersion.V2
    leaf = seen.groups[LEAF]
    assert (leaf.layer, leaf.qos, leaf.pod_uid, leaf.container_id) == (
        Layer.CONTAINER,
        QosClass.BURSTABLE,
        "a-b",
        "c1",
    )
    assert (leaf.cpuset, leaf.quota_milli, leaf.memory_bytes) == (parse("0-3"), 200, 64 << 20)
    assert leaf.memory_used_bytes == 30_000_000
    assert set(seen.groups) == {"kubepods.slice", "kubepods.slice/kubepods-burstable.slice", POD, LEAF}


@pytest.mark.parametrize(
    ("knob", "value", "file", "text"),
    [
        (Knob.CPUSET, parse("1,3"), "cpuset.cpus", "1,3"),
        (Knob.CPU_QUOTA, 1500, "cpu.max", "150000 100000"),
        (Knob.CPU_QUOTA, UNLIMITED, "cpu.max", "max 100000"),
        (Knob.CPU_SHARES, 1024, "cpu.weight", "39"),
        (Knob.MEMORY, 1 << 20, "memory.max", "1048576"),
        (Knob.MEMORY, UNLIMITED, "memory.max", "max"),
    ],
)
def test_a_knob_is_written_and_read_back(
    tree: CgroupTree, mount: Path, knob: Knob, value: int, file: str, text: str
) -> None:
    tree.write(write(knob, value))
    assert (mount / LEAF / file).read_text() == text
    assert tree.value(LEAF, knob) == settable(knob, value, CgroupVersion.V2)


def test_a_group_that_ended_is_not_found(tree: CgroupTree) -> None:
    for call in (
        lambda: tree.write(write(Knob.CPUSET, 1, "kubepods.slice/gone")),
        lambda: tree.value("x", Knob.CPUSET),
    ):
        with pytest.raises(DpuError) as refused:
            call()
        assert refused.value.reason is Reason.NOT_FOUND


def test_a_host_without_pods_shows_none(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    assert CgroupTree(tmp_path).look().groups == {}
    assert check_controllers(tmp_path) == ["controller cpuset is not there", "controller memory is not there"]


def test_the_cpus_that_are_online_are_told(tree: CgroupTree) -> None:
    assert tree.online() == parse("0-7")


def test_controllers_are_turned_on_from_the_top_down(mount: Path) -> None:
    group = mount / POD
    for step in (mount, *group.parents):
        if step.is_relative_to(mount):
            (step / "cgroup.subtree_control").write_text("cpuset cpu memory\n" if step == mount else "\n")
    assert enable_controllers(mount, group) == ""
    assert (mount / "cgroup.subtree_control").read_text() == "cpuset cpu memory\n"
    assert (group.parent / "cgroup.subtree_control").read_text() == "+cpuset +cpu +memory"


def test_a_group_without_its_controller_is_told_and_left_out(tree: CgroupTree, mount: Path) -> None:
    (mount / LEAF / "cpuset.cpus").unlink()
    (mount / LEAF / "cgroup.procs").touch()
    assert LEAF not in tree.look().groups
    assert tree.lacking == {LEAF: "groups.enable is off"}
    enabling = CgroupTree(mount, online=mount / "online", enable=True)
    assert LEAF not in enabling.look().groups
    assert "cgroup.subtree_control does not take cpuset, cpu, memory" in enabling.lacking[LEAF]


def test_a_newcomer_loses_what_is_not_shared_and_nothing_else(tree: CgroupTree, mount: Path) -> None:
    assert tree.confine(LEAF, parse("2-7"))
    assert (mount / LEAF / "cpuset.cpus").read_text() == "2-3"
    assert not tree.confine(LEAF, parse("2-7"))
    assert not tree.confine(LEAF, parse("5"))
    assert not tree.confine("kubepods.slice/gone", parse("5"))
    (mount / LEAF / "cpuset.cpus").write_text("\n")
    assert tree.confine(LEAF, parse("1"))
    assert (mount / LEAF / "cpuset.cpus").read_text() == "1"


def test_pods_have_no_more_cpus_than_the_group_above_them(mount: Path) -> None:
    (mount / "kubelet.slice").mkdir()
    above = CgroupTree(mount, above="kubelet.slice", online=mount / "online")
    assert above.online() == parse("0-7")
    (mount / "kubelet.slice" / "cpuset.cpus.effective").write_text("0-3\n")
    assert above.online() == parse("0-3")


def test_an_empty_set_becomes_what_the_group_would_inherit(tree: CgroupTree, mount: Path) -> None:
    tree.write(write(Knob.CPUSET, 0))
    assert (mount / LEAF / "cpuset.cpus").read_text() == "0-3"
