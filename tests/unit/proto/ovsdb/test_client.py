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
    """Answers monitor_cond with FIRST, each transaction with what is next in `results`.

    Attributes:
        since: answers to monitor_cond_since; a server without any does not know that.
        asked: transactions since which somebody asked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.refuse_monitor = False
        self.first: Any = FIRST
        self.server: Any = None
        self.early: list[Any] = []
        self.since: list[Any] = []
        self.asked: list[str] = []
        self.results: list[Any] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.connections = 0
        self.echoes = asyncio.Semaphore(0)
        self.mute = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with await asyncio.start_unix_server(self._serve, self._path):
            yield
            for writer in self.writers:
                writer.close()

    def tell(self, updates: Any) -> None:
        self.writers[-1].write(json.dumps({"id": None, "method": "update2", "params": ["main", updates]}).encode())

    def tell_since(self, transaction: str, updates: Any) -> None:
        params = ["main", transaction, updates]
        self.writers[-1].write(json.dumps({"id": None, "method": "update3", "params": params}).encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while line := await reader.readline():
            asked = json.loads(line)
            answer: dict[str, Any] = {"id": asked["id"], "error": None, "result": None}
            if asked["method"] == "echo":
                self.echoes.release()
                if self.mute:
                    continue
            if asked["method"] == "monitor_cond" and asked["params"][0] == "_Server":
                answer |= {"result": self.server} if self.server else {"error": "unknown database"}
            elif asked["method"] == "monitor_cond" and self.refuse_monitor:
                answer["error"] = "unknown database"
            elif asked["method"] == "monitor_cond":
                answer["result"] = self.first
            elif asked["method"] == "monitor_cond_since":
                self.asked.append(asked["params"][3])
                answer |= {"result": self.since.pop(0)} if self.since else {"error": {"error": "unknown method"}}
            elif asked["method"] == "transact":
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
        ([{"error": "not allowed", "details": "insert operation not allowed in read only mode"}], Reason.FORBIDDEN),
        ([{"error": "permission error", "details": "RBAC rules prohibit it"}], Reason.FORBIDDEN),
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


@pytest.mark.parametrize(("text", "right"), [("a\x00b", False), ("a\ud800", False), ("a\\u0000", True), ("", True)])
async def test_what_no_database_can_hold_is_refused_before_the_server_ends_the_connection_for_it(
    server: Server, client: OvsdbClient, heard: Heard, text: str, right: bool
) -> None:
    server.results = [[{}], [{}]]
    async with server.running():
        await client.start(heard.lost.put_nowait)
        telling = client.transact([{"op": "comment", "comment": text}])
        if right:
            assert await telling == [{}]
        else:
            with pytest.raises(DpuError, match="cannot be told of this") as refused:
                await telling
            assert refused.value.reason is Reason.CONFLICT
        assert await client.transact([{"op": "comment"}]) == [{}]
        assert server.connections == 1
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


@pytest.mark.parametrize("at_once", [None, 1])
@pytest.mark.parametrize("first", [{"Bridge": {"b1": {"modify": {"name": "x"}}}}, {"Unknown": {"b1": {}}}, [], None])
async def test_a_first_copy_that_does_not_fit_is_no_connection_and_is_asked_for_again(
    server: Server, short_dir: Path, heard: Heard, first: Any, at_once: int | None
) -> None:
    remote = [Remote(Method.UNIX, str(short_dir / "db.sock"))]
    client = OvsdbClient(remote, "Open_vSwitch", COLUMNS, heard.changed, at_once=at_once)
    server.first = first
    async with server.running():
        await client.start(heard.lost.put_nowait)
        with pytest.raises(DpuError, match="cannot be read"):
            assert client.replica
        server.first = FIRST
        await heard.hear("again")
        assert set(client.replica.rows("Bridge")) == {"b1"}
        await client.stop()


async def test_a_server_that_tells_nonsense_of_itself_is_no_connection(
    server: Server, client: OvsdbClient, heard: Heard
) -> None:
    server.server = {"Database": {"d": {"modify": {"leader": True}}}}
    async with server.running():
        await client.start(heard.lost.put_nowait)
        with pytest.raises(DpuError, match="of itself cannot be read"):
            assert client.replica
        await client.stop()


def _standing(*, leader: bool, connected: bool = True) -> Any:
    row = {"name": "Open_vSwitch", "model": "clustered", "connected": connected, "leader": leader}
    return {"Database": {"d1": {"initial": row}}}


@pytest.fixture
def cluster(short_dir: Path) -> list[Server]:
    return [Server(short_dir / f"{number}.sock") for number in range(3)]


def _of_all(short_dir: Path, heard: Heard) -> OvsdbClient:
    remotes = [Remote(Method.UNIX, str(short_dir / f"{number}.sock")) for number in range(3)]
    return OvsdbClient(remotes, "Open_vSwitch", COLUMNS, heard.changed)


async def test_of_a_cluster_the_leader_is_taken_and_followed(
    cluster: list[Server], short_dir: Path, heard: Heard
) -> None:
    for number, server in enumerate(cluster):
        server.server = _standing(leader=number == 1)
    client = _of_all(short_dir, heard)
    async with cluster[0].running(), cluster[1].running(), cluster[2].running():
        await client.start(heard.lost.put_nowait)
        assert [server.connections for server in cluster] == [1, 1, 0]
        cluster[1].server, cluster[2].server = _standing(leader=False), _standing(leader=True)
        changed = {"Database": {"d1": {"modify": {"leader": False}}}}
        cluster[1].writers[-1].write(
            json.dumps({"id": None, "method": "update2", "params": ["server", changed]}).encode()
        )
        await heard.hear("leads its cluster no longer")
        await heard.hear("again")
        assert cluster[2].connections == 1
        assert "b1" in client.replica.rows("Bridge")
        await client.stop()


async def test_without_a_leader_a_follower_that_has_its_cluster_must_do(
    cluster: list[Server], short_dir: Path, heard: Heard
) -> None:
    cluster[0].server = _standing(leader=False, connected=False)
    cluster[2].server = _standing(leader=False)
    client = _of_all(short_dir, heard)
    async with cluster[0].running(), cluster[2].running():
        await client.start(heard.lost.put_nowait)
        assert "b1" in client.replica.rows("Bridge")
        await client.stop()


async def test_no_server_of_a_cluster_is_told_with_the_reason_of_each(
    cluster: list[Server], short_dir: Path, heard: Heard
) -> None:
    cluster[0].server = _standing(leader=False, connected=False)
    client = _of_all(short_dir, heard)
    async with cluster[0].running():
        await client.start(heard.lost.put_nowait)
        with pytest.raises(DpuError, match=r"does not lead.*No such file"):
            assert client.replica
        await client.stop()


async def test_a_server_that_says_nothing_is_asked_and_then_left(short_dir: Path, heard: Heard) -> None:
    server = Server(short_dir / "db.sock")
    remote = [Remote(Method.UNIX, str(short_dir / "db.sock"))]
    client = OvsdbClient(remote, "Open_vSwitch", COLUMNS, heard.changed, probe_s=0.05)
    async with server.running():
        await client.start(heard.lost.put_nowait)
        server.mute = True
        await heard.hear("did not answer echo")
        server.mute = False
        await heard.hear("again")
        await client.stop()


async def test_a_server_that_answers_the_question_is_kept(short_dir: Path, heard: Heard) -> None:
    server = Server(short_dir / "db.sock")
    remote = [Remote(Method.UNIX, str(short_dir / "db.sock"))]
    client = OvsdbClient(remote, "Open_vSwitch", COLUMNS, heard.changed, probe_s=0.02)
    async with server.running():
        await client.start(heard.lost.put_nowait)
        for _ in range(3):
            await asyncio.wait_for(server.echoes.acquire(), 5)
        assert server.connections == 1
        await client.stop()
