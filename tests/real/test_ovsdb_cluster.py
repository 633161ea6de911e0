"""The client of OVSDB against real servers: a cluster whose leader dies, and certificates on both sides."""

import asyncio
import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lab.ca import Authority, Identity, Role
from proto.errors import DpuError
from proto.ovsdb.client import OvsdbClient
from proto.ovsdb.remotes import TlsFiles, parse_remotes
from proto.ovsdb.replica import Replica, RowChange
from proto.ovsdb.values import Columns, Shape
from tests.fakes.ovn import SCHEMAS, wait_until
from tests.fakes.ports import free_port
from tests.fakes.qsd import DIES_WITH_THE_TEST

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

COLUMNS: Columns = {"Logical_Switch": {"name": Shape.ONE}}
NB = "OVN_Northbound"


class Servers:
    """ovsdb-servers as children of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int, database: str, *words: str) -> None:
        files = (f"--remote=punix:{self.folder}/{number}.sock", f"--unixctl={self.folder}/{number}.ctl")
        quiet = ("-vconsole:off", f"--log-file={self.folder}/{number}.log")
        command = [*DIES_WITH_THE_TEST, "ovsdb-server", database, *files, *words, *quiet]
        self.running[number] = subprocess.Popen(command)
        wait_until((self.folder / f"{number}.ctl").is_socket, f"server {number}")

    def create(self, name: str) -> None:
        made = ["ovsdb-tool", "create", str(self.folder / name), str(SCHEMAS / "ovn-nb.ovsschema")]
        subprocess.run(made, check=True)

    def start_cluster(self) -> None:
        ports = [free_port() for _ in range(3)]
        for number, port in enumerate(ports):
            database, own = str(self.folder / f"{number}.db"), f"tcp:127.0.0.1:{port}"
            schema = str(SCHEMAS / "ovn-nb.ovsschema")
            made = ["create-cluster", database, schema, own]
            joining = ["join-cluster", database, NB, own, f"tcp:127.0.0.1:{ports[0]}"]
            subprocess.run(["ovsdb-tool", *(joining if number else made)], check=True)
            self.start(number, database)
        wait_until(lambda: all("cluster member" in self.ask(n) for n in range(3)), "a cluster of three", 40.0)

    def ask(self, number: int) -> str:
        command = ["ovs-appctl", "-t", f"{self.folder}/{number}.ctl", "cluster/status", NB]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout

    def leader(self) -> int:
        return next((number for number in self.running if "Role: leader" in self.ask(number)), -1)

    def kill(self, number: int) -> None:
        process = self.running.pop(number)
        process.kill()
        process.wait()

    def remotes(self) -> str:
        return ",".join(f"unix:{self.folder}/{number}.sock" for number in range(3))


@pytest.fixture
def servers() -> Iterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="oc-", dir="/tmp") as name:
        made = Servers(Path(name))
        try:
            yield made
        finally:
            for number in list(made.running):
                made.kill(number)


@pytest.mark.parametrize("resumes", [False, True])
async def test_a_cluster_loses_its_leader_and_what_is_written_then_is_there(servers: Servers, resumes: bool) -> None:
    await asyncio.to_thread(servers.start_cluster)
    told: list[str] = []

    def tell(_copy: Replica, changes: Sequence[RowChange]) -> None:
        told.extend(change.after["name"] for change in changes if change.after is not None)

    client = OvsdbClient(parse_remotes(servers.remotes(), "x"), NB, COLUMNS, tell, resumes=resumes)
    said: asyncio.Queue[str] = asyncio.Queue()
    await client.start(said.put_nowait)
    try:
        await client.transact([_switch("before")])
        await asyncio.to_thread(lambda: servers.kill(servers.leader()))
        while "again" not in await asyncio.wait_for(said.get(), 30):
            pass
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(DpuError):
                    await client.transact([_switch("after")])
                    break
                await asyncio.sleep(0.1)
        names = {row["name"] for row in client.replica.rows("Logical_Switch").values()}
        assert names == {"before", "after"}
        copies = told.count("before")  # a cluster without its leader may have another, and yet another
        assert copies == 1 if resumes else copies > 1
    finally:
        await client.stop()


async def test_both_sides_show_certificates_and_a_stranger_is_refused(servers: Servers) -> None:
    folder, port = servers.folder, free_port()
    servers.create("nb.db")
    ours, server = _files(folder / "ours", "coordinator"), _files(folder / "ours", "nb")
    stranger = _files(folder / "theirs", "coordinator")
    tls = (f"--private-key={server.key}", f"--certificate={server.cert}", f"--ca-cert={server.ca}")
    servers.start(0, f"{folder}/nb.db", f"--remote=pssl:{port}:127.0.0.1", *tls)
    for files, welcome in ((ours, True), (stranger, False), (None, False)):
        remotes = parse_remotes(f"ssl:127.0.0.1:{port}", "x")
        client = OvsdbClient(remotes, NB, COLUMNS, lambda _copy, _changes: None, tls=files)
        await client.start(lambda _why: None)
        try:
            if welcome:
                await client.transact([_switch("s")])
                assert len(client.replica.rows("Logical_Switch")) == 1
            else:
                with pytest.raises(DpuError):
                    assert client.replica
        finally:
            await client.stop()


def _switch(name: str) -> dict[str, object]:
    return {"op": "insert", "table": "Logical_Switch", "row": {"name": name}}


def _files(folder: Path, name: str) -> TlsFiles:
    """A certificate of the authority that lies in a folder."""
    authority = Authority(folder)
    pair = authority.issue(Identity(name, Role.COORDINATOR, ("127.0.0.1",)))
    return TlsFiles(ca=authority.ca_file, cert=pair.certificate, key=pair.key)
