"""Nodes for pods: their processes, settings and objects, and calls of the plug-in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator import config as coordinator_config
from dpu_daemon.config import load
from dpu_daemon.config_host import HostConfig
from lab import inventory, namespace, programs, units
from lab.pods import inventory as pod_inventory
from lab.pods import programs as pods
from lab.pods import running
from lab.pods.running import LabPod
from lab.programs import Parts
from lab.settings import LabSettings, Layout
from lab.supervisor.unit import Unit, check_units
from proto.errors import DpuError


def with_nodes(parts: Parts, pod_nodes: int) -> Parts:
    return Parts(
        msgspec.structs.replace(parts.settings, pod_nodes=pod_nodes),
        parts.layout, parts.authority, parts.qemu, kvm=parts.kvm,
    )  # fmt: skip


def of_nodes(parts: Parts) -> dict[str, Unit]:
    plain = {unit.name for unit in units.supervisor_settings(with_nodes(parts, 0)).units}
    return {unit.name: unit for unit in units.supervisor_settings(parts).units if unit.name not in plain}


def test_each_node_has_a_switch_a_controller_an_underlay_and_our_daemon(parts: Parts) -> None:
    found = of_nodes(with_nodes(parts, 2))
    check_units(units.supervisor_settings(with_nodes(parts, 2)).units)
    of_one = {f"{kind}-node-1" for kind in ("ovsdb", "vswitchd", "underlay", "ovn-controller", "daemon")}
    of_two = {name.replace("node-1", "node-2") for name in of_one}
    assert set(found) == of_one | of_two | {"ovn-nb", "ovn-sb", "ovn-northd"}
    assert {found[name].netns for name in of_one} == {"x-node1"}


def test_without_nodes_nothing_of_ovn_runs(parts: Parts) -> None:
    assert not of_nodes(with_nodes(parts, 0))
    assert not pods.tables(with_nodes(parts, 0))
    assert "ovn" not in programs.coordinator(with_nodes(parts, 0))
    assert not pod_inventory.objects(LabSettings())


def test_the_programs_can_read_their_settings(parts: Parts, tmp_path: Path) -> None:
    import tomli_w

    for name, table in pods.tables(with_nodes(parts, 1)).items():
        (tmp_path / name).write_text(tomli_w.dumps(table))
        config = load(tmp_path / name)
        assert isinstance(config, HostConfig)
        assert config.cni is not None
        assert config.switch is not None
    (tmp_path / "coordinator").write_text(tomli_w.dumps(programs.coordinator(with_nodes(parts, 1))))
    coordinator_config.load(tmp_path / "coordinator")


def test_the_nodes_are_in_the_inventory_with_their_networks(parts: Parts) -> None:
    found = pod_inventory.objects(with_nodes(parts, 2).settings)
    kinds = [each["kind"] for each in found]
    assert kinds == ["Network", "Subnet", "Node", "NetworkNode", "Node", "NetworkNode"]
    assert not {each["metadata"]["name"] for each in found} & {each["metadata"]["name"] for each in inventory.network()}


class Api:
    """What a pod's life asks of the API."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.merged: list[Any] = []

    def apply(self, wanted: dict[str, Any]) -> dict[str, Any]:
        wanted["metadata"]["uid"] = "u-1"
        self.objects[wanted["metadata"]["name"]] = wanted
        return wanted

    def merge(self, path: str, patch: Any) -> None:
        self.merged.append((path, patch))

    def path(self, _version: str, _kind: str, name: str, namespace: str) -> str:
        return f"{namespace}/{name}"

    def get(self, path: str) -> Any:
        return self.objects.get(path.rpartition("/")[2])

    def delete(self, path: str) -> None:
        self.objects.pop(path.rpartition("/")[2], None)


@contextmanager
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> Iterator[None]:
    """A plug-in that is a script, and namespaces that are names."""
    path = tmp_path / "dpu-cni"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(running, "PLUGIN", path)
    made: set[str] = set()
    monkeypatch.setattr(namespace, "create", made.add)
    monkeypatch.setattr(namespace, "remove", made.discard)
    monkeypatch.setattr(namespace, "exists", made.__contains__)
    yield
    assert not made - {"x-pod-web"}


def test_a_pod_gets_the_addresses_that_the_plug_in_prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api, layout, pod = Api(), Layout("x", run_root=tmp_path, state_root=tmp_path), LabPod("x", "web", 1)
    said = 'echo "$CNI_COMMAND $CNI_NETNS $CNI_ARGS" >> calls; echo \'{"ips":[{"address":"10.16.0.5/16"}]}\''
    monkeypatch.chdir(tmp_path)
    with plugin(monkeypatch, tmp_path, said):
        assert running.start(api, layout, pod, {"app": "web"}) == ["10.16.0.5"]  # type: ignore[arg-type]
        assert api.merged[0][1]["status"]["podIP"] == "10.16.0.5"
        running.remove(api, layout, pod)  # type: ignore[arg-type]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[:2] for call in calls] == [[verb, "/run/netns/x-pod-web"] for verb in ("ADD", "DEL")]
    assert all("K8S_POD_UID=u-1" in call for call in calls)
    assert not api.objects


def test_a_refused_pod_leaves_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api, layout, pod = Api(), Layout("x", run_root=tmp_path, state_root=tmp_path), LabPod("x", "web", 1)
    refusal = '{"code":108,"msg":"the subnet is full","details":"add one"}'
    script = f"""[ "$CNI_COMMAND" = DEL ] && exit 0; echo '{refusal}'; exit 1"""
    with plugin(monkeypatch, tmp_path, script), pytest.raises(DpuError, match="the subnet is full"):
        running.start(api, layout, pod, {})  # type: ignore[arg-type]
    assert not api.objects
