"""Manifests of custom kinds: what is served, what is refused with file and remedy."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from coordinator.api.crds import CrdError, load, parse
from coordinator.api.kinds import Registry
from coordinator.api.validation import validate
from tests.contract.api.cluster import WIDGETS
from tests.fakes.api import PROJECT_CRDS


@pytest.fixture
def manifest() -> Any:
    return yaml.safe_load(WIDGETS.read_text())


def test_the_manifests_of_the_product_are_served() -> None:
    found = {kind.plural: kind for custom in load([PROJECT_CRDS]) for kind in custom.kinds}
    assert {"baremetalmachines", "baremetalhosts", "volumes", "volumeattachments", "dpus", "images"} <= set(found)
    for kind in found.values():
        assert kind.status
        assert kind.columns
        assert kind.schema["properties"]["spec"]["description"]


@pytest.mark.parametrize(
    ("cidr", "right"),
    [("10.16.0.5/16", True), ("fd00:16::5/64", True), ("here", False), ("10.16.0.5", False), ("10.16.0.500/16", False)],
)
def test_addresses_of_a_port_are_addresses_whoever_writes_it(cidr: str, right: bool) -> None:
    (port,) = (kind for custom in load([PROJECT_CRDS]) for kind in custom.kinds if kind.plural == "ports")
    schema = port.schema["properties"]["spec"]["properties"]["addresses"]
    causes = list(validate([{"cidr": cidr}], schema, "spec.addresses"))
    assert [cause.field for cause in causes] == ([] if right else ["spec.addresses[0].cidr"])


@pytest.mark.parametrize(
    ("domain", "right"), [("", True), ("pods.example", True), ('a", "b', False), ("a\x00", False), ("a\n", False)]
)
def test_a_domain_that_clients_are_told_is_a_name(domain: str, right: bool) -> None:
    (subnet,) = (kind for custom in load([PROJECT_CRDS]) for kind in custom.kinds if kind.plural == "subnets")
    schema = subnet.schema["properties"]["spec"]["properties"]["dhcp"]
    causes = list(validate({"domain": domain}, schema, "spec.dhcp"))
    assert [cause.field for cause in causes] == ([] if right else ["spec.dhcp.domain"])


def test_short_names_of_the_product_are_unique() -> None:
    names = [name for custom in load([PROJECT_CRDS]) for kind in custom.kinds for name in kind.short_names]
    assert len(names) == len(set(names))


def test_a_second_version_shows_the_stored_one(manifest: Any) -> None:
    old = manifest["spec"]["versions"][0]
    manifest["spec"]["versions"].insert(0, old | {"name": "v1beta1", "storage": False})
    kinds = parse(manifest, "x.yaml").kinds
    assert [kind.version for kind in kinds] == ["v1", "v1beta1"]
    registry = Registry(kinds)
    assert registry.stored("widgets.conformance.dpupool.io") == kinds[0]
    view = kinds[1].view
    assert view is not None
    assert view.from_stored({"apiVersion": "conformance.dpupool.io/v1", "spec": 1}) == {
        "apiVersion": "conformance.dpupool.io/v1beta1",
        "spec": 1,
    }
    assert view.to_stored({"apiVersion": "conformance.dpupool.io/v1beta1"})["apiVersion"].endswith("/v1")


def broken(manifest: Any, change: str) -> Any:
    version = manifest["spec"]["versions"][0]
    if change == "kind":
        manifest["kind"] = "Widget"
    elif change == "name":
        manifest["metadata"]["name"] = "other.conformance.dpupool.io"
    elif change == "rule":
        version["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = [{"rule": "self.a > 5"}]
    elif change == "column":
        version["additionalPrinterColumns"][0]["jsonPath"] = "..a"
    elif change == "storage":
        version["storage"] = False
    else:
        del manifest["spec"]["names"]["plural"]
    return manifest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("kind", "kind: must be CustomResourceDefinition"),
        ("name", "metadata.name: must be widgets.conformance.dpupool.io"),
        ("rule", r"x-kubernetes-validations: only .* not: \.: self.a > 5"),
        ("column", "additionalPrinterColumns Color"),
        ("storage", "spec"),
        ("plural", "'plural'"),
    ],
)
def test_a_manifest_that_cannot_be_served_is_refused_by_name(manifest: Any, change: str, words: str) -> None:
    with pytest.raises(CrdError, match=words) as refused:
        parse(broken(manifest, change), "widgets.yaml")
    assert str(refused.value).startswith("widgets.yaml: ")


def test_a_file_that_is_no_yaml_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("{")
    with pytest.raises(CrdError, match=r"x\.yaml: cannot be read as YAML"):
        load([path])
    with pytest.raises(CrdError, match=r"y\.yaml: cannot be read"):
        load([tmp_path / "y.yaml"])
