"""Samples the host's groups every second while anybody reads, and hands out reports."""

import asyncio
from collections.abc import AsyncIterator, Callable

import structlog

from dpu_daemon.engine.host_protocols import GroupDriver, Sampler
from dpu_daemon.model.usage import Report
from dpu_daemon.plan.reports import Reporter
from dpu_daemon.plan.usage_totals import UsageTotals

_log = structlog.get_logger("dpu_daemon.usage")

PERIOD_S = 1.0
LAZY_PERIOD_S = 10.0
"""While nobody reads: often enough that the metrics are not stale, seldom enough to cost nothing."""
LOOKS = 2
"""After groups came or went: version 1 makes a group once for each controller, so that the first look may miss some."""
AHEAD = 10
"""Reports that a reader may lie behind before it gets a full one in their place."""


class UsageMonitor:
    """One sampler, any number of readers.

    Args:
        driver: tells which groups there are.
        sampler: reads what they use.
        clock: seconds that only rise.
    """

    def __init__(self, driver: GroupDriver, sampler: Sampler, clock: Callable[[], float]) -> None:
        self._driver = driver
        self._sampler = sampler
        self._clock = clock
        self._reporter = Reporter()
        self.totals = UsageTotals()
        """Sums for metrics."""
        self.last = Report(sequence=0, unix_ms=0)
        """The report of the last sample."""
        self._fresh = asyncio.Condition()
        self._readers = 0
        self._woken = asyncio.Event()
        self._stale = LOOKS
        self._sampling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sample from now on."""
        self._sampling = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Close every file; readers end."""
        if self._sampling is not None:
            self._sampling.cancel()
            await asyncio.wait({self._sampling})
        self._sampler.close()

    def groups_changed(self) -> None:
        """Groups came or went: look for them before the next samples."""
        self._stale = LOOKS

    async def reports(self, since: int) -> AsyncIterator[Report]:
        """Reports after a sequence, then each new one; without end."""
        self._readers += 1
        self._woken.set()
        try:
            at = since
            while True:
                reports = tuple(self._reporter.after(at))
                if len(reports) > AHEAD:
                    reports = (self._reporter.full(),)
                for report in reports:
                    yield report
                    at = report.sequence
                async with self._fresh:
                    if not tuple(self._reporter.after(at)):
                        await self._fresh.wait()
        finally:
            self._readers -= 1

    async def _run(self) -> None:
        while True:
            began = self._clock()
            try:
                await self.sample()
            except OSError as error:
                _log.warning(f"groups cannot be sampled: {error}")
            period = PERIOD_S if self._readers else LAZY_PERIOD_S
            self._woken.clear()
            await self._pause(max(0.0, began + period - self._clock()))

    async def sample(self) -> None:
        """One round now."""
        if self._stale:
            self._stale -= 1
            self._sampler.follow(await self._driver.look())
        self.last = self._reporter.take(self._sampler.sample(), self._sampler.names())
        self.totals.take(self.last)
        async with self._fresh:
            self._fresh.notify_all()

    async def _pause(self, seconds: float) -> None:
        """Until the next round; a first reader does not wait for a lazy one."""
        if self._readers:
            await asyncio.sleep(seconds)
            return
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return
