"""JSON-RPC over a pair of connected sockets; the other side is written out by hand."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.errors import DpuError
from proto.framing import Framer
from proto.jsonrpc import JsonRpcConnection, JsonRpcError
from proto.reasons import Reason

VALUES = st.recursive(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20) | st.none(), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(VALUES, max_size=4), st.integers(1, 17), st.sampled_from(["", "\n", " \n"]))
def test_values_come_out_however_the_stream_is_cut(values: list[Any], step: int, between: str) -> None:
    stream = "".join(json.dumps(value, ensure_ascii=False) + between for value in values).encode()
    framer = Framer()
    found = [value for start in range(0, len(stream), step) for value in framer.feed(stream[start : start + step])]
    assert found == values


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request", b"\xff\xfe", b"\x16\x03\x01"])
def test_garbage_is_refused_at_once(garbage: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Framer().feed(garbage)


class Pair:
    """A connection and its other end."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.rpc: JsonRpcConnection
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self) -> None:
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=near)
        self.reader, self.writer = await asyncio.open_unix_connection(sock=far)
        self.rpc = JsonRpcConnection(
            reader, writer, peer="the peer", envelope={"jsonrpc": "2.0"}, notified=lambda m, p: self.told.append((m, p))
        )

    async def close(self) -> None:
        await self.rpc.close()
        self.writer.close()
        await self.writer.wait_closed()

    async def request(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.reader.readline())
        return message

    def send(self, **message: Any) -> None:
        self.writer.write(json.dumps(message).encode())


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    made = Pair()
    await made.open()
    yield made
    await made.close()


async def test_answers_find_their_questions_in_any_order(pair: Pair) -> None:
    first = asyncio.create_task(pair.rpc.call("one", {}, timeout_s=5))
    second = asyncio.create_task(pair.rpc.call("two", {"x": 1}, timeout_s=5))
    asked = [await pair.request(), await pair.request()]
    assert [request["method"] for request in asked] == ["one", "two"]
    assert asked[0]["jsonrpc"] == "2.0"
    pair.send(id=asked[1]["id"], result="b")
    pair.send(id=asked[0]["id"], result="a")
    assert (await first, await second) == ("a", "b")


async def test_a_refusal_carries_what_the_other_side_said(pair: Pair) -> None:
    call = asyncio.create_task(pair.rpc.call("one", [], timeout_s=5))
    pair.send(id=(await pair.request())["id"], error={"code": -32001}, result=None)
    with pytest.raises(JsonRpcError) as refused:
        await call
    assert refused.value.error == {"code": -32001}


async def test_a_call_without_an_answer_ends_at_its_deadline_and_a_late_answer_is_dropped(pair: Pair) -> None:
    with pytest.raises(DpuError) as refused:
        await pair.rpc.call("one", [], timeout_s=0.05)
    assert (refused.value.reason, refused.value.retry) == (Reason.DEADLINE, True)
    pair.send(id=(await pair.request())["id"], result="late")
    call = asyncio.create_task(pair.rpc.call("two", [], timeout_s=5))
    pair.send(id=(await pair.request())["id"], result="fresh")
    assert await call == "fresh"


async def test_the_end_of_the_stream_fails_what_is_pending_and_what_comes_later(pair: Pair) -> None:
    call = asyncio.create_task(pair.rpc.call("one", [], timeout_s=5))
    await pair.request()
    pair.writer.close()
    for waiting in (call, pair.rpc.call("two", [], timeout_s=5)):
        with pytest.raises(DpuError) as refused:
            await waiting
        assert refused.value.reason is Reason.UNAVAILABLE
    assert "closed" in await pair.rpc.closed()


async def test_a_server_that_asks_for_an_echo_gets_it(pair: Pair) -> None:
    pair.send(method="echo", params=["still there?"], id="echo")
    assert await pair.request() == {"jsonrpc": "2.0", "result": ["still there?"], "error": None, "id": "echo"}


async def test_notifications_are_handed_on(pair: Pair) -> None:
    pair.send(method="update2", params=[1, {}], id=None)
    call = asyncio.create_task(pair.rpc.call("one", [], timeout_s=5))
    pair.send(id=(await pair.request())["id"], result=1)
    await call
    assert pair.told == [("update2", [1, {}])]


@pytest.mark.parametrize("garbage", [b"[1, 2]", b"not json"])
async def test_a_peer_that_speaks_something_else_is_left(pair: Pair, garbage: bytes) -> None:
    pair.writer.write(garbage)
    assert await asyncio.wait_for(pair.rpc.closed(), 5)
    with pytest.raises(DpuError):
        await pair.rpc.call("one", [], timeout_s=5)
