"""The watch over OVN's southbound database: who answers, who only lets connect, who has lost its cluster."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dpu_daemon.config_net import OvnSection
from dpu_daemon.drivers import southbound
from dpu_daemon.drivers.southbound import DATABASE, Southbound, askable
from dpu_daemon.parts.switch import southbound as southbound_of
from dpu_daemon.sections import TlsSection
from proto import keeper
from proto.ovsdb.remotes import Method, Remote, TlsFiles, parse_remotes

TLS = TlsFiles(ca=Path("/ca"), cert=Path("/cert"), key=Path("/key"))


@dataclass
class Server:
    """An ovsdb-server, as far as it is asked; `mute` stands still like one that was stopped by a signal."""

    connected: bool = True
    mute: bool = False
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            decoder = msgspec.json.Decoder(dict[str, Any])
            while line := await reader.readline():
                call = decoder.decode(line)
                self.asked.append(call["method"])
                if not self.mute:
                    answer = {"id": call["id"], "error": None, "result": self.result(call)}
                    writer.write(msgspec.json.encode(answer))
        writer.close()

    def result(self, call: dict[str, Any]) -> Any:
        if call["method"] == "echo":
            return call["params"]
        row = {"name": DATABASE, "model": "clustered", "connected": self.connected, "leader": False}
        return {"Database": {"00000000-0000-4000-8000-000000000001": {"initial": row}}}


@asynccontextmanager
async def serving(path: Path, server: Server) -> AsyncIterator[Remote]:
    listening = await asyncio.start_unix_server(server.serve, str(path))
    try:
        yield Remote(Method.UNIX, str(path))
    finally:
        listening.close()


@asynccontextmanager
async def watching(*remotes: Remote) -> AsyncIterator[tuple[Southbound, asyncio.Queue[str]]]:
    """A watch, and what it told."""
    said: asyncio.Queue[str] = asyncio.Queue()
    watch = Southbound(remotes, None, probe_s=0.05)
    assert watch.trouble() == ""
    watch.start(said.put_nowait)
    try:
        yield watch, said
    finally:
        await watch.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(southbound, "ASK_S", 0.2)
    monkeypatch.setattr(keeper, "LONGEST_PAUSE_S", 0.02)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  (a state of the driver, which tells nobody)
            await asyncio.sleep(0.01)


async def test_a_server_that_answers_is_no_trouble_and_is_asked_again(tmp_path: Path) -> None:
    server = Server()
    async with serving(tmp_path / "sb", server) as remote, watching(remote) as (watch, said):
        await until(lambda: server.asked.count("echo") > 1)
        assert watch.trouble() == ""
        assert said.empty()


async def test_a_server_that_falls_silent_is_told_of_until_it_answers_again(tmp_path: Path) -> None:
    server = Server()
    async with serving(tmp_path / "sb", server) as remote, watching(remote) as (watch, said):
        await until(lambda: "echo" in server.asked)
        server.mute = True
        assert "went away" in await asyncio.wait_for(said.get(), 20)
        assert "southbound database" in watch.trouble()
        server.asked.clear()
        await until(lambda: len(server.asked) > 1)
        assert "no answer" in watch.trouble(), "that it lets connect is no sign of life"
        server.mute = False
        assert "reachable again" in await asyncio.wait_for(said.get(), 20)
        assert watch.trouble() == ""


async def test_one_server_of_a_cluster_that_serves_is_enough(tmp_path: Path) -> None:
    mute, alone, well = Server(mute=True), Server(connected=False), Server()
    async with (
        serving(tmp_path / "a", mute) as first,
        serving(tmp_path / "b", alone) as second,
        serving(tmp_path / "c", well) as third,
        watching(first, second, third) as (watch, _),
    ):
        await until(lambda: "echo" in well.asked)
        assert watch.trouble() == ""


async def test_servers_that_lost_their_cluster_do_not_serve(tmp_path: Path) -> None:
    server = Server()
    async with serving(tmp_path / "a", server) as remote, watching(remote) as (watch, said):
        await until(lambda: "echo" in server.asked)
        server.mute, server.connected = True, False
        await asyncio.wait_for(said.get(), 20)
        server.mute = False
        await until(lambda: "lost its cluster" in watch.trouble())


@pytest.mark.parametrize("server", [Server(mute=True), Server(connected=False)], ids=["mute", "alone"])
async def test_of_a_server_that_was_never_met_ovn_controller_speaks(tmp_path: Path, server: Server) -> None:
    async with serving(tmp_path / "a", server) as remote, watching(remote) as (watch, _):
        await until(lambda: len(server.asked) > 2)
        assert watch.trouble() == ""


def test_servers_that_want_a_certificate_are_asked_with_one_only() -> None:
    remotes = parse_remotes("ssl:192.0.2.1:6642,tcp:192.0.2.2:6642", "ovn.remote")
    assert askable(remotes, TLS) == remotes
    assert askable(remotes, None) == remotes[1:]
    guarded = OvnSection(remote="ssl:192.0.2.1:6642", encap_ip="192.0.2.9")
    assert southbound_of(guarded) is None
    files = TlsSection(ca=TLS.ca, cert=TLS.cert, key=TLS.key)
    assert southbound_of(OvnSection(remote=guarded.remote, encap_ip=guarded.encap_ip, tls=files)) is not None
