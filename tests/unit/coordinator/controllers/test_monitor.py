"""When a DPU is asked where its flows are, and what of its answers counts; in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

from coordinator.clients.model import DaemonEvent
from coordinator.clients.offload import SwitchWhere
from coordinator.controllers.monitor import Monitor
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.dpu import FakeDpu
from tests.fakes.virtual import VirtualLoop, in_virtual_time
from tests.unit.coordinator.controllers.test_offload import REPORT

POLL_S, OFFLOAD_S = 2.0, 60.0
SILENT = DpuError(Reason.DEADLINE, "the switch does not answer")


class Daemon(FakeDpu):
    """One whose switch answers what it is told to."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(cast("Any", None), cast("Any", None))
        self.answer: SwitchWhere | DpuError = REPORT
        self.asked_s: list[float] = []
        self.asked = asyncio.Event()
        self._loop = loop

    async def offload(self) -> SwitchWhere:
        await self._reach()
        self.asked_s.append(self._loop.time())
        self.asked.set()
        if isinstance(self.answer, DpuError):
            raise self.answer
        return self.answer

    async def events(self, since: int) -> AsyncIterator[DaemonEvent]:
        await asyncio.sleep(since + 1e6)
        for event in self.event_log:
            yield event


def watched(story: Callable[[Daemon, Monitor], Awaitable[None]]) -> None:
    """Play a story with a monitor of one DPU."""

    async def whole(loop: VirtualLoop) -> None:
        daemon = Daemon(loop)
        monitor = Monitor(daemon, POLL_S, OFFLOAD_S, lambda: None, lambda _event: None)
        task = asyncio.create_task(monitor.run())
        try:
            await asyncio.sleep(1)
            await story(daemon, monitor)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    in_virtual_time(whole)


def test_a_dpu_that_returns_is_asked_at_once_and_what_it_said_before_does_not_count() -> None:
    async def story(daemon: Daemon, monitor: Monitor) -> None:
        assert monitor.pulse.offload == REPORT
        daemon.reachable = False
        await asyncio.sleep(200)
        daemon.answer, asked = SILENT, len(daemon.asked_s)
        daemon.reachable = True
        await asyncio.sleep(POLL_S + 0.5)
        assert len(daemon.asked_s) == asked + 1
        assert monitor.pulse.offload is None
        daemon.answer = REPORT
        await asyncio.sleep(6)
        assert monitor.pulse.offload == REPORT

    watched(story)


def test_an_answer_that_does_not_come_takes_back_nothing_and_is_asked_for_again_soon() -> None:
    async def story(daemon: Daemon, monitor: Monitor) -> None:
        daemon.answer = SILENT
        daemon.asked.clear()
        await daemon.asked.wait()
        asked = len(daemon.asked_s)
        await asyncio.sleep(1)
        assert monitor.pulse.offload == REPORT
        daemon.answer = REPORT
        await asyncio.sleep(6)
        assert len(daemon.asked_s) > asked
        assert monitor.pulse.offload == REPORT

    watched(story)


def test_a_switch_that_never_answers_is_told_after_some_questions() -> None:
    async def story(daemon: Daemon, monitor: Monitor) -> None:
        daemon.answer = SILENT
        await asyncio.sleep(2 * OFFLOAD_S)
        assert monitor.pulse.offload is SILENT

    watched(story)


def test_dpus_that_are_met_together_are_not_asked_together_from_then_on() -> None:
    async def whole(loop: VirtualLoop) -> None:
        daemons = [Daemon(loop) for _ in range(20)]
        monitors = [Monitor(one, POLL_S, OFFLOAD_S, lambda: None, lambda _event: None) for one in daemons]
        tasks = [asyncio.create_task(monitor.run()) for monitor in monitors]
        await asyncio.sleep(OFFLOAD_S + 1)
        assert len({round(one.asked_s[1]) for one in daemons}) > 5
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    in_virtual_time(whole)
