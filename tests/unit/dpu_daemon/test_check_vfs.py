"""What `check` says of a host's functions."""

import socket
from pathlib import Path

import pytest

from dpu_daemon.check_vfs import examine_vfs
from dpu_daemon.config_net import VfKind, VfsSection
from tests.fakes.sysfs_vfs import PF, FakeSysfs


@pytest.fixture
def tree(tmp_path: Path) -> FakeSysfs:
    return FakeSysfs(tmp_path / "sys")


def said(section: VfsSection) -> dict[str, tuple[bool, str]]:
    return {finding.subject: (finding.passed, finding.says) for finding in examine_vfs(section)}


def test_functions_that_can_be_given_pass(tree: FakeSysfs) -> None:
    tree.make(4)
    assert said(VfsSection(pf=PF, sysfs=tree.root)) == {"vfs": (True, "4 functions")}


def test_none_is_set_up_by_looking(tree: FakeSysfs) -> None:
    assert said(VfsSection(pf=PF, sysfs=tree.root)) == {"vfs": (False, "0 functions")}
    assert said(VfsSection(pf=PF, sysfs=tree.root, count=4)) == {"vfs": (True, "0 functions")}
    assert (tree.pf / "sriov_numvfs").read_text() == "0\n"


def test_a_fault_is_told(tree: FakeSysfs) -> None:
    tree.make(2)
    tree.set_pf("down")
    assert said(VfsSection(pf=PF, sysfs=tree.root)) == {
        "vfs": (False, "2 functions, 2 at fault; first: physical function ens1f0 is down")
    }
    assert said(VfsSection(pf="ens9", sysfs=tree.root))["vfs"] == (False, "there is no physical function ens9")


def test_what_kubelet_has_is_looked_at(tree: FakeSysfs, tmp_path: Path) -> None:
    tree.make(1)
    records = tmp_path / "kubelet.sock"
    section = VfsSection(
        pf=PF, sysfs=tree.root, resource="dpupool.io/vf", kubelet_dir=tmp_path / "none", pod_resources=records
    )
    assert [passed for passed, _ in said(section).values()] == [True, False, False]
    section.kubelet_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(records))
        assert [passed for passed, _ in said(section).values()] == [True, True, True]


def test_emulated_functions_are_looked_for_by_name() -> None:
    section = VfsSection(driver=VfKind.NETDEVS, pattern="none{n}", count=2)
    assert said(section)["vfs"] == (True, "2 functions, 2 in containers or missing")
