"""The database client and tables that only newer schemas have."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proto.errors import DpuError
from proto.ovsdb.client import OvsdbClient
from proto.ovsdb.remotes import Method, Remote
from proto.ovsdb.session import NEVER
from proto.ovsdb.values import Columns, Shape
from tests.unit.proto.ovsdb.test_client import Heard

COLUMNS: Columns = {"Bridge": {"name": Shape.ONE}, "Later": {"name": Shape.ONE}}


class Server:
    """Refuses to copy tables that are not in its schema, and knows every transaction.

    Attributes:
        since: transactions since which somebody asked, each with the tables asked for.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.schema: Any = {"tables": {"Bridge": {}}}
        self.since: list[tuple[str, set[str]]] = []
        self.writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with await asyncio.start_unix_server(self._serve, self._path):
            yield
            for writer in self.writers:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while line := await reader.readline():
            asked = json.loads(line)
            answer = {"id": asked["id"], "error": None, "result": None} | self._answer(asked)
            writer.write(json.dumps(answer).encode())
        writer.close()

    def _answer(self, asked: Any) -> dict[str, Any]:
        if asked["method"] == "get_schema":
            return {"result": self.schema} if self.schema else {"error": "unknown database"}
        if asked["method"] != "monitor_cond_since":
            return {"error": "unknown method"}
        _, _, tables, since = asked["params"]
        self.since.append((since, set(tables)))
        if tables.keys() - self.schema["tables"].keys():
            return {"error": "no such table"}
        rows = {table: {f"u{table}": {"initial": {"name": table}}} for table in tables}
        return {"result": [since != NEVER, f"t{len(self.since)}", rows if since == NEVER else {}]}


@pytest.fixture
def server(short_dir: Path) -> Server:
    return Server(short_dir / "db.sock")


@pytest.fixture
def client(short_dir: Path) -> OvsdbClient:
    remote = [Remote(Method.UNIX, str(short_dir / "db.sock"))]
    return OvsdbClient(remote, "Db", COLUMNS, Heard().changed, resumes=True, optional=frozenset({"Later"}))


async def test_a_table_that_the_schema_lacks_is_empty_and_known_to_be_absent(
    server: Server, client: OvsdbClient
) -> None:
    async with server.running():
        await client.start(lambda _why: None)
        assert client.replica.absent == {"Later"}
        assert client.replica.rows("Later") == {}
        assert client.replica.rows("Bridge").keys() == {"uBridge"}
        await client.stop()
    assert server.since == [(NEVER, {"Bridge"})]


async def test_a_schema_that_grew_is_copied_anew_and_one_that_did_not_is_gone_on_with(
    server: Server, client: OvsdbClient
) -> None:
    heard = Heard()
    async with server.running():
        await client.start(heard.lost.put_nowait)
        first = client.replica
        for tables in (("Bridge",), ("Bridge", "Later")):
            server.schema = {"tables": {table: {} for table in tables}}
            server.writers[-1].close()
            await heard.hear("again")
        assert client.replica is not first
        assert client.replica.absent == frozenset()
        assert client.replica.rows("Later").keys() == {"uLater"}
        await client.stop()
    assert server.since == [(NEVER, {"Bridge"}), ("t1", {"Bridge"}), (NEVER, {"Bridge", "Later"})]


@pytest.mark.parametrize("schema", [None, {"tables": None}, []])
async def test_a_server_that_does_not_tell_its_schema_is_tried_again_and_has_no_copy(
    server: Server, client: OvsdbClient, schema: Any
) -> None:
    server.schema = schema
    async with server.running():
        await client.start(lambda _why: None)
        with pytest.raises(DpuError):
            _ = client.replica
        server.schema = {"tables": {"Bridge": {}}}
        assert await _is_there(client)
        await client.stop()


async def _is_there(client: OvsdbClient) -> bool:
    """Whether there is a copy after a while."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(DpuError):
                return bool(client.replica.rows("Bridge"))
            await asyncio.sleep(0.01)
