"""The CSI manifests fit the programs that they start and the rules that these have."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from coordinator.config import Csi
from coordinator.core.csi.parameters import parse_parameters
from coordinator.core.csi.qos import parse_limits
from csi_plugin import config

ROOT = Path(__file__).resolve().parents[3] / "packaging" / "kubernetes"
FILES = sorted((ROOT / "csi").glob("*.yaml"))


def objects(kind: str) -> list[dict[str, Any]]:
    found = [one for file in FILES for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    return [one for one in found if one["kind"] == kind]


def containers(kind: str) -> dict[str, dict[str, Any]]:
    (found,) = objects(kind)
    return {one["name"]: one for one in found["spec"]["template"]["spec"]["containers"]}


def test_every_object_says_what_it_is() -> None:
    assert len(FILES) == 5
    for file in FILES:
        for one in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            assert one["apiVersion"]
            assert one["metadata"]["name"]


@pytest.mark.parametrize("found", objects("StorageClass"), ids=lambda one: one["metadata"]["name"])
def test_the_controller_takes_the_parameters_of_the_classes(found: dict[str, Any]) -> None:
    assert found["provisioner"] == Csi().name
    assert parse_parameters(found["parameters"]).backend


@pytest.mark.parametrize("found", objects("VolumeAttributesClass"), ids=lambda one: one["metadata"]["name"])
def test_the_controller_takes_the_limits_of_the_classes(found: dict[str, Any]) -> None:
    assert found["driverName"] == Csi().name
    assert parse_limits(found["parameters"])


def test_driver_and_snapshot_classes_have_the_drivers_name() -> None:
    assert [one["metadata"]["name"] for one in objects("CSIDriver")] == [Csi().name]
    classes = objects("VolumeSnapshotClass") + objects("VolumeGroupSnapshotClass")
    assert {one["driver"] for one in classes} == {Csi().name}
    assert [one["metadata"]["name"] for one in objects("Namespace")] == [Csi().namespace]


def test_the_sidecars_find_the_coordinators_socket() -> None:
    found = containers("Deployment")
    assert set(found) == {"coordinator", "provisioner", "attacher", "resizer", "snapshotter"}
    for name, container in found.items():
        assert {"name": "csi", "mountPath": "/csi"} in container["volumeMounts"]
        if name != "coordinator":
            assert "--csi-address=/csi/csi.sock" in container["args"]
    text = (ROOT / "csi" / "controller.yaml").read_text(encoding="utf-8")
    assert 'listen = "unix:///csi/csi.sock"' in text


def test_the_coordinator_with_sidecars_is_the_coordinator() -> None:
    (alone,) = [
        one
        for one in yaml.safe_load_all((ROOT / "coordinator.yaml").read_text(encoding="utf-8"))
        if one["kind"] == "Deployment"
    ]
    (beside,) = objects("Deployment")
    assert alone["metadata"] == beside["metadata"]
    plain = alone["spec"]["template"]["spec"]["containers"][0]
    same = containers("Deployment")["coordinator"]
    for key in ("image", "args", "ports", "readinessProbe", "livenessProbe", "securityContext"):
        assert plain[key] == same[key]


def test_the_node_plug_in_reads_its_settings(tmp_path: Path) -> None:
    (settings,) = objects("ConfigMap")
    text = settings["data"]["csi.toml"].replace("@NODE@", "host-1").replace("@POOL@", "")
    file = tmp_path / "csi.toml"
    file.write_text(text, encoding="utf-8")
    found = config.load(file, {})
    assert found.name == Csi().name
    assert found.registers
    table = tomllib.loads(text)
    mounts = {one["mountPath"]: one for one in containers("DaemonSet")["dpu-csi"]["volumeMounts"]}
    assert str(found.socket.parent) in mounts
    assert table["registration"]["directory"] in mounts
    assert mounts["/var/lib/kubelet"]["mountPropagation"] == "Bidirectional"
