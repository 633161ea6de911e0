import asyncio

import pytest

from dpu_daemon.drivers.keeper import LOST, Keeper
from proto import keeper as keeper_module
from proto.errors import DpuError
from proto.reasons import Reason


class Line:
    """A connection that ends when the test says so."""

    def __init__(self) -> None:
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.closes = 0

    async def closed(self) -> str:
        return await self.end

    async def close(self) -> None:
        self.closes += 1


class Exchange:
    """Dials lines, or fails for as long as there is something in `faults`."""

    def __init__(self) -> None:
        self.faults: list[BaseException] = []
        self.lines: list[Line] = []
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.keeper: Keeper[Line] = Keeper("the peer", "start it", self.dial)

    async def dial(self) -> Line:
        if self.faults:
            raise self.faults.pop(0)
        self.lines.append(Line())
        return self.lines[-1]

    async def hear(self) -> str:
        return await asyncio.wait_for(self.said.get(), 5)


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Exchange:
    monkeypatch.setattr(keeper_module, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(keeper_module, "LONGEST_PAUSE_S", 0.002)
    return Exchange()


async def test_a_peer_that_is_there_is_connected_when_start_returns_and_nothing_is_said(exchange: Exchange) -> None:
    await exchange.keeper.start(exchange.said.put_nowait)
    assert exchange.keeper.connection() is exchange.lines[0]
    assert exchange.said.empty()
    await exchange.keeper.stop()
    assert exchange.lines[0].closes == 1


async def test_a_peer_that_comes_late_is_announced(exchange: Exchange) -> None:
    exchange.faults = [FileNotFoundError("no socket"), EOFError(), TimeoutError(), DpuError(Reason.UNAVAILABLE, "no")]
    await exchange.keeper.start(exchange.said.put_nowait)
    with pytest.raises(DpuError, match="no socket") as refused:
        exchange.keeper.connection()
    assert (refused.value.reason, refused.value.remedy) == (Reason.UNAVAILABLE, "start it")
    assert await exchange.hear() == "the peer is reachable again"
    assert exchange.keeper.connection() is exchange.lines[0]
    await exchange.keeper.stop()


async def test_an_end_is_told_with_its_reason_and_the_connection_closed_and_made_anew(exchange: Exchange) -> None:
    await exchange.keeper.start(exchange.said.put_nowait)
    exchange.lines[0].end.set_result("killed")
    assert await exchange.hear() == "the peer went away: killed"
    assert await exchange.hear() == "the peer is reachable again"
    assert exchange.lines[0].closes == 1
    assert exchange.keeper.connection() is exchange.lines[1]
    await exchange.keeper.stop()


async def test_only_connections_that_were_lost_are_counted(exchange: Exchange) -> None:
    lost = LOST.labels("the peer")
    before = lost._value.get()
    exchange.faults = [FileNotFoundError("no socket")]
    await exchange.keeper.start(exchange.said.put_nowait)
    assert await exchange.hear() == "the peer is reachable again"
    assert lost._value.get() == before
    exchange.lines[0].end.set_result("killed")
    assert await exchange.hear() == "the peer went away: killed"
    assert lost._value.get() == before + 1
    await exchange.keeper.stop()


async def test_a_bug_below_does_not_end_the_keeping(exchange: Exchange) -> None:
    exchange.faults = [FileNotFoundError("no socket"), AssertionError("a library's bug")]
    await exchange.keeper.start(exchange.said.put_nowait)
    assert await exchange.hear() == "the peer is reachable again"
    exchange.lines[0].end.set_exception(AssertionError("another one"))
    assert await exchange.hear() == "the peer is reachable again"
    assert exchange.lines[0].closes == 1
    await exchange.keeper.stop()


async def test_a_stopped_keeper_may_be_started_again_and_a_started_one_not(exchange: Exchange) -> None:
    await exchange.keeper.start(exchange.said.put_nowait)
    with pytest.raises(DpuError):
        await exchange.keeper.start(exchange.said.put_nowait)
    await exchange.keeper.stop()
    with pytest.raises(DpuError, match="stopped"):
        exchange.keeper.connection()
    await exchange.keeper.start(exchange.said.put_nowait)
    assert exchange.keeper.connection() is exchange.lines[1]
    await exchange.keeper.stop()
    await exchange.keeper.stop()
