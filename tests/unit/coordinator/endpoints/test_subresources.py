import pytest

from coordinator.endpoints.subresources import GROUP, METHODS, Action, parse
from proto.errors import DpuError
from proto.reasons import Reason

ROOT = f"/apis/{GROUP}/v1alpha1/namespaces/default/baremetalmachines/bm-01"


@pytest.mark.parametrize(
    ("method", "rest", "action", "verb"),
    [
        ("GET", "console", Action.CONSOLE, "get"),
        ("PUT", "start", Action.START, "update"),
        ("POST", "restart", Action.RESTART, "create"),
        ("POST", "disks", Action.DISKS, "create"),
    ],
)
def test_a_path_names_a_machine_and_an_action(method: str, rest: str, action: Action, verb: str) -> None:
    call = parse(method, f"{ROOT}/{rest}")
    assert (call.namespace, call.name, call.action, call.verb) == ("default", "bm-01", action, verb)


def test_a_removal_names_the_disk() -> None:
    call = parse("DELETE", f"{ROOT}/disks/data")
    assert (call.item, call.verb, call.resource) == ("data", "delete", "baremetalmachines/disks")


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", f"{ROOT}/start", Reason.UNSUPPORTED),
        ("PATCH", f"{ROOT}/disks", Reason.UNSUPPORTED),
        ("DELETE", f"{ROOT}/disks", Reason.NOT_FOUND),
        ("POST", f"{ROOT}/disks/data", Reason.NOT_FOUND),
        ("PUT", f"{ROOT}/start/now", Reason.NOT_FOUND),
        ("PUT", f"{ROOT}/explode", Reason.NOT_FOUND),
        ("DELETE", f"{ROOT}/disks/a/b", Reason.NOT_FOUND),
        ("GET", "/apis/dpupool.io/v1alpha1/namespaces/default/baremetalmachines/bm-01/console", Reason.NOT_FOUND),
    ],
)
def test_anything_else_is_refused_with_a_way_out(method: str, path: str, reason: Reason) -> None:
    with pytest.raises(DpuError) as caught:
        parse(method, path)
    assert caught.value.reason is reason
    assert caught.value.remedy


def test_every_action_can_be_called() -> None:
    assert set(METHODS) == set(Action)
