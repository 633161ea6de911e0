import json
import time

import yaml

from tests.unit.bmctl.stage import Stage


def test_an_empty_namespace_is_said_on_standard_error_and_is_no_failure(stage: Stage) -> None:
    result = stage.run("get", "machines")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no machines in namespace default\n")


def test_machines_are_shown_with_the_servers_columns(stage: Stage) -> None:
    stage.machine("bm-01")
    stage.status({"phase": "Running", "powerState": "On", "hostRef": {"name": "host-1"}})
    heading, row = stage.ok("get", "machines").splitlines()
    assert heading.split() == ["NAME", "PHASE", "HOST", "ADDRESS", "POWER", "AGE"]
    assert row.split()[:3] == ["bm-01", "Running", "host-1"]


def test_columns_stand_under_their_headings(stage: Stage) -> None:
    stage.machine("a")
    stage.machine("a-machine-with-a-long-name")
    heading, *rows = stage.ok("get", "machines", "-o", "wide").splitlines()
    start = heading.index("IMAGE")
    assert [row[start : start + 4] for row in rows] == ["tiny", "tiny"]


def test_wide_shows_more(stage: Stage) -> None:
    stage.machine()
    assert "IMAGE" not in stage.ok("get", "machines")
    assert "IMAGE" in stage.ok("get", "machines", "-o", "WIDE")


def test_short_names_and_singulars_mean_the_same(stage: Stage) -> None:
    stage.machine()
    shown = {stage.ok("get", word, "-o", "name") for word in ("machines", "machine", "bmm", "BareMetalMachine")}
    assert shown == {"machine/bm-01\n"}


def test_json_and_yaml_are_the_object_without_bookkeeping(stage: Stage) -> None:
    stage.machine()
    as_json = json.loads(stage.ok("get", "machine", "bm-01", "-o", "json"))
    as_yaml = yaml.safe_load(stage.ok("get", "machine", "bm-01", "-o", "yaml"))
    assert as_json["spec"]["image"] == "tiny"
    assert "managedFields" not in as_json["metadata"]
    assert as_json == as_yaml


def test_a_list_is_one_json_document(stage: Stage) -> None:
    stage.machine("a")
    stage.machine("b")
    found = json.loads(stage.ok("get", "machines", "-o", "json"))
    assert [item["metadata"]["name"] for item in found["items"]] == ["a", "b"]


def test_a_label_selects(stage: Stage) -> None:
    stage.ok("create", "machine", "red", "--image", "tiny", "--label", "colour=red")
    stage.ok("create", "machine", "blue", "--image", "tiny", "--label", "colour=blue")
    assert stage.ok("get", "machines", "-l", "colour=blue", "-o", "name") == "machine/blue\n"


def test_all_namespaces_show_theirs(stage: Stage) -> None:
    stage.ok("create", "machine", "here", "--image", "tiny")
    stage.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "there"}})
    stage.ok("create", "machine", "other", "--image", "tiny", "-n", "there")
    _, *rows = stage.ok("get", "machines", "-A").splitlines()
    assert [row.split()[:2] for row in rows] == [["default", "here"], ["there", "other"]]


def test_get_all_gives_each_kind_that_has_objects_a_title(stage: Stage) -> None:
    for kind, plural, spec in (("Image", "images", {"source": "tiny.img"}), ("Network", "networks", {"vlan": 7})):
        obj = {"apiVersion": "dpupool.io/v1alpha1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}
        stage.ask("POST", f"/apis/dpupool.io/v1alpha1/{plural}", obj)
    shown = stage.ok("get", "all").splitlines()
    assert shown[0] == "images"
    assert "networks" in shown
    assert "volumes" not in shown


def test_sizes_are_shown_as_people_read_them(stage: Stage) -> None:
    image = {"apiVersion": "dpupool.io/v1alpha1", "kind": "Image", "metadata": {"name": "tiny"}}
    stage.ask("POST", "/apis/dpupool.io/v1alpha1/images", image | {"spec": {"source": "tiny.qcow2"}})
    stage.ask("PATCH", "/apis/dpupool.io/v1alpha1/images/tiny/status", {"status": {"sizeBytes": 256 << 20}})
    assert "256 MiB" in stage.ok("get", "images")


def test_a_watch_shows_changes_until_the_server_goes(stage: Stage) -> None:
    stage.machine()
    stage.status({"phase": "Booting"})

    def change_and_end() -> None:
        stage.status({"phase": "Running"})
        time.sleep(1.0)  # what is under way when a server ends is lost
        stage.api.run(stage.api.server.close)

    actor = stage.soon(change_and_end)
    result = stage.run("get", "machines", "-w")
    actor.join()
    phases = [line.split()[1] for line in result.stdout.splitlines()[1:]]
    assert phases[0] == "Booting"
    assert phases[-1] == "Running"
    assert result.exit_code == 6


def test_an_unknown_kind_lists_the_known_ones(stage: Stage) -> None:
    complaint = stage.fails(8, "get", "mashines")
    assert "there is no kind 'mashines'" in complaint
    assert "machines, hosts" in complaint


def test_a_machine_that_is_not_there_is_exit_status_3(stage: Stage) -> None:
    assert '"bm-09" not found' in stage.fails(3, "get", "machine", "bm-09")


def test_a_name_with_two_kinds_is_wrong_usage(stage: Stage) -> None:
    stage.fails(2, "get", "machines,hosts", "bm-01")
