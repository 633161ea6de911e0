"""The systemd units and drop-ins: what the daemon's networks need is given, and only where it is needed."""

from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3] / "packaging" / "systemd"
DROP_INS = sorted(ROOT.glob("*.service.d/*.conf"))


def _read(*files: Path) -> dict[str, list[str]]:
    """Settings of [Service], as systemd adds them up: an empty value forgets those before it."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in files:
        section = ""
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                section = line
            elif section == "[Service]" and "=" in line and not line.startswith("#"):
                key, _, value = line.partition("=")
                found[key] = [*found[key], *value.split()] if value else []
    return found


def _with(drop_in: str) -> dict[str, list[str]]:
    path = ROOT / drop_in
    return _read(ROOT / path.parent.name.removesuffix(".d"), path)


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.name)
def test_a_drop_in_is_of_a_unit_and_says_where_it_goes(drop_in: Path) -> None:
    assert (ROOT / drop_in.parent.name.removesuffix(".d")).is_file()
    assert f"/etc/systemd/system/{drop_in.parent.name}/{drop_in.name}" in drop_in.read_text(encoding="utf-8")


@pytest.mark.parametrize("unit", ["dpu-host.service", "dpu-daemon.service"])
def test_a_unit_by_itself_may_enter_no_namespace(unit: str) -> None:
    alone = _read(ROOT / unit)
    assert "CAP_SYS_ADMIN" not in alone["CapabilityBoundingSet"]
    assert alone["RestrictNamespaces"] == ["yes"]


def test_pods_of_a_host_take_namespaces_links_and_announcements() -> None:
    found = _with("dpu-host.service.d/network.conf")
    assert {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_NET_RAW"} <= set(found["CapabilityBoundingSet"])
    assert {"AF_NETLINK", "AF_PACKET", "AF_UNIX", "AF_INET"} <= set(found["RestrictAddressFamilies"])
    assert found["RestrictNamespaces"][-1] == "net"
    assert "/run/k8s.cni.cncf.io" in found["ReadWritePaths"]
    assert "-/var/lib/kubelet/device-plugins" in found["ReadWritePaths"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["RuntimeDirectory"] == ["dpupool"]


def test_routing_domains_outlive_the_unit_that_made_them() -> None:
    found = _with("dpu-daemon.service.d/opi-routing.conf")
    assert "@mount" in found["SystemCallFilter"]
    assert "CAP_SYS_ADMIN" in found["CapabilityBoundingSet"]
    private = ("ProtectSystem", "ProtectHome", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups")
    for key in (*private, "PrivateTmp"):
        assert found[key][-1] == "no", f"{key} gives the unit a view of its own, and mounts made there end with it"
    for key in ("ReadWritePaths", "PrivateDevices", "ProtectKernelTunables", "ProtectProc", "BindPaths"):
        assert not found[key], key


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.name)
def test_no_drop_in_lets_a_program_gain_rights_or_make_other_namespaces(drop_in: Path) -> None:
    found = _with(f"{drop_in.parent.name}/{drop_in.name}")
    assert found["NoNewPrivileges"] == ["yes"]
    assert set(found["RestrictNamespaces"]) <= {"yes", "net"}
    assert "CAP_SYS_PTRACE" not in found["CapabilityBoundingSet"]
