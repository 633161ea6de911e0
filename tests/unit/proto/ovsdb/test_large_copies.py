"""The database client where much is copied: in parts, and after a new connection only what is new."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from proto.ovsdb.client import OvsdbClient
from proto.ovsdb.remotes import Method, Remote
from proto.ovsdb.replica import Replica, RowChange
from proto.ovsdb.session import NEVER
from tests.unit.proto.ovsdb.test_client import COLUMNS, FIRST, SECOND, Heard, Server

THIRD = {"Bridge": {"b3": {"insert": {"name": "br-three"}}}}


@pytest.fixture
def server(short_dir: Path) -> Server:
    return Server(short_dir / "db.sock")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def client(short_dir: Path, heard: Heard) -> OvsdbClient:
    """One that goes on with the copy that it has."""
    remote = [Remote(Method.UNIX, str(short_dir / "db.sock"))]
    return OvsdbClient(remote, "Open_vSwitch", COLUMNS, heard.changed, resumes=True)


async def _again(server: Server, heard: Heard) -> None:
    server.writers[-1].close()
    await heard.hear("again")


async def test_after_a_new_connection_only_what_changed_since_is_sent(
    server: Server, client: OvsdbClient, heard: Heard
) -> None:
    server.since = [[False, "t1", FIRST], [True, "t3", THIRD], [True, "t3", {}]]
    async with server.running():
        await client.start(heard.lost.put_nowait)
        copy = client.replica
        server.tell_since("t2", SECOND)
        assert await client.wait_until(lambda replica: "b2" in replica.rows("Bridge"), timeout_s=5)
        await _again(server, heard)
        assert client.replica is copy
        assert set(copy.rows("Bridge")) == {"b1", "b2", "b3"}
        await _again(server, heard)
        await client.stop()
    assert server.asked == [NEVER, "t2", "t3"]
    assert heard.rows == ["b1", "b2", "b3"]


async def test_a_server_that_does_not_know_what_there_was_or_how_to_tell_sends_everything(
    server: Server, client: OvsdbClient, heard: Heard
) -> None:
    server.since = [[False, "t1", FIRST], [False, "t9", THIRD]]
    async with server.running():
        await client.start(heard.lost.put_nowait)
        first = client.replica
        await _again(server, heard)
        assert client.replica is not first
        assert set(client.replica.rows("Bridge")) == {"b3"}
        await _again(server, heard)  # one of an older version
        assert set(client.replica.rows("Bridge")) == {"b1"}
        await _again(server, heard)
        await client.stop()
    assert server.asked == [NEVER, "t1", "t9", NEVER]


async def test_a_server_that_gives_transactions_no_names_is_asked_for_everything(
    server: Server, client: OvsdbClient, heard: Heard
) -> None:
    server.since = [[False, NEVER, FIRST], [False, NEVER, FIRST]]
    async with server.running():
        await client.start(heard.lost.put_nowait)
        server.tell_since(NEVER, SECOND)
        await _again(server, heard)
        assert set(client.replica.rows("Bridge")) == {"b1"}
        await client.stop()
    assert server.asked == [NEVER, NEVER]


async def test_a_copy_that_is_not_whole_is_not_gone_on_with(server: Server, client: OvsdbClient, heard: Heard) -> None:
    server.since = [[False, "t1", FIRST], [False, "t2", FIRST]]
    async with server.running():
        await client.start(heard.lost.put_nowait)
        server.tell_since("t2", {"Bridge": {**SECOND["Bridge"], "unknown": {"delete": None}}})
        await heard.hear("does not fit")
        await heard.hear("again")
        assert set(client.replica.rows("Bridge")) == {"b1"}
        await client.stop()
    assert server.asked == [NEVER, NEVER]


async def test_a_copy_of_which_somebody_was_not_told_is_not_gone_on_with(server: Server, short_dir: Path) -> None:
    heard = Heard()

    def changed(replica: Replica, changes: Sequence[RowChange]) -> None:
        if any(change.identity == "b2" for change in changes) and not heard.changes:
            heard.changes += 1
            raise KeyError("b2")
        heard.rows += [change.identity for change in changes]

    remote = [Remote(Method.UNIX, str(short_dir / "db.sock"))]
    client = OvsdbClient(remote, "Open_vSwitch", COLUMNS, changed, resumes=True)
    server.since = [[False, "t1", FIRST], [False, "t2", {"Bridge": {**FIRST["Bridge"], **SECOND["Bridge"]}}]]
    async with server.running():
        await client.start(heard.lost.put_nowait)
        server.tell_since("t2", SECOND)
        await heard.hear("again")
        await client.stop()
    assert server.asked == [NEVER, NEVER]
    assert heard.rows == ["b1", "b1", "b2"]


class Parts:
    """What a client tells, part by part, with how often the loop had its turn until then."""

    def __init__(self) -> None:
        self.turns = 0
        self.sizes: list[int] = []
        self.told_at: list[int] = []

    def changed(self, _: Replica, changes: Sequence[RowChange]) -> None:
        self.sizes.append(len(changes))
        self.told_at.append(self.turns)

    @contextlib.asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        async def turn() -> None:
            while True:
                self.turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(turn())
        try:
            yield
        finally:
            task.cancel()


def _many(kind: str, letter: str) -> Any:
    return {"Bridge": {f"{letter}{number}": {kind: {"name": f"{letter}{number}"}} for number in range(1000)}}


async def test_a_large_change_is_taken_in_parts_between_which_others_have_their_turn(
    server: Server, short_dir: Path
) -> None:
    parts = Parts()
    remote = [Remote(Method.UNIX, str(short_dir / "db.sock"))]
    client = OvsdbClient(remote, "Open_vSwitch", COLUMNS, parts.changed, at_once=100)
    server.first = _many("initial", "a")
    async with server.running(), parts.counting():
        await client.start(lambda _why: None)
        assert len(client.replica.rows("Bridge")) == 1000
        server.results = [[{}]]
        server.tell(_many("insert", "b"))
        await client.transact([{"op": "comment"}])
        assert len(client.replica.rows("Bridge")) == 2000  # what was told before the answer is there with it
        await client.stop()
    assert max(parts.sizes) == 100
    assert sum(parts.sizes) == 2000
    full = [at for at, size in zip(parts.told_at, parts.sizes, strict=True) if size]
    assert len(set(full)) == len(full)


async def test_a_large_change_that_does_not_fit_makes_the_copy_anew(
    server: Server, short_dir: Path, heard: Heard
) -> None:
    remote = [Remote(Method.UNIX, str(short_dir / "db.sock"))]
    client = OvsdbClient(remote, "Open_vSwitch", COLUMNS, heard.changed, at_once=100)
    async with server.running():
        await client.start(heard.lost.put_nowait)
        server.tell({"Bridge": _many("insert", "b")["Bridge"] | {"unknown": {"delete": None}}})
        await heard.hear("does not fit")
        await heard.hear("again")
        assert set(client.replica.rows("Bridge")) == {"b1"}
        await client.stop()
