import json

import yaml

from tests.unit.bmctl.stage import Stage
from tests.unit.bmctl.volume.things import GIB, attachment, put, ready, volume


def test_the_list_says_where_a_volume_comes_from_its_limits_and_who_has_it(stage: Stage) -> None:
    volume(stage, source={"imageRef": {"name": "tiny"}}, qos={"iops": 500, "bytesPerSecond": 20 << 20})
    attachment(stage)
    heading, row = stage.ok("volume", "list").splitlines()
    assert heading.split()[:6] == ["NAME", "PHASE", "SIZE", "ALLOCATED", "BACKEND", "SOURCE"]
    for expected in (
        "1 GiB",
        "1 MiB",
        "file",
        "image/tiny",
        "500 op/s, 20 MiB/s",
        "data-host-1: host-1 by dpu-1",
        "ok",
    ):
        assert expected in row


def test_limits_of_the_attachment_are_shown_before_the_volumes(stage: Stage) -> None:
    volume(stage, qos={"iops": 500})
    spec = {"volumeRef": {"name": "data"}, "hostRef": {"name": "host-1"}, "qos": {"iops": 7}}
    put(stage, "VolumeAttachment", "data-host-1", spec)
    assert "7 op/s" in stage.ok("volume", "list")
    assert "500 op/s" not in stage.ok("volume", "list")


def test_what_is_wrong_with_a_volume_is_in_its_row(stage: Stage) -> None:
    status = {"phase": "Failed", "conditions": [ready("image gone does not exist", "NotFound")]}
    put(stage, "Volume", "bad", {"size": "1Gi"}, status)
    volume(stage, "ill")
    stage.ask(
        "PATCH",
        "/apis/dpupool.io/v1alpha1/namespaces/default/volumes/ill/status",
        {"status": {"condition": {"abnormal": True, "message": "its disk is degraded"}}},
    )
    bad, ill = stage.ok("volume", "list").splitlines()[1:]
    assert "NotFound: image gone does not exist" in bad
    assert ill.endswith("its disk is degraded")


def test_snapshots_are_shown_when_asked_for(stage: Stage) -> None:
    volume(stage)
    status = {"phase": "Ready", "readyToUse": True, "sizeBytes": GIB, "createdAt": "2026-01-01T12:00:00Z"}
    spec = {"volumeRef": {"name": "data"}, "groupId": "mon", "groupSize": 2}
    put(stage, "Snapshot", "data-mon", spec, {**status, "conditions": [ready("of volume data")]})
    assert "data-mon" not in stage.ok("volume", "list")
    row = stage.ok("volume", "list", "--snapshots").splitlines()[-1]
    assert row.split()[:2] == ["data-mon", "Ready"]
    assert " mon " in row


def test_the_list_is_also_data_that_can_be_applied(stage: Stage) -> None:
    volume(stage)
    put(stage, "Snapshot", "s", {"volumeRef": {"name": "data"}})
    found = json.loads(stage.ok("volume", "list", "--snapshots", "-o", "json"))
    assert [(one["kind"], one["metadata"]["name"]) for one in found["items"]] == [("Volume", "data"), ("Snapshot", "s")]
    assert yaml.safe_load(stage.ok("volume", "list", "-o", "yaml"))["items"][0]["apiVersion"] == "dpupool.io/v1alpha1"
    assert stage.ok("volume", "list", "--snapshots", "-o", "name") == "volume/data\nsnapshot/s\n"


def test_all_namespaces_are_told_apart(stage: Stage) -> None:
    volume(stage)
    head = {
        "apiVersion": "dpupool.io/v1alpha1",
        "kind": "Volume",
        "metadata": {"name": "data"},
        "spec": {"size": "2Gi"},
    }
    stage.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    stage.ask("POST", "/apis/dpupool.io/v1alpha1/namespaces/other/volumes", head)
    attachment(stage)
    rows = [line.split() for line in stage.ok("volume", "list", "-A").splitlines()[1:]]
    assert sorted(row[0] for row in rows) == ["default", "other"]
    assert ["data-host-1:" in row for row in sorted(rows)] == [True, False]


def test_no_volumes_are_said_so_apart_from_the_output(stage: Stage) -> None:
    result = stage.run("volume", "list")
    assert result.stdout == ""
    assert "no volumes in namespace default" in result.stderr
