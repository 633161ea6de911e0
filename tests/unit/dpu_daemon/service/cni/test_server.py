"""The CNI socket: who is answered, what is no call, what is left of an earlier daemon."""

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from dpu_daemon.config_net import CniSection
from dpu_daemon.service.cni.calls import CniCalls
from dpu_daemon.service.cni.metrics import CniMetrics
from dpu_daemon.service.cni.server import CniServer
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.cni import CniHost, CniWorld, assignment, cni_host

HEAD = struct.Struct(">8sIII")
MAGIC = b"dpucni1\n"
CONF = json.dumps({"cniVersion": "1.1.0", "name": "dpupool", "type": "dpu-cni"}).encode()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[CniHost]:
    world = CniWorld(functions=False)
    world.add_netns("c1")
    world.node.assigned["default/web"] = assignment()
    host = await cni_host(tmp_path / "journal.db", world)
    yield host
    await host.stop()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def path(host: CniHost, tmp_path: Path, registry: CollectorRegistry) -> AsyncIterator[Path]:
    path = tmp_path / "run" / "cni.sock"
    server = _server(host, path, registry)
    await server.start()
    yield path
    await server.stop(1.0)
    assert not path.exists()


def _server(host: CniHost, path: Path, registry: CollectorRegistry) -> CniServer:
    settings = CniSection(socket=path, wait_s=2.0)
    return CniServer(CniCalls(host.node, settings, CniMetrics(registry)), path)


def frame(verb: str, config: bytes = CONF, left_ms: int = 9000) -> bytes:
    variables = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": "/run/netns/c1",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
    }
    pairs = b"".join(f"{name}={value}".encode() + b"\0" for name, value in variables.items())
    return HEAD.pack(MAGIC, left_ms, len(pairs), len(config)) + pairs + config


async def answer(path: Path, sent: bytes) -> tuple[int, Any]:
    """Exit status and output of one connection."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(sent)
    received = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    magic, status, length = struct.unpack(">8sII", received[:16])
    assert (magic, length) == (MAGIC, len(received) - 16)
    return status, json.loads(received[16:] or b"null")


async def test_calls_are_served_and_counted(path: Path, registry: CollectorRegistry) -> None:
    status, result = await answer(path, frame("ADD"))
    assert (status, result["interfaces"][1]["name"]) == (0, "eth0")
    assert (await answer(path, frame("ADD")))[1]["code"] == 102
    assert await answer(path, frame("CHECK")) == (0, None)
    assert await answer(path, frame("DEL")) == (0, None)
    count = registry.get_sample_value
    assert count("dpupool_cni_calls_total", {"verb": "ADD", "code": "0"}) == 1
    assert count("dpupool_cni_calls_total", {"verb": "ADD", "code": "102"}) == 1
    assert count("dpupool_cni_call_seconds_count", {"verb": "ADD"}) == 2
    assert count("dpupool_cni_in_flight", {"verb": "ADD"}) == 0


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (HEAD.pack(b"dpucni2\n", 1, 0, 0), "another version"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not dpu-cni"),
        (HEAD.pack(MAGIC, 1, 1 << 30, 0), "announces"),
        (HEAD.pack(MAGIC, 1, 3, 0) + b"A=B", "NUL"),
    ],
)
async def test_what_is_no_call_is_told_so(path: Path, sent: bytes, says: str) -> None:
    with capture_logs() as logs:
        status, error = await answer(path, sent)
    assert (status, error["code"]) == (1, 114)
    assert says in error["msg"]
    assert [says in line["event"] for line in logs] == [True]


async def test_an_unknown_verb_is_named(path: Path) -> None:
    status, error = await answer(path, frame("FROB"))
    assert (status, error["code"]) == (1, 4)
    assert "FROB" in error["msg"]


async def test_half_a_call_hurts_nobody(path: Path, host: CniHost) -> None:
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(frame("ADD")[:-5])
    writer.close()
    assert (await answer(path, frame("STATUS")))[0] == 0
    assert not host.ledger.sandboxes


async def test_the_end_of_a_connection_undoes_its_add(path: Path, host: CniHost) -> None:
    host.world.faults.gates["switch.forward"] = asyncio.Event()
    before = host.world.node.dump()
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(frame("ADD"))
    await host.world.called("switch.forward")
    writer.close()
    assert await answer(path, frame("DEL")) == (0, None)
    assert host.world.node.dump() == before


async def test_the_announced_time_is_kept(path: Path, host: CniHost) -> None:
    host.world.faults.hung.add("switch.look")
    status, error = await answer(path, frame("STATUS", left_ms=300))
    assert (status, error["code"]) == (1, 50)


async def test_an_error_that_knows_no_remedy_says_where_to_look(
    path: Path, host: CniHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> None:
        raise DpuError(Reason.FORBIDDEN, "no")

    monkeypatch.setattr(host.node, "delete", refused)
    _, error = await answer(path, frame("DEL"))
    assert (error["code"], error["msg"]) == (106, "no")
    assert "journalctl" in error["details"]


async def test_a_fault_of_ours_is_told_as_one(path: Path, host: CniHost, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(host.node, "ready", broken)
    status, error = await answer(path, frame("STATUS"))
    assert (status, error["code"]) == (1, 114)
    assert "ZeroDivisionError" in error["msg"]


async def test_the_socket_of_a_killed_daemon_is_replaced_and_goes_at_the_end(host: CniHost, tmp_path: Path) -> None:
    path = tmp_path / "cni.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    server = _server(host, path, CollectorRegistry())
    await server.start()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await answer(path, frame("STATUS")))[0] == 0
    await server.stop(1.0)
    assert [name for name in os.listdir(tmp_path) if name.endswith(".sock") or name.startswith(".")] == []  # noqa: PTH208


async def test_the_socket_of_a_living_daemon_is_not_taken(path: Path, host: CniHost) -> None:
    with pytest.raises(DpuError) as refused:
        await _server(host, path, CollectorRegistry()).start()
    assert (refused.value.reason, refused.value.field) == (Reason.IN_USE, "cni.socket")
    assert (await answer(path, frame("STATUS")))[0] == 0


async def test_a_file_that_is_no_socket_stays(host: CniHost, tmp_path: Path) -> None:
    path = tmp_path / "cni.sock"
    path.write_text("somebody's")
    with pytest.raises(DpuError) as refused:
        await _server(host, path, CollectorRegistry()).start()
    assert refused.value.reason is Reason.WRONG_STATE
    assert path.read_text() == "somebody's"


async def test_a_socket_that_took_the_path_meanwhile_is_left_alone(host: CniHost, tmp_path: Path) -> None:
    path = tmp_path / "cni.sock"
    server = _server(host, path, CollectorRegistry())
    await server.start()
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        await server.stop(1.0)
        assert path.is_socket()


async def test_a_socket_that_is_taken_away_is_made_again(
    host: CniHost, registry: CollectorRegistry, tmp_path: Path
) -> None:
    path = tmp_path / "run" / "cni.sock"
    server = CniServer(CniCalls(host.node, CniSection(socket=path), CniMetrics(registry)), path, look_s=0.01)
    await server.start()
    path.unlink()
    path.parent.rmdir()
    async with asyncio.timeout(20):
        while not path.exists():  # noqa: ASYNC110  (whoever took it away is told nothing)
            await asyncio.sleep(0.01)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (await answer(path, frame("STATUS")))[0] == 0
    await server.stop(1.0)
    assert not path.exists()
