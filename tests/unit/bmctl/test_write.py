from pathlib import Path
from typing import Any

import pytest

from bmctl.api import Api
from tests.unit.bmctl.stage import Stage

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "bm-01.yaml"
MANIFEST = """
apiVersion: dpupool.io/v1alpha1
kind: BareMetalMachine
metadata: {name: bm-01}
spec: {image: tiny, rootDisk: {size: 1Gi}}
"""


def test_the_example_is_accepted_by_the_schema(stage: Stage) -> None:
    assert stage.ok("create", "-f", str(EXAMPLE)) == "machine/bm-01 created\n"
    assert stage.read()["spec"]["nics"][0]["subnetRef"] == {"name": "machines"}


def test_flags_become_a_machine(stage: Stage, tmp_path: Path) -> None:
    user_data = tmp_path / "user-data"
    user_data.write_text("#cloud-config\nhostname: web\n")
    stage.ok(
        "create", "machine", "web", "--image", "tiny", "--size", "2Gi", "--nic", "lab,ip=10.77.0.9,mtu=1400",
        "--nic", "back,name=store", "--disk", "data=1Gi,protocol=nvme", "--disk", "old,volume=keep",
        "--user-data", str(user_data), "--host", "host-2", "--label", "app=web", "--cpus", "2", "--off",
    )  # fmt: skip
    machine = stage.read("web")
    spec = machine["spec"]
    assert machine["metadata"]["labels"] == {"app": "web"}
    assert spec["rootDisk"]["size"] == "2Gi"
    assert spec["nics"] == [
        {"name": "eth0", "subnetRef": {"name": "lab"}, "address": "10.77.0.9", "mtu": 1400},
        {"name": "store", "subnetRef": {"name": "back"}},
    ]
    assert [(disk["name"], disk.get("size"), disk.get("volumeRef")) for disk in spec["disks"]] == [
        ("data", "1Gi", None),
        ("old", None, {"name": "keep"}),
    ]
    assert (spec["hostRef"], spec["resources"], spec["power"]) == ({"name": "host-2"}, {"cpus": 2}, "Off")
    assert spec["userData"].startswith("#cloud-config")


def test_a_second_machine_of_the_same_name_is_a_conflict(stage: Stage) -> None:
    stage.machine()
    assert "already exists" in stage.fails(4, "create", "machine", "bm-01", "--image", "tiny")


def test_a_wrong_size_names_its_field(stage: Stage) -> None:
    complaint = stage.fails(8, "create", "machine", "bm-01", "--image", "tiny", "--size", "big")
    assert "spec.rootDisk.size" in complaint


def test_an_unknown_field_of_a_file_is_named(stage: Stage) -> None:
    complaint = stage.fails(8, "create", "-f", "-", stdin=MANIFEST.replace("image:", "imagine: x, image:"))
    assert "spec.imagine" in complaint


def test_a_flag_that_cannot_be_read_is_refused_before_anything_is_sent(stage: Stage) -> None:
    for flag, value in (("--nic", "ip=1"), ("--nic", "lab,colour=red"), ("--disk", "data"), ("--label", "app")):
        complaint = stage.fails(8, "create", "machine", "bm-01", "--image", "tiny", flag, value)
        assert flag in complaint
        assert "remedy" in complaint
    assert stage.ok("get", "machines", "-o", "name").strip() == ""


def test_apply_creates_then_changes_then_leaves_alone(stage: Stage) -> None:
    assert stage.ok("apply", "-f", "-", stdin=MANIFEST) == "machine/bm-01 created\n"
    assert stage.ok("apply", "-f", "-", stdin=MANIFEST) == "machine/bm-01 unchanged\n"
    assert stage.ok("apply", "-f", "-", stdin=MANIFEST.replace("1Gi", "2Gi")) == "machine/bm-01 configured\n"
    assert stage.read()["spec"]["rootDisk"]["size"] == "2Gi"


def test_what_a_controller_writes_meanwhile_does_not_make_an_apply_a_change(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.ok("apply", "-f", "-", stdin=MANIFEST)
    apply_alone = Api.apply

    def apply_late(api: Api, *arguments: Any, **options: Any) -> Any:
        stage.status({"phase": "Running"})
        return apply_alone(api, *arguments, **options)

    monkeypatch.setattr(Api, "apply", apply_late)
    assert stage.ok("apply", "-f", "-", stdin=MANIFEST) == "machine/bm-01 unchanged\n"


def test_apply_does_not_undo_what_somebody_else_has_set_unless_forced(stage: Stage) -> None:
    stage.ok("apply", "-f", "-", stdin=MANIFEST)
    other = {"spec": {"rootDisk": {"size": "4Gi"}}}
    stage.ask("PATCH", "/apis/dpupool.io/v1alpha1/namespaces/default/baremetalmachines/bm-01", other)
    assert "rootDisk.size" in stage.fails(4, "apply", "-f", "-", stdin=MANIFEST)
    stage.ok("apply", "-f", "-", "--force", stdin=MANIFEST)
    assert stage.read()["spec"]["rootDisk"]["size"] == "1Gi"


def test_several_documents_and_lists_are_created_in_order(stage: Stage) -> None:
    text = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: team}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: notes, namespace: team}
data: {a: b}
"""
    assert stage.ok("create", "-f", "-", stdin=text) == "namespace/team created\nconfigmap/notes created\n"


def test_a_kind_that_bmctl_does_not_know_is_looked_up(stage: Stage) -> None:
    text = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}"
    assert stage.ok("apply", "-f", "-", stdin=text) == "service/web created\n"


def test_a_kind_that_nobody_knows_is_refused(stage: Stage) -> None:
    complaint = stage.fails(8, "create", "-f", "-", stdin=MANIFEST.replace("BareMetalMachine", "BearMetalMachine"))
    assert "does not serve BearMetalMachine" in complaint


def test_files_that_are_no_manifests_are_refused(stage: Stage, tmp_path: Path) -> None:
    for text in ("just words", "a: [", "{kind: Image}", ""):
        assert "error:" in stage.fails(8, "create", "-f", "-", stdin=text)
    stage.fails(8, "create", "-f", str(tmp_path / "absent.yaml"))


def test_delete_waits_until_it_is_gone(stage: Stage) -> None:
    stage.machine()
    assert stage.ok("delete", "machine", "bm-01") == "machine/bm-01 deleted\n"
    stage.fails(3, "get", "machine", "bm-01")


def test_delete_of_what_a_file_names_begins_at_the_end(stage: Stage) -> None:
    text = MANIFEST + "---" + MANIFEST.replace("bm-01", "bm-02")
    stage.ok("create", "-f", "-", stdin=text)
    assert stage.ok("delete", "-f", "-", stdin=text) == "machine/bm-02 deleted\nmachine/bm-01 deleted\n"


def test_delete_of_nothing_is_exit_status_3_unless_that_is_well(stage: Stage) -> None:
    stage.fails(3, "delete", "machine", "bm-01")
    stage.ok("delete", "machine", "bm-01", "--ignore-not-found")
    stage.fails(2, "delete")


def test_a_deletion_that_takes_too_long_is_exit_status_7_and_says_what_holds_it(stage: Stage) -> None:
    stage.machine()
    held = {"metadata": {"finalizers": ["dpupool.io/machine"]}}
    stage.ask("PATCH", "/apis/dpupool.io/v1alpha1/namespaces/default/baremetalmachines/bm-01", held)
    stage.status({"phase": "Deleting", "message": "dpu-1 does not answer"})
    complaint = stage.fails(7, "delete", "machine", "bm-01", "--timeout", "0.5")
    assert "dpu-1 does not answer" in complaint
