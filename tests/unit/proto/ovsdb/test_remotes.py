"""Addresses of databases as people write them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.errors import DpuError
from proto.ovsdb.remotes import Method, Remote, open_streams, parse_remotes
from proto.reasons import Reason


def test_every_way_is_read_and_written_back_as_it_was() -> None:
    text = "unix:/run/nb.sock, tcp:192.0.2.1:6641,ssl:[2001:db8::1]:6641"
    found = parse_remotes(text, "x")
    assert found == (
        Remote(Method.UNIX, "/run/nb.sock"),
        Remote(Method.TCP, "192.0.2.1", 6641),
        Remote(Method.SSL, "2001:db8::1", 6641),
    )
    assert ", ".join(map(str, found)) == text.replace(",ssl", ", ssl")


@pytest.mark.parametrize("text", ["", "unix:", "tcp:host", "tcp::1", "ssl:h:0", "tcp:h:70000", "http:h:1", "tcp:h:1,,"])
def test_what_is_no_address_names_the_setting(text: str) -> None:
    with pytest.raises(DpuError) as refused:
        parse_remotes(text, "ovn.northbound")
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "ovn.northbound")


@given(st.text(max_size=30))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        found = parse_remotes(text, "x")
    except DpuError:
        return
    assert parse_remotes(",".join(map(str, found)), "x") == found


async def test_ssl_without_files_is_refused_before_anything_is_dialled() -> None:
    with pytest.raises(DpuError, match="certificate"):
        await open_streams(Remote(Method.SSL, "127.0.0.1", 9), None)


async def test_a_socket_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await open_streams(Remote(Method.UNIX, str(tmp_path / "none")), None)
