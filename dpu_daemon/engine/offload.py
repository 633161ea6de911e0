"""Keeps flow offload asked for, looks where flows really are, and tells when traffic misses the hardware."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.offload_protocols import OffloadDriver
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.offload import Feature, OffloadReport, OffloadSeen
from dpu_daemon.plan.offload import decide
from dpu_daemon.plan.offload_tally import Compared, Tally
from dpu_daemon.plan.offload_words import about_unread
from proto.errors import DpuError
from proto.reasons import Reason

_log = structlog.get_logger("dpu_daemon.offload")

FRESH_S = 2.0
"""A report so young answers another caller: a look has the switch print every flow."""
REST = 20
"""A pause is so many times as long as the look before it: the switch stands still while it prints its flows."""
LAZY_S = 60.0
"""Between two looks while nobody asked for hardware."""
FORGOTTEN_LOOKS = 20
"""After so many looks without it, a warning that comes back is news again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadSettings:
    """As in [offload]: whether to ask for hardware, packets of a heavy flow, seconds between two looks."""

    enabled: bool = False
    heavy_packets: int = 10_000
    look_s: float = 15.0


@dataclass(frozen=True, slots=True)
class OffloadParts:
    """What a monitor is made of."""

    driver: OffloadDriver
    settings: OffloadSettings

    def monitor(self, ledger: Ledger) -> "OffloadMonitor":
        """One of its own; the caller's loop is its clock."""
        return OffloadMonitor(self.driver, ledger, self.settings, asyncio.get_running_loop().time)


@dataclass(slots=True)
class LookTimes:
    """Looks so far: how many, how many failed, and how long those took that did not."""

    count: int = 0
    failed: int = 0
    seconds: float = 0.0


