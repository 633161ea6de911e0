from tests.unit.bmctl.stage import Stage
from tests.unit.bmctl.volume.things import NOW, attachment, host, put, read, ready, server, tell, volume

VOLUMES = "/apis/dpupool.io/v1alpha1/namespaces/default/volumes"


def advice(said: str) -> list[str]:
    return said.partition("What to do\n")[2].splitlines()


def hold(stage: Stage, generation: int = 1) -> None:
    uid = read(stage, "VolumeAttachment", "data-host-1")["metadata"]["uid"]
    holder = {"name": "data-host-1", "uid": uid}
    tell(stage, "Volume", "data", {"phase": "Bound", "attachGeneration": generation, "attachmentRef": holder})


def test_a_volume_that_is_as_wanted_needs_nothing(stage: Stage) -> None:
    volume(stage)
    host(stage)
    attachment(stage)
    hold(stage)
    said = stage.ok("volume", "explain", "data")
    for expected in (
        "data   Bound",
        "generation 1, held by data-host-1",
        "dpu-1  Online",
        "generation 1 of 1",
        "serial S1",
    ):
        assert expected in said
    assert advice(said) == ["  - nothing: it is as wanted"]


def test_the_chain_is_told_to_its_end(stage: Stage) -> None:
    put(stage, "Volume", "data", {"size": "1Gi", "source": {"imageRef": {"name": "gone"}}}, {"handle": "h"})
    put(stage, "Snapshot", "s", {"volumeRef": {"name": "data"}}, {"conditions": [ready("of volume data")]})
    put(stage, "Volume", "copy", {"size": "1Gi", "source": {"snapshotRef": {"name": "s"}}})
    said = stage.ok("volume", "explain", "copy")
    positions = [said.index(word) for word in ("snapshot/s", "volume/data", "image/gone")]
    assert positions == sorted(positions)
    assert "gone; what was cloned from it stays" in said
    below = stage.ok("volume", "explain", "data")
    assert "1: s (Pending)" in below
    assert "1: copy (Pending)" in below


def test_a_source_that_is_not_ready_is_where_to_look_next(stage: Stage) -> None:
    put(stage, "Volume", "first", {"size": "1Gi"}, {"phase": "Failed", "conditions": [ready("no room", "Exhausted")]})
    status = {"phase": "Pending", "conditions": [ready("volume first is not there yet", "Waiting")]}
    put(stage, "Volume", "copy", {"size": "1Gi", "source": {"volumeRef": {"name": "first"}}}, status)
    assert "bmctl volume explain first" in advice(stage.ok("volume", "explain", "copy"))[0]


def test_a_backend_that_is_away_is_named_with_its_sentence(stage: Stage) -> None:
    status = {"phase": "Pending", "conditions": [ready("storage backend file does not answer", "Unavailable")]}
    put(stage, "Volume", "one", {"size": "1Gi"}, status)
    put(stage, "Volume", "two", {"size": "1Gi"})
    said = stage.ok("volume", "explain", "two")
    assert "file: storage backend file does not answer" in said
    assert "see whether storage backend file runs" in advice(said)[0]


def test_a_fenced_attachment_is_told(stage: Stage) -> None:
    volume(stage)
    host(stage)
    attachment(stage)
    hold(stage, generation=2)
    said = stage.ok("volume", "explain", "data")
    assert "generation 1 of 2, fenced off" in said
    assert "delete it and attach anew" in advice(said)[0]


def test_a_dpu_that_is_away_is_told_with_what_it_said_last(stage: Stage) -> None:
    volume(stage)
    host(stage, online=False)
    attachment(stage, phase="Attaching", conditions=[ready("DPU dpu-1 does not answer", "Unavailable")])
    said = stage.ok("volume", "explain", "data")
    assert "dpu-1  Offline  no answer for 20 s" in said
    assert "bmctl describe dpu dpu-1" in advice(said)[0]


def test_an_attachment_that_waits_for_another_names_it(stage: Stage) -> None:
    volume(stage)
    host(stage)
    attachment(stage)
    hold(stage)
    attachment(
        stage, host="host-2", phase="Failed", generation=0, conditions=[ready("attached by data-host-1", "InUse")]
    )
    said = stage.ok("volume", "explain", "data")
    assert "there is no such host" in said
    assert any("create BareMetalHost host-2" in line for line in advice(said))
    server(stage, "host-2")
    assert any("detach that one first" in line for line in advice(stage.ok("volume", "explain", "data")))


def test_a_delete_that_does_not_end_says_which_command_ends_it(stage: Stage) -> None:
    volume(stage)
    stage.ask("PATCH", f"{VOLUMES}/data", {"metadata": {"finalizers": ["dpupool.io/volume"]}})
    put(stage, "Snapshot", "s", {"volumeRef": {"name": "data"}})
    host(stage)
    attachment(stage)
    hold(stage)
    stage.ask("DELETE", f"{VOLUMES}/data")
    said = stage.ok("volume", "explain", "data")
    assert "data   Deleting" in said
    lines = "\n".join(advice(said))
    assert "bmctl volume detach data host-1" in lines
    assert "bmctl delete snapshot s" in lines


def test_the_newest_events_of_the_volume_and_its_attachment_are_shown(stage: Stage) -> None:
    uid = volume(stage)["metadata"]["uid"]
    for number in range(9):
        event = {
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": f"data.{number}"}, "reason": "Old",
            "message": f"event {number}", "lastTimestamp": NOW.replace("12:00", f"12:0{number}"), "type": "Normal",
            "involvedObject": {"kind": "Volume", "name": "data", "namespace": "default", "uid": uid},
        }  # fmt: skip
        stage.ask("POST", "/api/v1/namespaces/default/events", event)
    said = stage.ok("volume", "explain", "data")
    assert "event 2" not in said
    assert said.index("event 3") < said.index("event 8")


def test_a_volume_that_is_not_there_is_exit_status_3(stage: Stage) -> None:
    stage.fails(3, "volume", "explain", "data")
