import pytest
from aiohttp.test_utils import make_mocked_request

from lab.chassis.redfish.access import Gate, Session
from proto.errors import DpuError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_when_it_is_idle_and_lives_while_it_is_used() -> None:
    clock = Clock()
    gate = Gate("admin", "secret", idle_s=100, clock=clock)
    gate._sessions["a"] = Session("a", "token", "admin", clock())
    request = make_mocked_request("GET", "/x", headers={"X-Auth-Token": "token"})
    for _ in range(3):
        clock.now += 99
        assert gate._user(request) == "admin"
    clock.now += 101
    with pytest.raises(DpuError, match="has ended"):
        gate._user(request)