class OffloadMonitor:
    """One look every few seconds; a Driver to the core, which starts and stops it after the switch's.

    Args:
        driver: of the switch.
        ledger: for events.
        settings: what is wanted.
        clock: seconds that only rise.
    """

    def __init__(
        self, driver: OffloadDriver, ledger: Ledger, settings: OffloadSettings, clock: Callable[[], float]
    ) -> None:
        self._driver = driver
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self.tally = Tally(settings.heavy_packets)
        self.times = LookTimes()
        self.last: OffloadReport | None = None
        """The newest report; None before the first, and while the switch does not answer."""
        self._failure: DpuError | None = None
        self._looked_at = float("-inf")
        self._took_s = 0.0
        self._lock = asyncio.Lock()
        self._warned: dict[str, int] = {}
        self._unwilling: set[str] = set()
        self._looking: asyncio.Task[None] | None = None

    async def start(self, _lost: Lost) -> None:
        """Look from now on."""
        self._looking = asyncio.get_running_loop().create_task(self._run(), name="look at offload")

    async def stop(self) -> None:
        """Look no more; the switch keeps its settings."""
        task, self._looking = self._looking, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def version(self) -> str:
        """How offload stands, such as ``on (tc)``; empty before the first look. It changes with settings alone."""
        if self.last is None:
            return ""
        later = ", when ovs-vswitchd is restarted" if self.last.restart_needed else ""
        return f"{'on' if self.last.enabled else 'off'} ({self.last.way.value}){later}"

    async def report(self) -> OffloadReport:
        """What is there now, or was there a moment ago.

        Raises:
            DpuError: UNAVAILABLE, DEADLINE; the switch does not answer, or did not a moment ago: many who ask at once
                wait for one deadline, and not each for its own after all others'.
        """
        async with self._lock:
            fresh = self._clock() - self._looked_at <= FRESH_S
            if fresh and self._failure is not None:
                raise self._failure
            return self.last if fresh and self.last is not None else await self._once(weigh=False)

    def warnings(self) -> tuple[str, ...]:
        """What is wrong now, one sentence each."""
        advice = self.last.advice if self.last is not None else ()
        return (*advice, *self._unread(), *(missed.sentence for missed in self.tally.missed))

    def _unread(self) -> tuple[str, ...]:
        said = about_unread(self.last.unread, self.last.unread_line) if self.last is not None else ""
        return (said,) if said else ()

    async def once(self) -> None:
        """Put settings right, look, compare with the look before, and tell what is new.

        Raises:
            DpuError: UNAVAILABLE, DEADLINE, CONFLICT; nothing is known now.
        """
        async with self._lock:
            await self._once(weigh=True)

    async def _once(self, *, weigh: bool) -> OffloadReport:
        """A look; what moved until one that somebody asked for, out of turn, says nothing of weight."""
        began = self._clock()
        try:
            seen = await self._ask()
        except DpuError as error:
            self._looked_at = self._clock()
            self._took_s = self._looked_at - began
            self.times.failed += 1
            self.last, self._failure = None, error
            raise
        report, compared = await asyncio.to_thread(self._judged, seen, weigh=weigh)
        self.tally.adopt(compared)
        self.last, self._failure = report, None
        self._looked_at = self._clock()
        self.times.count += 1
        self._took_s = self._looked_at - began
        self.times.seconds += self._took_s
        await self._tell(report)
        return report

    def _judged(self, seen: OffloadSeen, *, weigh: bool) -> tuple[OffloadReport, Compared]:
        """In a thread, and without a trace when its caller has gone: a hundred thousand flows take their time."""
        report = decide(seen)
        return report, self.tally.compare(report, weigh=weigh)

    async def _ask(self) -> OffloadSeen:
        if not self._settings.enabled:
            return await self._driver.look()
        if await self._driver.enable():
            await self._say("OffloadEnabled", "hw-offload was set in the switch's database", warning=False)
        seen = await self._driver.look()
        self._unwilling &= {port.netdev for port in seen.ports}
        off = [port.netdev for port in seen.ports if port.feature is Feature.OFF]
        prepared = [await self._prepare(netdev) for netdev in off]
        return await self._driver.look() if any(prepared) else seen

    async def _prepare(self, netdev: str) -> bool:
        """Turns a port's hw-tc-offload on; one that will not is said once, one that is gone by now not at all."""
        try:
            on = await self._driver.prepare(netdev)
            trouble = "" if on else f"hw-tc-offload of {netdev} stays off although it was turned on"
        except DpuError as error:
            if error.reason is Reason.NOT_FOUND:
                return False
            on, trouble = False, str(error)
        if on:
            self._unwilling.discard(netdev)
            _log.info("hw-tc-offload turned on", netdev=netdev)
        elif netdev not in self._unwilling:
            self._unwilling.add(netdev)
            await self._say("OffloadRefused", trouble, warning=True, subject=netdev)
        return on

    async def _tell(self, report: OffloadReport) -> None:
        """An event for each warning that was not there lately."""
        current = {f"advice {sentence}": ("", sentence) for sentence in report.advice}
        for sentence in self._unread():
            current["unread"] = ("", sentence)
        for missed in self.tally.missed:
            current[f"{missed.netdev} {missed.why.value}"] = (missed.netdev, missed.sentence)
        news = [current[key] for key in current if key not in self._warned]
        if news:
            await self._ledger.commit(Change(events=tuple(_missed(netdev, sentence) for netdev, sentence in news)))
        aged = {key: age + 1 for key, age in self._warned.items() if age < FORGOTTEN_LOOKS}
        self._warned = {**aged, **dict.fromkeys(current, 0)}

    async def _say(self, reason: str, message: str, *, warning: bool, subject: str = "") -> None:
        said = Said(kind=EventKind.DAEMON, subject=subject, reason=reason, message=message, warning=warning)
        await self._ledger.commit(Change(events=(said,)))

    async def _run(self) -> None:
        silent = ""
        while True:
            try:
                await self.once()
                silent = ""
            except DpuError as error:
                if str(error) != silent:
                    silent = str(error)
                    _log.warning(f"offload cannot be looked at: {error}", reason=error.reason.value)
            except Exception:  # noqa: BLE001  (outermost loop of this task: without it nobody would look again)
                _log.exception("a look at offload failed")
            await asyncio.sleep(self.pause_s())

    def pause_s(self) -> float:
        """Until the next look."""
        asked = self._settings.enabled or (self.last is not None and self.last.enabled)
        return max(self._settings.look_s, REST * self._took_s, 0.0 if asked else LAZY_S)


def _missed(netdev: str, sentence: str) -> Said:
    return Said(kind=EventKind.DAEMON, subject=netdev, reason="OffloadMissed", message=sentence, warning=True)
