"""One stream of usage per host: resumed where it was, begun anew where that cannot be."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from coordinator.clients.usage import UsageSources
from coordinator.controllers.resize.metrics import ResizeMetrics
from coordinator.core.objects.cpu import CpuNode
from coordinator.core.resize.usage import Gap, HostUsage, HostUsageReport
from proto.errors import DpuError

log = structlog.get_logger(__name__)

PAUSE_S = 0.5
SLOWEST_PAUSE_S = 15.0
RESUMABLE_AFTER = 30
LONGEST_STEP_MS = 15_000
"""A stream is resumed only past that sequence, and only when its next report is at most that much later: the reports
of a daemon that was started anew meanwhile get to the same sequence 30 s after its start at the earliest, so that they
are never taken for those of the old one."""
SILENT_S = 30.0
"""A daemon reports every second while somebody reads."""


@dataclass(frozen=True, slots=True)
class _Where:
    address: str
    server_name: str


class UsageFollower:
    """Usage of all hosts by CLUSTER/NODE.

    Args:
        told: called with the place after each report; it must not raise.
    """

    def __init__(self, sources: UsageSources, metrics: ResizeMetrics, told: Callable[[str], None]) -> None:
        self._sources, self._metrics, self._told = sources, metrics, told
        self._tasks: dict[str, tuple[_Where, asyncio.Task[None]]] = {}
        self._hosts: dict[str, HostUsage] = {}
        self._live: set[str] = set()
        metrics.streams.set_function(lambda: len(self._live))
        metrics.containers.set_function(lambda: sum(len(host) for host in self._hosts.values()))

    def host(self, place: str) -> HostUsage | None:
        """What is known of a host; None while its stream is down: old numbers decide nothing."""
        return self._hosts.get(place) if place in self._live else None

    def follow(self, node: CpuNode) -> None:
        """Read a node's reports from now on; a changed address is followed."""
        where = _Where(node.spec.address, node.server_name)
        known = self._tasks.get(node.place_key)
        if known is not None and known[0] == where:
            return
        self.leave(node.place_key)
        work = self._run(node.place_key, where)
        task = asyncio.get_running_loop().create_task(work, name=f"usage of {node.place_key}")
        self._tasks[node.place_key] = (where, task)

    def leave(self, place: str) -> None:
        """Forget a node."""
        known = self._tasks.pop(place, None)
        if known is not None:
            known[1].cancel()
        self._live.discard(place)
        self._hosts.pop(place, None)

    async def close(self) -> None:
        """End all streams."""
        tasks = [task for _, task in self._tasks.values()]
        for place in list(self._tasks):
            self.leave(place)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, place: str, where: _Where) -> None:
        pause = PAUSE_S
        while True:
            host = self._hosts.setdefault(place, HostUsage())
            before = host.sequence
            try:
                await self._read(place, where, host)
            except Gap as gap:
                self._metrics.gaps.inc()
                self._hosts[place] = HostUsage()
                log.info("usage is read anew", host=place, says=str(gap))
            except (DpuError, TimeoutError) as error:
                log.info("usage not told", host=place, error=str(error))
            except Exception:  # the outermost loop of a task: one bad report must not end the stream for good
                log.exception("usage not understood", host=place)
                self._hosts[place] = HostUsage()
            self._live.discard(place)
            pause = PAUSE_S if host.sequence != before else min(pause * 2, SLOWEST_PAUSE_S)
            await asyncio.sleep(pause)

    async def _read(self, place: str, where: _Where, host: HostUsage) -> None:
        since = host.sequence if host.sequence > RESUMABLE_AFTER else 0
        stream = self._sources.usage(place, where.address, where.server_name)
        async with aclosing(stream.reports(since)) as reports:
            while True:
                async with asyncio.timeout(SILENT_S):
                    report = await anext(reports, None)
                if report is None:
                    return
                self._take(place, host, report)

    def _take(self, place: str, host: HostUsage, report: HostUsageReport) -> None:
        if not report.full and report.unix_ms - host.unix_ms > LONGEST_STEP_MS:
            raise Gap(f"report {report.sequence} is {report.unix_ms - host.unix_ms} ms after the one before")
        host.take(report)
        self._live.add(place)
        self._metrics.reports.labels("full" if report.full else "delta").inc()
        self._told(place)
