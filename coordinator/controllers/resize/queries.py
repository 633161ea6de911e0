"""What containers use by queries of Prometheus, for policies that want that."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import structlog

from coordinator.clients.prometheus import Point
from coordinator.core.resize.governing import Governor, Seen
from proto.errors import DpuError

log = structlog.get_logger(__name__)

Query = Callable[[str], Awaitable[list[Point]]]
STALE_S = 60.0
"""A point older than that decides nothing."""


class QuerySamples:
    """The newest points by policy, pod (NAMESPACE/NAME) and container.

    Args:
        query: of the server; None where none is configured: then such policies know of no use.
        time: seconds since 1970.
    """

    def __init__(self, query: Query | None, time: Callable[[], float]) -> None:
        self._query, self._time = query, time
        self._seen: dict[str, dict[str, dict[str, Seen]]] = {}
        self._asked: dict[str, float] = {}

    def of(self, governor: Governor, pod: str) -> dict[str, Seen] | None:
        """What a pod's containers use; None for a policy that goes by reports."""
        if governor.policy.spec.source.prometheus is None:
            return None
        found = self._seen.get(governor.key, {}).get(pod.partition("/")[2], {})
        now = self._time()
        return {name: one for name, one in found.items() if now - one.at < STALE_S}

    async def run(self, governors: Callable[[], list[Governor]], sampled: Callable[[str], None]) -> None:
        """Ask for as long as it is not cancelled; `sampled` is told of each policy that has new points."""
        while True:
            for governor in governors():
                await self.ask(governor, sampled)
            await asyncio.sleep(1.0)

    async def ask(self, governor: Governor, sampled: Callable[[str], None]) -> None:
        """Query for one policy, when it is time again."""
        source, now = governor.policy.spec.source.prometheus, self._time()
        if source is None or self._query is None or now - self._asked.get(governor.key, 0) < source.interval_seconds:
            return
        self._asked[governor.key] = now
        try:
            cpu = await self._query(source.cpu) if source.cpu else []
            memory = await self._query(source.memory) if source.memory else []
        except DpuError as error:
            log.warning("use not known", policy=governor.key, error=str(error))
            return
        self._seen[governor.key] = _joined(cpu, memory)
        sampled(governor.key)


def _joined(cpu: list[Point], memory: list[Point]) -> dict[str, dict[str, Seen]]:
    found: dict[str, dict[str, Seen]] = {}
    for points, scale, is_cpu in ((cpu, 1000, True), (memory, 1, False)):
        for point in points:
            pod = f"{point.labels.get('namespace', '')}/{point.labels.get('pod', '')}"
            name, value = point.labels.get("container", ""), math.ceil(point.value * scale)
            before = found.setdefault(pod, {}).get(name, Seen(at=point.at))
            found[pod][name] = Seen(
                at=max(point.at, before.at),
                cpu_milli=value if is_cpu else before.cpu_milli,
                memory_bytes=before.memory_bytes if is_cpu else value,
            )
    return found
