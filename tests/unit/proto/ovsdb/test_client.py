"""The database client against a server that is written out by hand: early updates, refusals, nonsense."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from proto.errors import DpuError
from proto.ovsdb.client import OvsdbClient
from proto.ovsdb.remotes import Method, Remote
from proto.ovsdb.replica import Replica, RowChange
from proto.ovsdb.values import Columns, Shape
from proto.reasons import Reason

COLUMNS: Columns = {"Bridge": {"name": Shape.ONE}}
FIRST = {"Bridge": {"b1": {"initial": {"name": "br-int"}}}}
SECOND = {"Bridge": {"b2": {"insert": {"name": "br-two"}}}}


class Server:
    """Answers monitor_cond with FIRST, each transaction with what is next in `results`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.refuse_monitor = False
        self.server: Any = None
        self.early: list[Any] = []
        self.results: list[Any] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.connections = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with await asyncio.start_unix_server(self._serve, self._path):
            yield
            for writer in self.writers:
                writer.close()

    def tell(self, updates: Any) -> None:
        self.writers[-1].write(json.dumps({"id": None, "method": "update2", "params": ["main", updates]}).encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while line := await reader.readline():
            asked = json.loads(line)
            answer: dict[str, Any] = {"id": asked["id"], "error": None, "result": None}
            if asked["method"] == "monitor_cond" and asked["params"][0] == "_Server":
                answer |= {"result": self.server} if self.server else {"error": "unknown database"}
            elif asked["method"] == "monitor_cond" and self.refuse_monitor:
                answer["error"] = "unknown database"
            elif asked["method"] == "monitor_cond":
                answer["result"] = FIRST
            else:
                result = self.results.pop(0)
                answer |= {"error": result} if isinstance(result, str) else {"result": result}
            together = [answer, *({"id": None, "method": "update2", "params": ["main", each]} for each in self.early)]
            writer.write("".join(map(json.dumps, together)).encode())
            self.early.clear()
        writer.close()


class Heard:
    """What a client tells."""

    def __init__(self) -> None:
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        self.changes = 0
        self.rows: list[str] = []

    def changed(self, _: Replica, changes: Sequence[RowChange]) -> None:
        self.changes += 1
        self.rows += [change.identity for change in changes]

    async def hear(self, word: str) -> None:
        while word not in await asyncio.wait_for(self.lost.get(), 5):
            pass


@pytest.fixture
def server(short_dir: Path) -> Server:
    return Server(short_dir / "db.sock")


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def client(short_dir: Path, heard: Heard) -> OvsdbClient:
    return OvsdbClient([Remote(Method.UNIX, str(short_dir / "db.sock"))], "Open_vSwitch", COLUMNS, heard.changed)


async def test_updates_in_the_same_packet_as_the_first_copy_are_not_lost(
    server: Server, client: OvsdbClient, heard: Heard
) -> None:
    server.early = [SECOND]
    async with server.running():
        await client.start(heard.lost.put_nowait)
        assert await client.wait_until(lambda replica: len(replica.rows("Bridge")) == 2, timeout_s=5)
        await client.stop()


async def test_waiting_ends_at_its_deadline_or_with_the_news(server: Server, client: OvsdbClient, heard: Heard) -> None:
    async with server.running():
        await client.start(heard.lost.put_nowait)
        assert not await client.wait_until(lambda replica: "b2" in replica.rows("Bridge"), timeout_s=0.05)
        waiting = asyncio.create_task(client.wait_until(lambda replica: "b2" in replica.rows("Bridge"), timeout_s=5))
        await asyncio.sleep(0)
        server.tell(SECOND)
        assert await waiting
        assert heard.changes == 2
        await client.stop()


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ([{}, {"error": "constraint violation", "details": "duplicate name"}], Reason.CONFLICT),
        ([{}, None, {"error": "I/O error"}], Reason.CONFLICT),
        ("not allowed", Reason.INTERNAL),
    ],
)
async def test_any_refused_operation_refuses_the_whole(
    server: Server, client: OvsdbClient, heard: Heard, result: Any, reason: Reason
) -> None:
    server.results = [result]
    async with server.running():
        await client.start(heard.lost.put_nowait)
        with pytest.raises(DpuError) as refused:
            await client.transact([{"op": "comment"}])
        assert refused.value.reason is reason
        await client.stop()


async def test_a_database_that_cannot_be_monitored_is_no_connection(
    server: Server, client: OvsdbClient, heard: Heard
) -> None:
    server.refuse_monitor = True
    async with server.running():
        await client.start(heard.lost.put_nowait)
        with pytest.raises(DpuError, match="cannot be monitored") as refused:
            assert client.replica
        assert refused.value.reason is Reason.UNAVAILABLE
        server.refuse_monitor = False
        await heard.hear("again")
        assert "b1" in client.replica.rows("Bridge")
        await client.stop()


async def test_an_update_that_does_not_fit_makes_the_copy_anew(
    server: Server, client: OvsdbClient, heard: Heard
) -> None:
    async with server.running():
        await client.start(heard.lost.put_nowait)
        server.tell({"Bridge": {"unknown": {"delete": None}}})
        await heard.hear("does not fit")
        await heard.hear("again")
        assert server.connections == 2
        assert set(client.replica.rows("Bridge")) == {"b1"}
        await client.stop()
