from tests.unit.bmctl.stage import Stage, a_timeline

ATTACHMENTS = "/apis/dpupool.io/v1alpha1/namespaces/default/volumeattachments"
NOW = "2026-01-01T12:00:00Z"


def test_stop_and_start_change_what_is_wanted(stage: Stage) -> None:
    stage.machine()
    assert stage.ok("stop", "bm-01") == "machine/bm-01 stopping\n"
    assert stage.read()["spec"]["power"] == "Off"
    assert stage.ok("start", "bm-01") == "machine/bm-01 starting\n"
    assert stage.read()["spec"]["power"] == "On"


def test_stop_waits_for_the_controller_to_act_on_the_newest_spec(stage: Stage) -> None:
    stage.machine()
    stage.status({"phase": "Stopped"})
    stage.ok("start", "bm-01")
    stage.status({"phase": "Running"})
    actor = stage.soon(lambda: stage.status({"phase": "Stopped"}))
    assert stage.ok("stop", "bm-01", "--wait").endswith("bm-01 is off\n")
    actor.join()


def test_restart_waits_until_this_very_restart_is_over(stage: Stage) -> None:
    stage.machine()
    stage.status({"phase": "Running"})
    actor = stage.soon(lambda: stage.status({"phase": "Running", "restartedAt": stage.read()["spec"]["restartedAt"]}))
    assert stage.ok("restart", "bm-01", "--wait").endswith("bm-01 runs again\n")
    actor.join()


def test_a_machine_that_is_off_is_not_restarted(stage: Stage) -> None:
    stage.machine(power="Off")
    complaint = stage.fails(4, "restart", "bm-01")
    assert "is off" in complaint
    assert "start it instead" in complaint


def test_actions_on_a_machine_that_is_not_there_are_exit_status_3(stage: Stage) -> None:
    stage.fails(3, "stop", "bm-01")
    stage.fails(3, "disk", "attach", "bm-01", "data", "--size", "1Gi")


def test_a_viewer_may_look_but_not_act(stage: Stage) -> None:
    stage.machine()
    stage.api.write_kubeconfig(stage.api.kubeconfig, {"token": "viewer-token"})
    assert "bm-01" in stage.ok("get", "machines")
    assert "cannot update" in stage.fails(5, "stop", "bm-01")
    assert stage.fails(5, "delete", "machine", "bm-01", "--no-wait")
    stage.api.write_kubeconfig(stage.api.kubeconfig, {"token": "wrong"})
    stage.fails(5, "get", "machines")
    assert stage.read()["spec"].get("power", "On") == "On"


def test_a_disk_is_attached_and_waited_for(stage: Stage) -> None:
    stage.machine()
    actor = stage.soon(lambda: stage.status({"phase": "Running", "disks": [{"name": "data", "state": "Attached"}]}))
    shown = stage.ok("disk", "attach", "bm-01", "data", "--size", "1Gi", "--wait")
    actor.join()
    assert shown == "disk data of machine/bm-01 attached\n"
    assert [(disk["name"], disk["size"]) for disk in stage.read()["spec"]["disks"]] == [("data", "1Gi")]


def test_a_disk_is_detached_and_waited_for(stage: Stage) -> None:
    stage.machine(disks=[{"name": "data", "size": "1Gi"}])
    stage.status({"phase": "Running", "disks": [{"name": "data", "state": "Attached"}]})
    actor = stage.soon(lambda: stage.status({"phase": "Running", "disks": []}))
    assert stage.ok("disk", "detach", "bm-01", "data", "--wait") == "disk data of machine/bm-01 detached\n"
    actor.join()
    assert stage.read()["spec"]["disks"] == []


def test_a_disk_is_detached_when_its_attachment_is_gone(stage: Stage) -> None:
    stage.machine(disks=[{"name": "data", "size": "1Gi"}])
    body = {
        "apiVersion": "dpupool.io/v1alpha1",
        "kind": "VolumeAttachment",
        "metadata": {"name": "bm-01-data", "finalizers": ["dpupool.io/attachment"]},
        "spec": {"volumeRef": {"name": "bm-01-data"}, "hostRef": {"name": "host-1"}},
    }
    stage.ask("POST", ATTACHMENTS, body)
    stage.status({"phase": "Running", "disks": [{"name": "data", "state": "Attached"}]})
    steps: list[str] = []

    def leave() -> None:
        stage.status({"phase": "Running", "disks": []})
        stage.ask("DELETE", f"{ATTACHMENTS}/bm-01-data")

    def let_go() -> None:
        steps.append("gone")
        stage.ask("PATCH", f"{ATTACHMENTS}/bm-01-data", {"metadata": {"finalizers": None}})

    actors = [stage.soon(leave), stage.soon(let_go, watch=2)]
    stage.ok("disk", "detach", "bm-01", "data", "--wait")
    assert steps == ["gone"]
    for actor in actors:
        actor.join()


