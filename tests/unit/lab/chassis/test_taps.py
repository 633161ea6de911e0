from pathlib import Path

import pytest

from lab.chassis.slots import NicSpec
from lab.chassis.taps import check_tap, interfaces
from proto.errors import DpuError


def test_the_loopback_is_seen_here_and_through_the_namespaces_path() -> None:
    assert "lo" in interfaces("")
    assert interfaces("/proc/self/ns/net") == interfaces("")


def test_the_caller_stays_in_its_own_namespace() -> None:
    before = Path("/proc/thread-self/ns/net").readlink()
    interfaces("/proc/self/ns/net")
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_what_is_not_a_namespace_is_refused() -> None:
    with pytest.raises(DpuError, match="cannot enter") as caught:
        interfaces("/dev/null")
    assert caught.value.field == "qemu.netns"


def test_a_missing_tap_is_refused_by_name() -> None:
    with pytest.raises(DpuError, match="no tap pf9vf9"):
        check_tap(NicSpec(0, "vf", "pf9vf9", "52:54:00:00:00:01"), "")
