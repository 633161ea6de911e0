import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lab.chassis.application import Chassis
from lab.chassis.config import ChassisConfig
from lab.chassis.rpc import LINE_LIMIT_BYTES


class Client:
    """A DPU's end of the link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.number = 0

    async def send(self, line: str) -> dict[str, Any]:
        self.writer.write(line.encode() + b"\n")
        return await self.read()

    async def read(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(self.reader.readline(), 10))
        return answer

    async def call(self, method: str, **params: object) -> Any:
        self.number += 1
        answer = await self.send(json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}))
        assert answer["id"] == self.number
        return answer["result"] if "result" in answer else answer["error"]


@pytest.fixture
async def client(chassis: Chassis, config: ChassisConfig) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_unix_connection(str(config.pcie_path), limit=2 * LINE_LIMIT_BYTES)
    yield Client(reader, writer)
    writer.close()
    await writer.wait_closed()


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, object]:
    return {
        "slot": 0,
        "function_id": "vol-a",
        "protocol": "virtio-blk",
        "nbd_path": str(tmp_path / "nbd"),
        "export": "vol-a",
        "serial": "S0",
    }


async def test_the_link_is_for_its_user_alone(client: Client, config: ChassisConfig) -> None:
    assert config.pcie_path.stat().st_mode & 0o777 == 0o600


async def test_a_plugged_disk_is_listed_as_it_was_plugged(client: Client, spec: dict[str, object]) -> None:
    entry = await client.call("bus.plug_disk", **spec)
    assert entry == {
        **spec,
        "nguid": "",
        "read_only": False,
        "boot_order": 0,
        "present": True,
        "state": "configured",
        "pci_address": "",
        "backend_cut": False,
    }
    bus = await client.call("bus.get")
    assert bus == {"host_power": "off", "disk_slots": 8, "nic_slots": 4, "disks": [entry], "nics": []}
    assert await client.call("bus.unplug_disk", slot=0, function_id="vol-a") == {"outcome": "removed"}
    assert await client.call("bus.unplug_disk", slot=0, function_id="vol-a") == {"outcome": "absent"}


async def test_a_nic_is_plugged_and_its_link_set(client: Client) -> None:
    nic = {"slot": 1, "function_id": "vf1", "tap": "lo", "mac": "52:54:00:00:00:01", "mtu": 1400}
    entry = await client.call("bus.plug_nic", **nic)
    assert (entry["link_up"], entry["mtu"]) == (True, 1400)
    assert await client.call("bus.set_link", slot=1, up=False) == {}
    (listed,) = (await client.call("bus.get"))["nics"]
    assert listed["link_up"] is False
    assert await client.call("bus.unplug_nic", slot=1, function_id="vf1") == {"outcome": "removed"}


@pytest.mark.parametrize(
    ("method", "change", "reason", "word"),
    [
        ("bus.plug_disk", {"slot": 99}, "invalid", "slot"),
        ("bus.plug_disk", {"slot": "zero"}, "invalid", "slot"),
        ("bus.plug_disk", {"protocol": "scsi"}, "invalid", "protocol"),
        ("bus.plug_disk", {"colour": "red"}, "invalid", "colour"),
        ("bus.plug_disk", {"serial": None}, "invalid", "serial"),
        ("bus.format_disk", {}, "unsupported", "bus.format_disk"),
    ],
)
async def test_a_wrong_call_is_refused_by_what_is_wrong_with_it(
    client: Client, spec: dict[str, object], method: str, change: dict[str, object], reason: str, word: str
) -> None:
    error = await client.call(method, **(spec | change))
    assert error["data"]["reason"] == reason
    assert word in error["message"] + error["data"]["field"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("bus.unplug_disk", {"slot": 0, "function_id": "x", "timeout_s": -1}),
        ("bus.unplug_disk", {"slot": 0}),
        ("bus.resize_disk", {"slot": 0, "size_bytes": 1000}),
        ("bus.set_link", {"slot": 0, "up": "yes"}),
    ],
)
async def test_parameters_out_of_bounds_are_invalid(client: Client, method: str, params: dict[str, object]) -> None:
    error = await client.call(method, **params)
    assert (error["code"], error["data"]["reason"]) == (-32602, "invalid")


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"id": 1}', '{"jsonrpc": "1.0", "method": "bus.get", "id": 1}'])
async def test_garbage_is_answered_and_the_connection_lives(client: Client, line: str) -> None:
    answer = await client.send(line)
    assert answer["error"]["data"]["reason"] == "invalid"
    assert (await client.call("bus.get"))["host_power"] == "off"


async def test_an_endless_line_ends_the_connection_and_no_other(client: Client, config: ChassisConfig) -> None:
    reader, writer = await asyncio.open_unix_connection(str(config.pcie_path))
    writer.write(b"x" * (LINE_LIMIT_BYTES + 1000))
    answer = json.loads(await asyncio.wait_for(reader.readline(), 10))
    assert answer["error"]["data"]["reason"] == "invalid"
    assert await reader.read() == b""
    writer.close()
    assert (await client.call("bus.get"))["host_power"] == "off"


async def test_a_slow_call_does_not_hold_up_the_next_one(
    client: Client, chassis: Chassis, spec: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GUEST", "none")
    await chassis.host.power_on()
    await client.call("bus.plug_disk", **spec)
    unplug = {"slot": 0, "function_id": "vol-a", "timeout_s": 60}
    client.writer.write(
        json.dumps({"jsonrpc": "2.0", "id": 90, "method": "bus.unplug_disk", "params": unplug}).encode()
    )
    client.writer.write(b"\n")
    assert (await client.call("bus.get"))["host_power"] == "on"
    await chassis.host.reset()
    answer = await client.read()
    assert (answer["id"], answer["result"]) == (90, {"outcome": "removed"})


async def test_a_watcher_hears_what_happens(client: Client, chassis: Chassis, spec: dict[str, object]) -> None:
    await client.call("bus.watch")
    await chassis.host.power_on()
    await chassis.host.reset()
    kinds = [(await client.read())["params"] for _ in range(2)]
    assert kinds == [{"kind": "power", "state": "on"}, {"kind": "reset", "guest": False}]
    reader, writer = await asyncio.open_unix_connection(str(chassis._config.pcie_path))
    other = Client(reader, writer)
    await other.call("bus.plug_disk", **spec)
    await other.call("bus.unplug_disk", slot=0, function_id="vol-a")
    writer.close()
    gone = (await client.read())["params"]
    assert gone == {"kind": "device_deleted", "function": "disk", "slot": 0, "function_id": "vol-a"}
    await chassis.host.force_off()
    assert [(await client.read())["params"]["kind"] for _ in range(2)] == ["qemu_exit", "power"]