def test_a_disk_that_is_still_detaching_is_waited_for(stage: Stage) -> None:
    stage.machine(disks=[{"name": "data", "size": "1Gi"}])
    actor = stage.soon(lambda: stage.status({"phase": "Running", "disks": [{"name": "data", "state": "Detaching"}]}))
    stage.fails(7, "disk", "detach", "bm-01", "data", "--wait", "--timeout", "1")
    actor.join()


def test_a_disk_needs_either_a_size_or_a_volume(stage: Stage) -> None:
    stage.fails(2, "disk", "attach", "bm-01", "data")
    stage.fails(2, "disk", "attach", "bm-01", "data", "--size", "1Gi", "--volume", "old")


def test_a_disk_of_a_wrong_size_names_its_field(stage: Stage) -> None:
    stage.machine()
    assert "size" in stage.fails(8, "disk", "attach", "bm-01", "data", "--size", "much")


def test_another_disk_of_the_same_name_is_a_conflict(stage: Stage) -> None:
    stage.machine()
    stage.ok("disk", "attach", "bm-01", "data", "--size", "1Gi")
    stage.ok("disk", "attach", "bm-01", "data", "--size", "1Gi")
    assert "choose another name" in stage.fails(4, "disk", "attach", "bm-01", "data", "--size", "2Gi")


def test_nics_come_and_go(stage: Stage) -> None:
    stage.machine()
    stage.ok("nic", "attach", "bm-01", "back", "--subnet", "lab", "--ip", "10.77.0.30")
    expected = {"name": "back", "subnetRef": {"name": "lab"}, "address": "10.77.0.30"}
    assert stage.read()["spec"]["nics"] == [expected]
    stage.ok("nic", "detach", "bm-01", "back")
    assert "there are: none" in stage.fails(3, "nic", "detach", "bm-01", "back")


def test_create_waits_and_tells_each_phase(stage: Stage) -> None:
    done = a_timeline(("Cloning", 0.2), ("Booting", 4.0))
    actor = stage.soon(lambda: stage.status({"phase": "Running", "timeline": done}))
    result = stage.run("create", "machine", "bm-01", "--image", "tiny", "--wait")
    actor.join()
    assert result.stdout == "machine/bm-01 created\nbm-01 runs\n"
    assert "Cloning done in 0.20 s" in result.stderr


def test_progress_begins_where_the_change_began(stage: Stage) -> None:
    stage.machine()
    old = [
        *a_timeline(("Cloning", 0.2), ("Booting", 4.0)),
        {"phase": "Running", "startedAt": NOW, "message": "answers"},
    ]
    stage.status({"phase": "Running", "timeline": old})
    working = {"phase": "Running", "timeline": old, "message": "runs; disk data is being attached"}
    first = stage.soon(lambda: stage.status({**working, "disks": [{"name": "data", "state": "Attached"}]}))
    result = stage.run("disk", "attach", "bm-01", "data", "--size", "1Gi", "--wait")
    first.join()
    assert result.exit_code == 0
    assert "Cloning" not in result.stderr
    assert "disk data is being attached" in result.stderr


def test_a_machine_that_fails_ends_the_wait_with_its_reason(stage: Stage) -> None:
    actor = stage.soon(lambda: stage.status({"phase": "Failed", "message": "image tiny is corrupt"}))
    complaint = stage.fails(1, "create", "machine", "bm-01", "--image", "tiny", "--wait")
    actor.join()
    assert "image tiny is corrupt" in complaint
    assert "bmctl describe machine bm-01" in complaint


def test_a_failure_with_a_known_reason_has_that_reasons_exit_status(stage: Stage) -> None:
    ready = {"type": "Ready", "status": "False", "reason": "NotFound", "message": "no image", "lastTransitionTime": NOW}
    failed = {"phase": "Failed", "message": "there is no image tiny", "conditions": [ready]}
    actor = stage.soon(lambda: stage.status(failed))
    assert "there is no image tiny" in stage.fails(3, "create", "machine", "bm-01", "--image", "tiny", "--wait")
    actor.join()


def test_a_disk_that_cannot_come_ends_the_wait_although_the_machine_runs(stage: Stage) -> None:
    stage.machine()
    condition = {"type": "DisksAttached", "status": "False", "reason": "NotFound", "lastTransitionTime": NOW}
    bad = {"phase": "Running", "conditions": [{**condition, "message": "there is no volume old"}]}
    actor = stage.soon(lambda: stage.status(bad))
    complaint = stage.fails(3, "disk", "attach", "bm-01", "data", "--volume", "old", "--wait")
    actor.join()
    assert "there is no volume old" in complaint


def test_a_wait_that_ends_in_vain_says_where_it_stands(stage: Stage) -> None:
    stage.machine()
    stage.status({"phase": "Attaching", "message": "dpu-1 is offline"})
    complaint = stage.fails(7, "start", "bm-01", "--wait", "--timeout", "0.5")
    assert "Attaching: dpu-1 is offline" in complaint
