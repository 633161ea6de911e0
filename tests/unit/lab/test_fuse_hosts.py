"""Labs whose hosts are this machine: what runs, what is configured, and what is cleared away."""

from pathlib import Path

import pytest

from csi_plugin import config as csi_config
from lab import mounts, programs, sanity, units
from lab.apt import PackageError
from lab.ca import Authority
from lab.programs import Parts
from lab.qemu import Qemu
from lab.settings import HostLink, LabSettings, Layout

TABLE = """\
25 1 0:23 / /run rw,nosuid shared:5 - tmpfs tmpfs rw
90 25 0:50 / /run/dpupool/x/host-1/disks/s1 rw - fuse.export /dev/fuse rw
91 25 7:0 / /var/lib/kubelet/pods/a rw - ext4 /dev/loop0 rw
92 25 0:51 / /run/dpupool/x/a\\040b rw - tmpfs tmpfs rw
93 25 0:51 / /run/dpupool/xy rw - tmpfs tmpfs rw
"""


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    layout = Layout("x", run_root=tmp_path / "run", state_root=tmp_path / "state")
    settings = LabSettings("x", link=HostLink.FUSE)
    qemu = Qemu(Path("/q/system"), Path("/q/qsd"), Path("/q/img"), "10.0.2", {})
    return Parts(settings, layout, Authority(layout.pki), qemu, kvm=False)


def test_a_host_is_a_storage_daemon_and_a_csi_plug_in_outside_of_all_namespaces(parts: Parts) -> None:
    found = {unit.name: unit for unit in units.supervisor_settings(parts).units}
    assert found["qsd-host-1"].ready_path == str(parts.layout.run_of("host-1") / "qsd.qmp")
    assert found["csi-node-1"].netns == ""
    assert "dpu-csi" in found["csi-node-1"].argv[0]


def test_the_dpu_the_plug_in_and_the_coordinator_agree(parts: Parts, tmp_path: Path) -> None:
    tables = programs.tables(parts)
    node, bus = tables["csi-node-1"], tables["dpu-1"]["bus"]
    assert node["discovery"]["directory"] == bus["directory"]
    assert node["node"]["max_volumes"] == bus["slots"]
    assert [node["node"]["pool"]] == tables["coordinator"]["csi"]["pools"]["file"]
    import tomli_w

    file = tmp_path / "csi.toml"
    file.write_text(tomli_w.dumps(node), encoding="utf-8")
    assert csi_config.load(file, {}).node is not None


def test_a_lab_with_virtual_hosts_has_none_of_that(parts: Parts) -> None:
    plain = Parts(LabSettings("x"), parts.layout, parts.authority, parts.qemu, parts.kvm)
    assert "csi-node-1" not in programs.tables(plain)
    assert programs.tables(plain)["dpu-1"]["bus"]["driver"] == "lab"
    assert not {unit.name for unit in units.supervisor_settings(plain).units} & {"csi-node-1", "qsd-host-1"}


def test_mounts_of_a_folder_are_found_deepest_first() -> None:
    found = mounts.under(Path("/run/dpupool/x"), TABLE)
    assert found == ["/run/dpupool/x/a b", "/run/dpupool/x/host-1/disks/s1"]


def test_loop_devices_over_files_of_a_folder_are_found() -> None:
    sources = {
        "/dev/loop0": "/run/dpupool/x/s1",
        "/dev/loop1": "/run/dpupool/xy/s",
        "/dev/loop2": "/run/dpupool/x/s (deleted)",
    }
    assert mounts.devices_over(Path("/run/dpupool/x"), sources) == ["/dev/loop0", "/dev/loop2"]


def test_a_loop_device_whose_fuse_file_went_is_found_when_it_was_known_before() -> None:
    sources = {"/dev/loop0": "/", "/dev/loop1": "/", "/dev/loop2": "/srv/taken-anew"}
    assert mounts.devices_over(Path("/run/dpupool/x"), sources) == []
    assert mounts.devices_over(Path("/run/dpupool/x"), sources, ["/dev/loop0", "/dev/loop2"]) == ["/dev/loop0"]


def test_clearing_an_empty_folder_touches_nothing(tmp_path: Path) -> None:
    mounts.clear(tmp_path)
    assert mounts.backing_files() is not None


def test_without_go_there_is_no_suite_and_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPUPOOL_CACHE", str(tmp_path))
    monkeypatch.setattr(sanity, "go", lambda: None)
    assert sanity.ensure() is None
    assert sanity.find() is None


def test_a_suite_that_is_there_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPUPOOL_CACHE", str(tmp_path))
    monkeypatch.setattr(sanity, "go", lambda: "/bin/false")
    sanity.binary().parent.mkdir(parents=True)
    sanity.binary().write_text("", encoding="utf-8")
    assert sanity.ensure() == sanity.binary()


def test_a_build_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "go"
    failing.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n", encoding="utf-8")
    failing.chmod(0o755)
    monkeypatch.setenv("DPUPOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sanity, "go", lambda: str(failing))
    with pytest.raises(PackageError, match="no such module"):
        sanity.ensure()
    assert list((tmp_path / "cache").rglob("*")) in ([], [tmp_path / "cache" / "csi-sanity"])
