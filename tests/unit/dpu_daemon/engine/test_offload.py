"""The monitor of flow offload: keeps it asked for, tells what is new once, and does not trust an old look."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.offload import FORGOTTEN_LOOKS, FRESH_S, LAZY_S, OffloadMonitor
from dpu_daemon.model.event import Event
from dpu_daemon.model.offload import Layer, Mark, OffloadReport
from dpu_daemon.plan.offload_tally import SHOWN, Compared, Tally
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.offload import FakeOffload, a_flow


class Scene:
    """A monitor whose clock is turned by hand."""

    def __init__(self, ledger: Ledger, journal: Journal, *, enabled: bool) -> None:
        self.switch = FakeOffload()
        self.now = 100.0
        self.monitor = OffloadMonitor(
            self.switch, ledger, self.switch.parts(enabled=enabled).settings, lambda: self.now
        )
        self.ledger = ledger
        self._journal = journal

    def spend(self, seconds: float) -> None:
        self.now += seconds

    def events(self, reason: str) -> list[Event]:
        return [event for event in self._journal.events_since(0, 1000) if event.reason == reason]

    async def carry(self, packets: int) -> None:
        """One more look at a flow in software that has carried so much."""
        self.switch.flows(a_flow(layer=Layer.TC, mark=Mark.NONE, packets=packets, bytes=packets * 90))
        await self.monitor.once()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[tuple[Ledger, Journal]]:
    journal = Journal(tmp_path / "journal.db")
    ledger = Ledger(journal)
    await ledger.load()
    yield ledger, journal
    await ledger.close()


@pytest.fixture
def asked(ledger: tuple[Ledger, Journal]) -> Scene:
    return Scene(*ledger, enabled=True)


async def test_the_switch_and_its_ports_are_asked_once_and_that_is_told(asked: Scene) -> None:
    await asked.monitor.once()
    await asked.monitor.once()
    assert asked.switch.prepared == ["rep0"]
    assert asked.monitor.last is not None
    assert asked.monitor.last.ports[0].capable
    assert [event.warning for event in asked.events("OffloadEnabled")] == [False]


async def test_a_port_that_will_not_is_tried_at_each_look_and_told_once(asked: Scene) -> None:
    asked.switch.unwilling.add("rep0")
    for _ in range(3):
        await asked.monitor.once()
    assert asked.switch.prepared == ["rep0"] * 3
    refusals = asked.events("OffloadRefused")
    assert [(event.subject, event.warning) for event in refusals] == [("rep0", True)]
    assert asked.monitor.warnings() == ("hw-tc-offload is off on rep0: flows that enter there stay in software",)


async def test_what_somebody_else_set_is_left_alone_where_offload_is_not_wanted(ledger: tuple[Ledger, Journal]) -> None:
    scene = Scene(*ledger, enabled=False)
    await scene.monitor.once()
    assert not scene.switch.seen.enabled
    assert scene.switch.prepared == []


async def test_traffic_that_misses_the_hardware_is_told_once_while_it_goes_on(asked: Scene) -> None:
    for packets in (0, 100, 200, 300):
        await asked.carry(packets)
    told = asked.events("OffloadMissed")
    assert [(event.subject, event.warning) for event in told] == [("rep0", True)]
    assert told[0].message.startswith("100 packets in 1 flows that enter rep0 stayed in software")
    assert len(asked.monitor.warnings()) == 1


async def test_traffic_that_missed_it_before_is_news_again_after_a_long_time(asked: Scene) -> None:
    await asked.carry(0)
    await asked.carry(100)
    for _ in range(FORGOTTEN_LOOKS + 2):
        await asked.carry(100)
    assert asked.monitor.warnings() == ()
    await asked.carry(200)
    assert len(asked.events("OffloadMissed")) == 2


async def test_a_pause_in_the_traffic_is_no_reason_to_tell_again(asked: Scene) -> None:
    for packets in (0, 100, 100, 100, 200):
        await asked.carry(packets)
    assert len(asked.events("OffloadMissed")) == 1


async def test_a_young_look_answers_again_and_an_old_one_does_not(asked: Scene) -> None:
    await asked.monitor.report()
    looks = asked.switch.looks
    asked.now += FRESH_S
    await asked.monitor.report()
    assert asked.switch.looks == looks
    asked.now += 0.1
    await asked.monitor.report()
    assert asked.switch.looks == looks + 1


async def test_many_who_ask_at_once_share_a_look(asked: Scene) -> None:
    reports = await asyncio.gather(*(asked.monitor.report() for _ in range(20)))
    assert len({id(report) for report in reports}) == 1
    assert asked.monitor.times.count == 1


@pytest.mark.parametrize(("takes_s", "pause_s"), [(0.5, 15.0), (3.0, 60.0)])
async def test_a_switch_that_prints_for_long_is_given_a_long_rest(asked: Scene, takes_s: float, pause_s: float) -> None:
    asked.switch.takes_s = takes_s
    asked.switch.turn = asked.spend
    settings = asked.switch.parts(look_s=15.0).settings
    monitor = OffloadMonitor(asked.switch, asked.ledger, settings, lambda: asked.now)
    await monitor.once()  # the first one turns a feature on, and looks again
    await monitor.once()
    assert monitor.pause_s() == pytest.approx(pause_s)


async def test_it_looks_seldom_where_nobody_asked(ledger: tuple[Ledger, Journal]) -> None:
    scene = Scene(*ledger, enabled=False)
    settings = scene.switch.parts(enabled=False, look_s=15.0).settings
    assert OffloadMonitor(scene.switch, scene.ledger, settings, lambda: scene.now).pause_s() == LAZY_S


async def test_nothing_is_said_of_a_switch_that_does_not_answer(asked: Scene) -> None:
    await asked.monitor.once()
    assert asked.monitor.version() == "on (tc)"
    asked.switch.down = True
    asked.now += 100
    with pytest.raises(DpuError) as away:
        await asked.monitor.report()
    assert away.value.reason is Reason.UNAVAILABLE
    assert (asked.monitor.last, asked.monitor.version()) == (None, "")
    assert (asked.monitor.times.count, asked.monitor.times.failed) == (1, 1)
    asked.switch.down = False
    asked.now += 100
    assert (await asked.monitor.report()).enabled


async def test_many_who_ask_of_a_switch_that_does_not_answer_wait_once(asked: Scene) -> None:
    asked.switch.down = True
    found = await asyncio.gather(*(asked.monitor.report() for _ in range(5)), return_exceptions=True)
    assert [getattr(one, "reason", None) for one in found] == [Reason.UNAVAILABLE] * 5
    assert asked.monitor.times.failed == 1


async def test_who_watches_does_not_make_heavy_flows_light(asked: Scene) -> None:
    await asked.carry(0)
    for packets in (40, 80, 120):
        asked.now += FRESH_S + 1
        asked.switch.flows(a_flow(layer=Layer.TC, mark=Mark.NONE, packets=packets, bytes=packets * 90))
        await asked.monitor.report()
    await asked.carry(150)
    assert [one.packets for one in asked.monitor.tally.heavy] == [150]
    asked.now += FRESH_S + 1
    await asked.monitor.report()
    assert len(asked.monitor.tally.heavy) == 1
    assert sum(asked.monitor.tally.moved.packets.values()) == 150


async def test_a_port_that_goes_between_look_and_act_is_no_trouble(asked: Scene) -> None:
    asked.switch.gone.add("rep0")
    await asked.monitor.once()
    assert asked.events("OffloadRefused") == []


async def test_lines_that_could_not_be_read_are_told_once_and_warned_of(asked: Scene) -> None:
    for unread in (3, 4):
        asked.switch.seen = replace(asked.switch.seen, unread=unread, unread_line="ufid:1, in_po")
        await asked.monitor.once()
    assert asked.monitor.warnings()[0].startswith("4 lines of the switch's flows could not be read")
    assert len(asked.events("OffloadMissed")) == 1


async def test_flows_are_judged_and_compared_beside_the_event_loop(
    asked: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare, threads = Tally.compare, []

    def noted(self: Tally, report: OffloadReport, *, weigh: bool) -> Compared:
        threads.append(threading.get_ident())
        return compare(self, report, weigh=weigh)

    monkeypatch.setattr(Tally, "compare", noted)
    await asked.monitor.once()
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_what_is_told_of_ten_thousand_ports_is_bounded(asked: Scene) -> None:
    for packets in (0, 100):
        asked.switch.flows(
            *(
                a_flow(number, in_port=f"rep{number}", layer=Layer.TC, mark=Mark.NONE, packets=packets, bytes=packets)
                for number in range(10_000)
            )
        )
        await asked.monitor.once()
    assert len(asked.events("OffloadMissed")) == SHOWN
    assert sum(asked.monitor.tally.heavy_by_why.values()) == 10_000


async def test_it_looks_as_long_as_the_daemon_runs_and_no_longer(asked: Scene) -> None:
    await asked.monitor.start(lambda _: None)
    await asyncio.wait_for(asked.switch.looked.wait(), 10)
    await asked.monitor.stop()
    looks = asked.switch.looks
    await asked.monitor.stop()
    assert asked.switch.looks == looks >= 1
