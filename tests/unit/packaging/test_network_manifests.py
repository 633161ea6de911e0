"""The manifests of pods' networks fit the programs that they start, and what these read."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_plugin.local import SUPPORTED
from cni_plugin.main import DEFAULT_SOCKET
from coordinator.controllers.net.mirrors import KINDS
from coordinator.core.objects.foreign import Foreign

ROOT = Path(__file__).resolve().parents[3] / "packaging" / "kubernetes"


def _objects(file: str, kind: str) -> list[dict[str, Any]]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return [one for one in yaml.safe_load_all(text) if one["kind"] == kind]


def _rules(role: str) -> list[dict[str, Any]]:
    (found,) = [one for one in _objects("rbac.yaml", "ClusterRole") if one["metadata"]["name"] == role]
    return list(found["rules"])


def _may(role: str, group: str, resource: str, verb: str) -> bool:
    return any(
        group in rule["apiGroups"]
        and (resource in rule["resources"] or "*" in rule["resources"])
        and (verb in rule["verbs"] or "*" in rule["verbs"])
        for rule in _rules(role)
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
def test_the_coordinator_may_watch_what_it_compiles(kind: Foreign) -> None:
    for verb in ("get", "list", "watch"):
        assert _may("dpupool-coordinator", kind.group, kind.plural, verb)


@pytest.mark.parametrize(
    "resource",
    ["ports", "ports/status", "networknodes", "networknodes/status", "securitygroups", "securitygroups/status"],
)
def test_the_coordinator_owns_the_kinds_of_the_network(resource: str) -> None:
    for verb in ("create", "update", "patch", "delete", "watch"):
        assert _may("dpupool-coordinator", "dpupool.io", resource, verb)


def test_people_see_ports_and_only_admins_of_a_namespace_write_its_security_groups() -> None:
    assert _may("dpupool-view", "dpupool.io", "ports", "list")
    assert not _may("dpupool-edit", "dpupool.io", "ports", "create")
    assert not _may("dpupool-edit", "dpupool.io", "securitygroups", "update")
    assert _may("dpupool-security-groups", "dpupool.io", "securitygroups", "update")


def test_a_viewer_of_the_cluster_sees_what_its_switches_forward_in_hardware() -> None:
    viewing = [
        one["metadata"]["name"]
        for one in _objects("rbac.yaml", "ClusterRole")
        if one["metadata"].get("labels", {}).get("rbac.authorization.k8s.io/aggregate-to-view") == "true"
    ]
    for group, resource in (
        ("dpupool.io", "dpus"),
        ("dpupool.io", "networknodes"),
        ("subresources.dpupool.io", "dpus/offload"),
        ("subresources.dpupool.io", "networknodes/offload"),
    ):
        assert any(_may(role, group, resource, "get") for role in viewing), resource


def _daemon_set() -> dict[str, Any]:
    (found,) = _objects("cni/node.yaml", "DaemonSet")
    return dict(found["spec"]["template"]["spec"])


def _files() -> dict[str, str]:
    (found,) = _objects("cni/node.yaml", "ConfigMap")
    return dict(found["data"])


def test_the_configuration_is_one_that_a_runtime_reads() -> None:
    found = json.loads(_files()["10-dpupool.conflist"])
    assert found["cniVersion"] == "1.0.0", "containerd 1.6 reads nothing newer"
    assert "1.1.0" in found["cniVersions"], "STATUS and GC are of 1.1.0"
    assert set(found["cniVersions"]) <= set(SUPPORTED)
    assert [plugin["type"] for plugin in found["plugins"]] == ["dpu-cni"]


def test_the_installer_has_no_right_but_to_two_folders_and_a_look_at_the_socket() -> None:
    spec = _daemon_set()
    (container,) = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"].get("privileged")
    assert spec["automountServiceAccountToken"] is False
    paths = {volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    assert paths == {"/opt/cni/bin", "/etc/cni/net.d", str(Path(DEFAULT_SOCKET).parent)}
    (run,) = [mount for mount in container["volumeMounts"] if mount["name"] == "run"]
    assert run["readOnly"]
    (where,) = [one["value"] for one in container["env"] if one["name"] == "SOCKET"]
    assert where == f"/host{DEFAULT_SOCKET}"


def test_nothing_takes_the_configuration_away() -> None:
    (container,) = _daemon_set()["containers"]
    assert "lifecycle" not in container
    assert "trap" not in _files()["install.sh"]


@contextmanager
def _installing(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    for name, text in _files().items():
        (folder / name).write_text(text)
    (folder / "program").write_text("#!/bin/true\n")
    for each in ("bin", "conf"):
        (folder / each).mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PROGRAM": str(folder / "program"),
        "CONFLIST": str(folder / "10-dpupool.conflist"),
        "BIN": str(folder / "bin"),
        "CONF": str(folder / "conf"),
        "SOCKET": str(folder / "cni.sock"),
        "AGAIN": "0.05",
    }
    command = ["/bin/sh", str(folder / "install.sh")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _until(path: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def test_the_installer_waits_for_the_daemon_puts_back_what_was_taken_and_leaves_all_at_its_end() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        folder = Path(directory)
        conflist = folder / "conf" / "10-dpupool.conflist"
        with _installing(folder):
            _until(folder / "bin" / "dpu-cni", "#!/bin/true\n")
            assert not conflist.exists()
            with socket.socket(socket.AF_UNIX) as daemon:
                daemon.bind(str(folder / "cni.sock"))
                _until(conflist, _files()["10-dpupool.conflist"])
                conflist.unlink()
                _until(conflist, _files()["10-dpupool.conflist"])
        assert conflist.exists()
        assert (folder / "bin" / "dpu-cni").stat().st_mode & 0o777 == 0o755
        assert [each.name for each in (folder / "conf").iterdir()] == [conflist.name]
