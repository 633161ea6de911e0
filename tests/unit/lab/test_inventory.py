"""The lab's objects, and the demo's machine, against the schemas that the API enforces."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from coordinator.api.validation import validate
from lab import inventory, kubeconfig
from lab.client import PLURALS, LabApi
from lab.demo import machine
from lab.programs import Parts

CRDS = Path(__file__).parents[3] / "packaging" / "kubernetes" / "crds"


def schemas() -> dict[str, Any]:
    manifests = [yaml.safe_load(file.read_text()) for file in CRDS.glob("*.yaml")]
    return {
        each["spec"]["names"]["kind"]: each["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for each in manifests
    }


@pytest.fixture
def objects(parts: Parts) -> list[inventory.Object]:
    return inventory.objects(parts.settings, parts.layout, parts.authority.ca_file)


def test_every_object_of_ours_is_valid(objects: list[inventory.Object]) -> None:
    known = schemas()
    ours = [each for each in objects if each["apiVersion"] == inventory.API_VERSION]
    assert {each["kind"] for each in ours} == {"Image", "Network", "Subnet", "Dpu", "BareMetalHost"}
    for each in [*ours, machine.manifest("tiny", "1Gi")]:
        assert list(validate(each, known[each["kind"]])) == []
        assert set(each["spec"]) <= set(known[each["kind"]]["properties"]["spec"]["properties"])


def test_every_host_has_its_own_dpu_bmc_and_secret(objects: list[inventory.Object]) -> None:
    hosts = [each["spec"] for each in objects if each["kind"] == "BareMetalHost"]
    assert [each["dpuRef"]["name"] for each in hosts] == ["dpu-1", "dpu-2"]
    assert [each["bmc"]["address"] for each in hosts] == [
        f"redfish+https://198.18.0.15{n}:443/redfish/v1/Systems/host-{n}" for n in (1, 2)
    ]
    secrets = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "Secret"}
    assert base64.b64decode(secrets["bmc-2"]["password"]) == b"secret-2"


def test_what_refers_comes_after_what_it_refers_to(objects: list[inventory.Object]) -> None:
    kinds = [each["kind"] for each in objects]
    assert kinds.index("Namespace") < kinds.index("Secret")
    assert kinds.index("Network") < kinds.index("Subnet")
    assert kinds.index("Dpu") < kinds.index("BareMetalHost")


def test_the_client_can_name_every_object(objects: list[inventory.Object]) -> None:
    assert {each["kind"] for each in objects} <= set(PLURALS)
    path = LabApi.path("v1", "Secret", "bmc-1", "dpupool-system")
    assert path == "/api/v1/namespaces/dpupool-system/secrets/bmc-1"
    assert LabApi.path("dpupool.io/v1alpha1", "Dpu") == "/apis/dpupool.io/v1alpha1/dpus"


def test_the_kubeconfig_carries_administrator_and_viewer_and_is_private(parts: Parts, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    kubeconfig.write(file, "x", "https://127.0.0.1:6443", parts.authority)
    content = yaml.safe_load(file.read_text())
    assert content["current-context"] == "x-admin"
    assert [each["name"] for each in content["users"]] == ["x-admin", "x-viewer"]
    ca = base64.b64decode(content["clusters"][0]["cluster"]["certificate-authority-data"])
    assert ca == parts.authority.ca_file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
