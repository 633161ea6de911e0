"""What the documentation and the packaging show is what the API takes."""

from pathlib import Path

import pytest
import yaml

from bmctl.kinds import OWN
from coordinator.endpoints.subresources import GROUP, METHODS, RESOURCE, VERB_OF_METHOD, VERSION
from tests.unit.bmctl.stage import Stage, a_stage

ROOT = Path(__file__).parents[3]
DEFINITIONS = "pools.yaml"  # what-if pools, which are no objects of the API; test_pool_guide plays them
EXAMPLES = [path for path in sorted((ROOT / "docs" / "examples").glob("*.yaml")) if path.name != DEFINITIONS]
PACKAGED = ROOT / "packaging" / "kubernetes"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_created_whole_and_applies_unchanged(tmp_path: Path, example: Path) -> None:
    with a_stage(tmp_path) as stage:
        created = stage.ok("apply", "-f", str(example)).splitlines()
        assert created
        assert {line.rpartition(" ")[2] for line in created if "namespace/" not in line} == {"created"}
        again = stage.ok("apply", "-f", str(example)).splitlines()
        assert {line.rpartition(" ")[2] for line in again} == {"unchanged"}


def test_bmctl_knows_exactly_the_kinds_that_are_packaged() -> None:
    packaged = set()
    for file in (PACKAGED / "crds").glob("*.yaml"):
        spec = yaml.safe_load(file.read_text())["spec"]
        names = spec["names"]
        packaged.add((names["kind"], names["plural"], spec["scope"] == "Namespaced", *names["shortNames"]))
    assert {(kind.kind, kind.plural, kind.namespaced, kind.names[2]) for kind in OWN if len(kind.names) > 2} | {
        (kind.kind, kind.plural, kind.namespaced, kind.names[1]) for kind in OWN if len(kind.names) == 2
    } == packaged


def test_the_api_service_is_the_group_that_bm_api_serves() -> None:
    service = next(yaml.safe_load_all((PACKAGED / "apiservice.yaml").read_text()))
    assert (service["spec"]["group"], service["spec"]["version"]) == (GROUP, VERSION)
    assert service["metadata"]["name"] == f"{VERSION}.{GROUP}"


def test_the_packaged_roles_allow_every_action_to_somebody_and_nothing_that_is_not_there() -> None:
    allowed = set()
    for role in yaml.safe_load_all((PACKAGED / "rbac.yaml").read_text()):
        for rule in role.get("rules") or []:
            if rule["apiGroups"] == [GROUP]:
                allowed |= {(resource, verb) for resource in rule["resources"] for verb in rule["verbs"]}
    served = {(action.path, VERB_OF_METHOD[method]) for action in METHODS for method in METHODS[action]}
    assert allowed == served


def test_the_console_is_for_administrators_alone() -> None:
    for role in yaml.safe_load_all((PACKAGED / "rbac.yaml").read_text()):
        for rule in role.get("rules") or []:
            if f"{RESOURCE}/console" in rule["resources"]:
                assert list(role["metadata"]["labels"]) == ["rbac.authorization.k8s.io/aggregate-to-admin"]


def test_secrets_of_the_pool_example_are_not_shown(tmp_path: Path) -> None:
    with a_stage(tmp_path) as stage:
        _apply_pool(stage)
        assert "change-me" not in stage.ok("describe", "secret", "bmc-rack1-07", "-n", "dpupool-system")


def _apply_pool(stage: Stage) -> None:
    stage.ok("apply", "-f", str(ROOT / "docs" / "examples" / "pool.yaml"))
