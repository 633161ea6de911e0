"""What a notice says."""

from hypothesis import given
from hypothesis import strategies as st

from lab.supervisor.notice import parse


def test_each_line_is_an_assignment() -> None:
    assert parse(b"READY=1\nSTATUS=a=b c") == {"READY": "1", "STATUS": "a=b c"}


def test_lines_that_are_none_are_ignored() -> None:
    assert parse(b"nonsense\n\nWATCHDOG=1\n") == {"WATCHDOG": "1"}


@given(st.binary(max_size=200))
def test_no_datagram_is_too_odd(datagram: bytes) -> None:
    assert all(isinstance(value, str) for value in parse(datagram).values())
