import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.chassis.config import ConsoleSection
from lab.chassis.console import ConsoleHub, Ring, Viewer

BOUNDS = ConsoleSection(scrollback_bytes=4096, viewer_backlog_bytes=16384, log_limit_bytes=65536)


class SerialPort:
    """QEMU's end of the serial socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.typed = bytearray()
        self.writer: asyncio.StreamWriter | None = None
        self.connected = asyncio.Event()
        self.server: asyncio.Server | None = None

    async def open(self) -> None:
        self.path.unlink(missing_ok=True)
        self.server = await asyncio.start_unix_server(self.serve, str(self.path))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.connected.set()
        while data := await reader.read(4096):
            self.typed += data
        writer.close()

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
        if self.writer is not None:
            self.writer.close()
        self.connected.clear()

    async def print(self, data: bytes) -> None:
        await asyncio.wait_for(self.connected.wait(), 5)
        assert self.writer is not None
        self.writer.write(data)
        await self.writer.drain()


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[SerialPort]:
    made = SerialPort(tmp_path / "serial.sock")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def hub(tmp_path: Path, port: SerialPort) -> AsyncIterator[ConsoleHub]:
    made = ConsoleHub(port.path, tmp_path / "console.log", BOUNDS)
    made.power(is_on=True)
    yield made
    await made.close()


async def shown(viewer: Viewer, amount: int) -> bytes:
    """The next so many bytes of a viewer."""
    seen = b""
    async with asyncio.timeout(30):
        async for data in viewer.output():
            seen += data
            if len(seen) >= amount:
                break
    return seen


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 100))
def test_a_ring_keeps_the_newest_bytes_and_no_more(chunks: list[bytes], limit: int) -> None:
    ring = Ring(limit)
    for chunk in chunks:
        ring.append(chunk)
    assert ring.content() == b"".join(chunks)[-limit:]


async def test_every_viewer_sees_all_output_and_a_late_one_the_past(hub: ConsoleHub, port: SerialPort) -> None:
    early = hub.join("early")
    await port.print(b"boot\r\n")
    assert await shown(early, 6) == b"boot\r\n"
    late = hub.join("late")
    await port.print(b"login: ")
    assert await shown(late, 13) == b"boot\r\nlogin: "
    assert await shown(early, 7) == b"login: "


async def test_only_the_writer_types(hub: ConsoleHub, port: SerialPort) -> None:
    await port.connected.wait()
    writer, viewer = hub.join("writer"), hub.join("viewer")
    assert hub.claim(writer, takeover=False)
    assert not hub.claim(viewer, takeover=False)
    assert await hub.type(writer, b"ls\n")
    assert not await hub.type(viewer, b"rm\n")
    await port.print(b"x")
    assert await shown(viewer, 1) == b"x"
    assert bytes(port.typed) == b"ls\n"


async def test_a_takeover_ends_the_writer_before(hub: ConsoleHub) -> None:
    before, after = hub.join("before"), hub.join("after")
    assert hub.claim(before, takeover=False)
    assert hub.claim(after, takeover=True)
    assert before.taken_over
    assert "taken over by after" in before.ended
    assert not await hub.type(before, b"x")
    hub.leave(before)
    assert hub.writer_name == after.name
    hub.leave(after)
    assert hub.writer_name == ""


async def test_a_slow_viewer_is_cut_and_the_others_go_on(hub: ConsoleHub, port: SerialPort) -> None:
    slow, quick = hub.join("slow"), hub.join("quick")
    for _ in range(5):
        await port.print(b"#" * 4096)
        assert len(await shown(quick, 4096)) == 4096
    assert "behind" in slow.ended
    assert hub.viewers == 1
    assert [data async for data in slow.output()] == []


async def test_viewers_stay_over_a_power_cycle(hub: ConsoleHub, port: SerialPort) -> None:
    viewer = hub.join("viewer")
    await port.print(b"one")
    assert await shown(viewer, 3) == b"one"
    await port.close()
    await port.open()
    hub.power(is_on=True)
    await port.print(b"two")
    assert await shown(viewer, 3) == b"two"


async def test_typing_into_a_host_that_is_off_is_lost_without_an_error(tmp_path: Path) -> None:
    hub = ConsoleHub(tmp_path / "absent.sock", tmp_path / "console.log", BOUNDS)
    writer = hub.join("writer")
    assert hub.claim(writer, takeover=False)
    assert await hub.type(writer, b"x")


async def test_a_new_hub_knows_the_past_from_the_log(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_bytes(b"a" * 5000 + b"end")
    hub = ConsoleHub(tmp_path / "absent.sock", tmp_path / "console.log", BOUNDS)
    past = await shown(hub.join("viewer"), 4096)
    assert len(past) == 4096
    assert past.endswith(b"aend")


async def test_a_log_that_grows_without_end_is_cut_to_the_scroll_back(
    tmp_path: Path, hub: ConsoleHub, port: SerialPort
) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"x" * 100_000)
    viewer = hub.join("viewer")
    for _ in range(17):
        await port.print(b"y" * 4096)
        await shown(viewer, 4096)
    assert log.read_bytes() == b"y" * 4096
