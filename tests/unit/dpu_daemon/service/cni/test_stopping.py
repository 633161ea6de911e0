"""The CNI socket when the daemon is told to stop: calls that it took are answered, and nothing stays half done."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from dpu_daemon.config_net import CniSection
from dpu_daemon.engine import cni_node
from dpu_daemon.service.cni import frame as frames
from dpu_daemon.service.cni import server as cni_server
from dpu_daemon.service.cni.calls import CniCalls
from dpu_daemon.service.cni.frame import Call
from dpu_daemon.service.cni.metrics import CniMetrics
from dpu_daemon.service.cni.server import CniServer
from tests.fakes.cni import CniHost, CniWorld, assignment, cni_host

HEAD = struct.Struct(">8sIII")
CONF = json.dumps({"cniVersion": "1.1.0", "name": "dpupool", "type": "dpu-cni"}).encode()
PATIENCE_S = 60.0
"""More than a test takes: what ends before it was ended."""


@pytest.fixture(params=[False, True], ids=["veth", "function"])
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CniHost]:
    world = CniWorld(functions=request.param)
    world.add_netns("c1")
    world.node.assigned["default/web"] = assignment()
    host = await cni_host(tmp_path / "journal.db", world)
    yield host
    await host.stop()


@pytest.fixture
async def server(host: CniHost, tmp_path: Path) -> CniServer:
    settings = CniSection(socket=tmp_path / "cni.sock", wait_s=PATIENCE_S)
    server = CniServer(CniCalls(host.node, settings, CniMetrics(CollectorRegistry())), settings.socket)
    await server.start()
    return server


def frame(verb: str) -> bytes:
    variables = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": "/run/netns/c1",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
    }
    pairs = b"".join(f"{name}={value}".encode() + b"\0" for name, value in variables.items())
    return HEAD.pack(b"dpucni1\n", int(PATIENCE_S * 1000), len(pairs), len(CONF)) + pairs + CONF


async def answer(path: Path, verb: str) -> tuple[int, Any]:
    """Exit status and output of one call."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(frame(verb))
    received = await reader.read()
    writer.close()
    assert received, "the connection ended without an answer"
    _, status, length = struct.unpack(">8sII", received[:16])
    assert length == len(received) - 16
    return status, json.loads(received[16:] or b"null")


def told_to_repeat(answered: tuple[int, Any]) -> bool:
    status, error = answered
    return (
        (status, error["code"], error["cniVersion"]) == (1, 11, "1.1.0")
        and "the daemon is stopping" in error["msg"]
        and "repeat" in error["details"]
    )


async def test_an_add_that_only_waits_is_told_to_repeat_and_undone(
    host: CniHost, server: CniServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cni_node, "HURRY_S", 0.05)
    before = host.world.node.dump()
    host.world.faults.gates["switch.forward"] = asyncio.Event()
    adding = asyncio.create_task(answer(tmp_path / "cni.sock", "ADD"))
    await host.world.called("switch.forward")
    await server.stop(PATIENCE_S)
    assert told_to_repeat(await adding)
    assert host.world.node.dump() == before
    assert not host.ledger.sandboxes


async def test_an_add_that_is_nearly_done_is_finished(host: CniHost, server: CniServer, tmp_path: Path) -> None:
    gate = host.world.faults.gates["switch.forward"] = asyncio.Event()
    adding = asyncio.create_task(answer(tmp_path / "cni.sock", "ADD"))
    await host.world.called("switch.forward")
    stopping = asyncio.create_task(server.stop(PATIENCE_S))
    await asyncio.sleep(0)
    assert not (tmp_path / "cni.sock").exists()
    gate.set()
    await stopping
    status, result = await adding
    assert (status, result["cniVersion"]) == (0, "1.1.0")
    assert list(host.world.node.held) == [box.holder for box in host.ledger.sandboxes.values() if box.ready]


async def test_a_call_that_arrives_while_the_daemon_stops_begins_nothing(
    host: CniHost, server: CniServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = host.world.node.dump()
    reading = asyncio.Event()

    async def read_call(reader: asyncio.StreamReader) -> Call:
        reading.set()
        return await frames.read_call(reader)

    monkeypatch.setattr(cni_server, "read_call", read_call)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "cni.sock")
    writer.write(frame("ADD")[:-1])
    await reading.wait()
    stopping = asyncio.create_task(server.stop(PATIENCE_S))
    await asyncio.sleep(0)
    assert not (tmp_path / "cni.sock").exists()
    writer.write(frame("ADD")[-1:])
    received = await reader.read()
    writer.close()
    await stopping
    assert b"the daemon is stopping" in received
    assert host.world.node.dump() == before


@pytest.mark.parametrize("verb", ["DEL", "STATUS"])
async def test_what_does_not_end_in_time_is_told_to_be_repeated(
    host: CniHost, server: CniServer, tmp_path: Path, verb: str
) -> None:
    host.world.faults.hung.add("switch.look")
    calling = asyncio.create_task(answer(tmp_path / "cni.sock", verb))
    await host.world.called("switch.look")
    await server.stop(0.1)
    assert told_to_repeat(await calling)
