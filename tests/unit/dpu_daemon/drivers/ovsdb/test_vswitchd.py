"""Watching ovs-vswitchd through control sockets that answer as its own does."""

import asyncio
import json
from pathlib import Path

import pytest

from dpu_daemon.drivers.ovsdb.vswitchd import VswitchdWatch


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = json.loads(await reader.readline())
    assert (asked["method"], asked["params"]) == ("version", [])
    told = "ovs-vswitchd (Open vSwitch) 3.1.0\nDPDK 22.11.7"
    writer.write(json.dumps({"id": asked["id"], "result": told, "error": None}).encode())
    await reader.read()
    writer.close()


@pytest.mark.parametrize("name", ["ovs-vswitchd.ctl", "ovs-vswitchd.4711.ctl"])
async def test_the_control_socket_is_found_under_either_name(short_dir: Path, name: str) -> None:
    (short_dir / "ovs-vswitchd.pid").write_text("4711\n")
    watch = VswitchdWatch(short_dir)
    async with await asyncio.start_unix_server(_answer, short_dir / name):
        await watch.start(lambda _: None)
        assert watch.version == "3.1.0"
        await watch.stop()


@pytest.mark.parametrize("pidfile", [None, "", "soon"])
async def test_a_switch_that_is_not_there_has_no_version(short_dir: Path, pidfile: str | None) -> None:
    if pidfile is not None:
        (short_dir / "ovs-vswitchd.pid").write_text(pidfile)
    watch = VswitchdWatch(short_dir)
    await watch.start(lambda _: None)
    assert watch.version == ""
    await watch.stop()
