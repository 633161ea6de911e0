import json
from datetime import UTC, datetime

from tests.unit.bmctl.stage import Stage, a_timeline

NOW = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
RUNNING = {
    "phase": "Running",
    "powerState": "On",
    "message": "answers on 10.77.0.10",
    "hostRef": {"name": "host-1"},
    "addresses": [{"type": "InternalIP", "address": "10.77.0.10"}],
    "disks": [{"name": "root", "state": "Attached", "serial": "DPU42", "volume": "bm-01-root", "slot": 0}],
    "nics": [{"name": "nic0", "mac": "02:00:00:00:00:01", "addresses": ["10.77.0.10/24"], "state": "Forwarding"}],
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "Answers", "message": "it answers", "lastTransitionTime": NOW}
    ],
    "timeline": [*a_timeline(("Cloning", 0.25), ("Booting", 4.0))],
    "deployment": {"totalSeconds": 5.9, "ownSeconds": 1.3},
}


def test_describe_tells_all_about_a_machine(stage: Stage) -> None:
    uid = stage.machine(userData="#cloud-config\npassword: secret\n")["metadata"]["uid"]
    stage.status(RUNNING)
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "bm-01.1"}, "type": "Normal", "reason": "Cloned",
        "message": "cloned image tiny", "lastTimestamp": NOW, "count": 2,
        "involvedObject": {"kind": "BareMetalMachine", "name": "bm-01", "namespace": "default", "uid": uid},
    }  # fmt: skip
    stage.ask("POST", "/api/v1/namespaces/default/events", event)
    shown = stage.ok("describe", "machine", "bm-01")
    for expected in ("host-1", "10.77.0.10", "DPU42", "Forwarding", "Answers", "cloned image tiny", "5.90 s", "x2"):
        assert expected in shown
    assert "secret" not in shown


def test_describe_does_not_show_anothers_events(stage: Stage) -> None:
    stage.machine()
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "x"}, "reason": "Old",
        "message": "of an earlier life",
        "involvedObject": {"kind": "BareMetalMachine", "name": "bm-01", "namespace": "default", "uid": "another"},
    }  # fmt: skip
    stage.ask("POST", "/api/v1/namespaces/default/events", event)
    assert "earlier life" not in stage.ok("describe", "machine", "bm-01")


def test_describe_works_for_every_kind_and_hides_secrets(stage: Stage) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bmc"}, "stringData": {"password": "calvin"}}
    stage.ask("POST", "/api/v1/namespaces/default/secrets", secret)
    network = {"apiVersion": "dpupool.io/v1alpha1", "kind": "Network", "metadata": {"name": "net"}, "spec": {"vlan": 7}}
    stage.ask("POST", "/apis/dpupool.io/v1alpha1/networks", network)
    assert "vlan: 7" in stage.ok("describe", "network", "net")
    shown = stage.ok("describe", "secret", "bmc")
    assert "password" in shown
    assert "calvin" not in shown
    assert "Y2Fsdmlu" not in shown


def test_the_timeline_shows_seconds_tries_and_bars_to_one_scale(stage: Stage) -> None:
    stage.machine()
    phases = [*a_timeline(("Cloning", 0.5), ("Booting", 4.0))]
    phases[0] = {**phases[0], "attempts": 3}
    stage.status({**RUNNING, "timeline": phases})
    cloning, booting = (line for line in stage.ok("timeline", "bm-01").splitlines() if "✓" in line)
    assert "0.50 s" in cloning
    assert "3 tries" in cloning
    assert booting.count("█") == 8 * cloning.count("█")


def test_a_phase_that_is_under_way_shows_what_it_waits_for(stage: Stage) -> None:
    stage.machine()
    stage.status({"phase": "Attaching", "message": "dpu-1 is busy", "timeline": a_timeline(running="Attaching")})
    line = next(line for line in stage.ok("timeline", "bm-01").splitlines() if "Attaching" in line and " s " in line)
    assert "dpu-1 is busy" in line
    assert "✓" not in line


def test_the_timeline_can_be_followed_until_the_machine_has_settled(stage: Stage) -> None:
    stage.machine()
    stage.status({"phase": "Booting", "timeline": a_timeline(running="Booting")})
    actor = stage.soon(lambda: stage.status(RUNNING))
    result = stage.run("timeline", "bm-01", "--follow")
    actor.join()
    assert result.exit_code == 0
    assert "Booting done in 4.00 s" in result.stderr


def test_the_timeline_is_also_data(stage: Stage) -> None:
    stage.machine()
    stage.status(RUNNING)
    found = json.loads(stage.ok("timeline", "bm-01", "-o", "json"))
    assert found["deployment"]["ownSeconds"] == 1.3
    assert [entry["phase"] for entry in found["timeline"]] == ["Cloning", "Booting"]
