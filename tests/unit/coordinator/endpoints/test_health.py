from prometheus_client import REGISTRY

from coordinator.endpoints.health import Checks, metrics, readiness


def test_all_is_ready_when_no_check_complains() -> None:
    checks = Checks()
    checks.add("volumes", lambda: "")
    assert readiness(checks).status == 200
    assert checks.report() == "[+] volumes\nready\n"


def test_a_controllers_state_is_a_gauge() -> None:
    state = ["still listing"]
    checks = Checks()
    checks.add("attachments", lambda: state[0])
    labels = {"controller": "attachments"}
    metrics(checks)
    assert REGISTRY.get_sample_value("dpupool_controller_ready", labels) == 0
    state[0] = ""
    assert 'dpupool_controller_ready{controller="attachments"} 1.0' in str(metrics(checks).text)
