"""Replies cut out of a stream: whole, in pieces, over several lines, without newlines."""

import msgspec
import pytest

from dpu_daemon.drivers.spdk.frames import Replies

TWO = b'{"jsonrpc":"2.0","id":1,"result":[1,{}]}\n{"id":2,"error":{"code":-17,"message":"File exists"}}\n'


@pytest.mark.parametrize("size", [1, 7, 30, 1000])
def test_replies_are_the_same_in_whatever_pieces_they_come(size: int) -> None:
    replies, found = Replies(), []
    for begin in range(0, len(TWO), size):
        found += replies.feed(TWO[begin : begin + size])
    first, second = found
    assert (first.id, msgspec.json.decode(first.result)) == (1, [1, {}])
    assert second.error is not None
    assert (second.id, second.error.code, second.error.message) == (2, -17, "File exists")


@pytest.mark.parametrize(
    "text", [b'{"id":1,"result":[1,\n2]}\n', b'{"id":1,"result":[1,2]}', b'\n{"id":1,"result":[1,2]}\n']
)
def test_newlines_may_be_anywhere_or_nowhere(text: bytes) -> None:
    (reply,) = Replies().feed(text)
    assert msgspec.json.decode(reply.result) == [1, 2]


def test_replies_may_follow_each_other_without_a_newline() -> None:
    assert [reply.id for reply in Replies().feed(b'{"id":1,"result":true}{"id":2,"result":true}')] == [1, 2]


@pytest.mark.parametrize("text", [b'{x"\n', b"[]x\n", b'{"id":1,"error":7}\n'])
def test_what_is_no_reply_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no"):
        Replies().feed(text)
