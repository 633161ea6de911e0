"""Features, hooks of traffic control and representors, asked of this system's own kernel and of a tree of files."""

import os
import subprocess
from pathlib import Path

import pytest

from dpu_daemon.drivers.devlink import FoundRepresentors, representors, sysfs_representors
from dpu_daemon.drivers.ethernet import interface_index
from dpu_daemon.drivers.netlink_dump import attributes, family, packed
from dpu_daemon.drivers.offload import features, filters
from dpu_daemon.model.offload import Feature
from dpu_daemon.model.representor import RepresentorSeen, of_function
from tests.fakes.netns import inside, ip, netns

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_a_netdev_without_hardware_has_the_feature_off_for_good() -> None:
    assert features.feature("lo") is Feature.FIXED
    assert features.feature("no-such-netdev") is Feature.UNKNOWN
    assert features.driver("no-such-netdev") == ""


@needs_root
@pytest.mark.real
def test_a_feature_that_is_fixed_stays_off() -> None:
    with netns("features") as name:
        ip("-n", name, "link", "add", "a0", "type", "veth", "peer", "name", "a1")
        with inside(name):
            assert features.driver("a0") == "veth"
            assert features.turn_on("a0") is False
            assert features.feature("a0") is Feature.FIXED
            with pytest.raises(OSError, match="No such device"):
                features.turn_on("b0")


@needs_root
@pytest.mark.real
def test_hooks_of_traffic_control_are_found() -> None:
    with netns("hooks") as name:
        ip("-n", name, "link", "add", "a0", "type", "veth", "peer", "name", "a1")
        with inside(name):
            assert filters.tapped() == frozenset()
            subprocess.run(["tc", "-n", name, "qdisc", "add", "dev", "a0", "ingress"], check=True)
            index = interface_index("a0")
            assert filters.tapped() == {index}
            assert filters.rules(index) == filters.Rules()


@needs_root
@pytest.mark.real
def test_rules_of_another_kind_are_not_counted() -> None:
    with netns("rules") as name:
        ip("-n", name, "link", "add", "a0", "type", "veth", "peer", "name", "a1")
        with inside(name):
            subprocess.run(["tc", "-n", name, "qdisc", "add", "dev", "a0", "ingress"], check=True)
            rule = ["tc", "-n", name, "filter", "add", "dev", "a0", "ingress", "u32", "match", "u32", "0", "0"]
            subprocess.run([*rule, "action", "mirred", "egress", "redirect", "dev", "a1"], check=True)
            assert filters.rules(interface_index("a0")) == filters.Rules()


def test_attributes_are_read_as_they_were_packed() -> None:
    row = packed(1, b"devlink\0") + packed(2, b"x") + b"\1\0\0\0"
    assert list(attributes(row)) == [(1, b"devlink\0"), (2, b"x")]


def test_families_are_asked_of_the_kernel() -> None:
    assert family("nlctrl") == 16
    with pytest.raises(FileNotFoundError):
        family("no-such-family")


def _netdev(sysfs: Path, name: str, port: str, switch: str) -> None:
    folder = sysfs / "class" / "net" / name
    folder.mkdir(parents=True)
    (folder / "phys_port_name").write_text(f"{port}\n")
    (folder / "phys_switch_id").write_text(f"{switch}\n")


def test_sysfs_tells_representors_by_the_names_of_their_ports(tmp_path: Path) -> None:
    for name, port, switch in [
        ("p0", "p0", "aa"), ("rep0", "c1pf0vf0", "aa"), ("rep1", "c1pf0vf11", "aa"), ("own0", "pf0vf0", "aa"),
        ("pf0hpf", "c1pf0", "aa"), ("sf0", "c1pf0sf4", "aa"), ("eth9", "pf0vf3", ""),
    ]:  # fmt: skip
        _netdev(tmp_path, name, port, switch)
    (tmp_path / "class" / "net" / "lo").mkdir()
    found = sysfs_representors(tmp_path)
    assert {(one.netdev, one.controller, one.pf, one.vf) for one in found} == {
        ("rep0", 1, 0, 0),
        ("rep1", 1, 0, 11),
        ("own0", 0, 0, 0),
    }
    assert representors(tmp_path) == found


def test_the_hosts_functions_are_those_of_the_highest_controller() -> None:
    seen = tuple(
        RepresentorSeen(netdev=name, controller=controller, pf=pf, vf=vf)
        for name, controller, pf, vf in [("own", 0, 0, 0), ("rep0", 1, 0, 0), ("rep1", 1, 0, 1), ("other", 1, 1, 0)]
    )
    assert of_function(seen, pf=0, controller=None) == {0: "rep0", 1: "rep1"}
    assert of_function(seen, pf=1, controller=None) == {0: "other"}
    assert of_function(seen, pf=0, controller=0) == {0: "own"}
    assert of_function((), pf=0, controller=None) == {}


def test_a_system_without_representors_finds_none() -> None:
    assert FoundRepresentors().netdevs() == {}
