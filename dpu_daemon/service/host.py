"""HostService: what this daemon is, how it fares, and what happens on it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpu_daemon.engine.core import Core, Slots
from dpu_daemon.service.event_wire import from_event
from proto.dpu.v1 import host_pb2, host_pb2_grpc

CPU_SAMPLE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What does not change while the daemon runs."""

    name: str
    version: str
    mode: str
    journal: Path
    host_nqn: str = ""


class HostService(host_pb2_grpc.HostServiceServicer):
    """Wire to engine and back.

    Args:
        about: this daemon.
        core: of its engine.
        slots: of its host's bus.
    """

    def __init__(self, about: About, core: Core, slots: Callable[[], Slots]) -> None:
        self._about = about
        self._core = core
        self._slots = slots

    async def GetDaemon(self, _request: host_pb2.GetDaemonRequest, _context: Any) -> host_pb2.Daemon:  # noqa: N802
        slots = self._slots()
        loads = self._core.operations.load().values()
        message = self._core.audit.message()
        if not message:
            message = "everything is as wanted" if self._core.ready() else "converging after the start"
        return host_pb2.Daemon(
            name=self._about.name,
            version=self._about.version,
            mode=self._about.mode,
            instance_id=self._core.ledger.instance_id,
            ready=self._core.ready(),
            message=message,
            drivers=self._core.driver_versions(),
            disk_slots=slots.disks,
            disk_slots_used=slots.disks_used,
            nic_slots=slots.nics,
            nic_slots_used=slots.nics_used,
            queue_depth=sum(load.queued for load in loads),
            oldest_wait_ms=int(1000 * max(load.oldest_wait_s for load in loads)),
            host_nqn=self._about.host_nqn,
            event_sequence=self._core.ledger.last_event,
        )

    async def GetUsage(self, _request: host_pb2.GetUsageRequest, _context: Any) -> host_pb2.Usage:  # noqa: N802
        before = _jiffies()
        await asyncio.sleep(CPU_SAMPLE_S)
        after = _jiffies()
        total = max(1, sum(after) - sum(before))
        idle = (after[3] + after[4]) - (before[3] + before[4])
        memory = _memory_kib()
        return host_pb2.Usage(
            cpu_percent=max(0.0, 100.0 * (total - idle) / total),
            cpus=os.cpu_count() or 1,
            load_1m=os.getloadavg()[0],
            memory_total_bytes=memory.get("MemTotal", 0) * 1024,
            memory_available_bytes=memory.get("MemAvailable", 0) * 1024,
            daemon_rss_bytes=_resident_bytes(),
            journal_free_bytes=shutil.disk_usage(self._about.journal.parent).free,
        )

    async def WatchEvents(  # noqa: N802
        self, request: host_pb2.WatchEventsRequest, _context: Any
    ) -> AsyncIterator[host_pb2.Event]:
        async for event in self._core.ledger.events(request.since):
            yield from_event(event)


def _jiffies() -> tuple[int, ...]:
    """Time of all CPUs by kind: user, nice, system, idle, iowait, ... (proc(5))."""
    first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    return tuple(int(word) for word in first.split()[1:9])


def _memory_kib() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
