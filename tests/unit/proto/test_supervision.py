import os
import socket
from pathlib import Path

import pytest

from proto.supervision import notify, watchdog_pause_s


def test_without_a_supervisor_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify("READY=1") is False


@pytest.mark.parametrize("abstract", [False, True])
def test_fields_arrive_as_one_datagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@notify-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0", 1))
        assert notify("READY=1", "STATUS=serving")
        assert receiver.recv(100) == b"READY=1\nSTATUS=serving"


def test_a_supervisor_that_is_gone_ends_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "absent"))
    assert notify("STOPPING=1") is False


@pytest.mark.parametrize(
    ("limit_us", "owner", "interval_s"),
    [
        ("12000000", None, 4.0),
        ("12000000", "OWN", 4.0),
        ("12000000", "1", None),
        ("", None, None),
        ("0", None, None),
    ],
)
def test_the_watchdog_is_fed_three_times_as_often_as_needed(
    monkeypatch: pytest.MonkeyPatch, limit_us: str, owner: str | None, interval_s: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit_us)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if owner is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if owner == "OWN" else owner)
    assert watchdog_pause_s() == interval_s
