"""Keeps in touch with one DPU: asks how it is, follows its events, notices silence."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from coordinator.clients.model import DaemonEvent, DaemonInfo, DaemonUsage
from coordinator.clients.offload import SwitchWhere
from coordinator.clients.protocols import Dpu
from proto.errors import DpuError
from proto.reasons import Reason

log = structlog.get_logger(__name__)

STREAM_PAUSE_S = 1.0
NEWS_PAUSE_S = 0.1
"""Between an event and the question that it causes: several events cause one."""

SILENT = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE})
SOON, BELIEVED_AFTER = 1 / 12, 3
"""A question about flows without an answer is asked again after that part of the interval; so many make it known."""


@dataclass(slots=True)
class Pulse:
    """What is known of a DPU's daemon. Times are monotonic seconds.

    Attributes:
        answered_at: when it last answered; None for never.
        since: when the watch began.
        error: of the last question, None when that was answered.
        offload: where its flows are, or why that is not told; None until it was asked in this contact.
        contact: counts its first answer and each answer after silence.
    """

    since: float = field(default_factory=time.monotonic)
    answered_at: float | None = None
    info: DaemonInfo | None = None
    usage: DaemonUsage | None = None
    error: DpuError | None = None
    offload: SwitchWhere | DpuError | None = None
    contact: int = 0

    def silent_s(self) -> float:
        """Seconds without an answer."""
        return time.monotonic() - (self.answered_at or self.since)


class Monitor:
    """Tasks per DPU: questions at an interval, and the stream of events; each event, and its end, asks at once.

    Args:
        poll_s: between questions how it is.
        offload_s: between questions where its flows are.
    """

    def __init__(
        self,
        client: Dpu,
        poll_s: float,
        offload_s: float,
        changed: Callable[[], None],
        told: Callable[[DaemonEvent], None],
    ) -> None:
        self.pulse = Pulse()
        self._client = client
        self._poll_s = poll_s
        self._offload_s = offload_s
        self._changed = changed
        self._told = told
        self._ask_now = asyncio.Event()
        self._returned = asyncio.Event()
        self._unanswered = 0
        self._heard: int | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._ask())
            tasks.create_task(self._listen())
            tasks.create_task(self._ask_offload())

    async def _ask(self) -> None:
        while True:
            try:
                info, usage = await self._client.daemon(), await self._client.usage()
                self.pulse.info, self.pulse.usage = info, usage
                if self.pulse.answered_at is None or self.pulse.error is not None:
                    self.pulse.contact += 1
                    self.pulse.offload = None
                    self._returned.set()
                self.pulse.answered_at = time.monotonic()
                self.pulse.error = None
                if self._heard is None:
                    self._heard = info.event_sequence
            except DpuError as error:
                self.pulse.error = error
            self._changed()
            try:
                await asyncio.wait_for(self._ask_now.wait(), self._poll_s)
            except TimeoutError:
                continue
            await asyncio.sleep(NEWS_PAUSE_S)
            self._ask_now.clear()

    async def _ask_offload(self) -> None:
        """At once when the daemon is in touch again, and then in turns that are not those of all the other DPUs."""
        pause_s: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._returned.wait(), pause_s)
            self._returned.clear()
            pause_s = await self._look() if self.pulse.contact and self.pulse.error is None else None

    async def _look(self) -> float:
        """Ask once; seconds until the next question."""
        contact, first = self.pulse.contact, self.pulse.offload is None
        found: SwitchWhere | DpuError
        try:
            found, self._unanswered = await self._client.offload(), 0
        except DpuError as error:
            found, self._unanswered = error, self._unanswered + 1
            if error.reason in SILENT and self._unanswered < BELIEVED_AFTER:
                return self._offload_s * SOON
        if contact == self.pulse.contact:
            self.pulse.offload = found
            self._changed()
        return self._offload_s * (random.random() if first else 1.0)  # noqa: S311  (spreads polls, guards nothing)

    async def _listen(self) -> None:
        """Follow the events from the newest at the first answer: what was before, the first look has seen."""
        while True:
            if self._heard is None:
                await asyncio.sleep(min(self._poll_s, 0.2))
                continue
            try:
                async for event in self._client.events(self._heard):
                    self._heard = event.sequence
                    self._told(event)
                    self._ask_now.set()
            except DpuError as error:
                if error.reason is Reason.INVALID or error.wire.grpc == "OUT_OF_RANGE":
                    self._heard = 0
                log.info("event stream ended", error=str(error))
            self._ask_now.set()
            await asyncio.sleep(STREAM_PAUSE_S)
