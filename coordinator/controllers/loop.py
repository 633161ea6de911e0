"""The loop of a controller: a key comes, a worker looks at it, and it comes again when there is more to do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from coordinator.clients.protocols import Expired
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.queue import Lane, WorkQueue
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """When a key wants the next look, seconds; None for when something changes."""

    after_s: float | None = None


NEVER = Again()

Reconcile = Callable[[str], Awaitable[Again]]


class Controller:
    """Looks at keys: lanes in parallel, one look per key at a time, failures with growing pauses."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        metrics: ControllerMetrics,
        *,
        lanes: Mapping[str, int] | None = None,
        lane_of: Callable[[str], str] | None = None,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._metrics = metrics
        widths = lanes or {"all": 8}
        only = next(iter(widths))
        self.queue = WorkQueue(
            lanes={lane: Lane(name=lane, width=width) for lane, width in widths.items()},
            lane_of=lane_of or (lambda _key: only),
        )
        metrics.depth.labels(name).set_function(self.queue.depth)
        metrics.in_flight.labels(name).set_function(self.queue.in_flight)
        metrics.oldest.labels(name).set_function(self.queue.oldest_s)

    async def run(self) -> None:
        """Serve the queue until cancelled; looks under way are cancelled with it."""
        try:
            async with asyncio.TaskGroup() as looks:
                while True:
                    key, lane = await self.queue.take()
                    looks.create_task(self._look(key, lane), name=f"{self.name} {key}")
        finally:
            self.queue.close()

    async def _look(self, key: str, lane: str) -> None:
        try:
            with self._metrics.looks.labels(self.name).time():
                again = await self._reconcile(key)
        except (DpuError, Expired) as error:
            self._failed(key, error)
        except Exception as error:  # the outermost loop of a task: one bad object must not stop the others
            log.exception("look failed", controller=self.name, key=key)
            self._failed(key, error)
        else:
            self.queue.forget_failures(key)
            if again.after_s is not None:
                self.queue.add_after(key, again.after_s)
        finally:
            self.queue.done(key, lane)

    def _failed(self, key: str, error: Exception) -> None:
        conflict = isinstance(error, DpuError) and error.reason is Reason.CONFLICT
        pause = self.queue.add_failed(key)
        self._metrics.failures.labels(self.name).inc()
        if not conflict:
            log.warning(
                "look will be repeated", controller=self.name, key=key, error=str(error), pause_s=round(pause, 2)
            )
