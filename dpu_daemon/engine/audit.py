"""The audit: at start, on a driver's alarm and every few seconds, everything wanted is compared and put right."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

import structlog

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.repair import Auditor, Repair
from dpu_daemon.model.event import EventKind
from proto.errors import DpuError

_log = structlog.get_logger("dpu_daemon.audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTimes:
    """When audits happen.

    Attributes:
        period_s: between two, when nothing alarms; a look costs milliseconds.
        debounce_s: a restart beneath us alarms several times at once.
        first_retry_s: after a side did not answer or a repair failed; doubles up to `period_s` or `last_retry_s`.
        last_retry_s: longest pause between two tries of one failing repair.
        repair_s: how long a repair may take before the audit looks at the rest.
    """

    period_s: float = 10.0
    debounce_s: float = 0.1
    first_retry_s: float = 1.0
    last_retry_s: float = 60.0
    repair_s: float = 60.0


@dataclass(slots=True)
class _Trouble:
    tries: int
    again_at: float
    sentence: str


class Audit:
    """Runs all auditors, again and again.

    Args:
        ledger: for the events.
        operations: repairs queue in their own lane and respect the locks of callers.
        auditors: what can be compared.
        tidy: housekeeping after each audit.
        times: when.
    """

    def __init__(
        self,
        ledger: Ledger,
        operations: Operations,
        auditors: Sequence[Auditor],
        tidy: Callable[[], Awaitable[None]],
        times: AuditTimes,
    ) -> None:
        self._ledger = ledger
        self._operations = operations
        self._auditors = auditors
        self._tidy = tidy
        self._times = times
        self._alarm = asyncio.Event()
        self._troubles: dict[Hashable, _Trouble] = {}
        self._silent: dict[int, str] = {}
        self._told: set[str] = set()
        self._broken = ""
        """What ended the last pass that should not have."""
        self._alarmed = True
        self._whole_at = float("-inf")
        self.converged = asyncio.Event()
        """Set once every side has answered and every repair of one pass has been tried."""

    def alarm(self, sentence: str) -> None:
        """A driver says that its other side restarted or went away: look soon, and forget the pauses.

        An empty sentence is no news worth an event, such as one of a thousand containers that came: it only makes
        the audit look.
        """
        if sentence:
            _log.info(sentence)
            self._told.add(sentence)
        for trouble in self._troubles.values():
            trouble.again_at = 0.0
        self._alarmed = True
        self._alarm.set()

    def message(self) -> str:
        """What is wrong now, in a sentence; empty when nothing is."""
        sentences = [
            *filter(None, (self._broken,)),
            *self._silent.values(),
            *(trouble.sentence for trouble in self._troubles.values()),
        ]
        return "; ".join(sentences[:3]) + (f"; and {len(sentences) - 3} more" if len(sentences) > 3 else "")

    async def run(self) -> None:
        """Audit for ever."""
        while True:
            try:
                await self.once(only_silent=self._only_silent())
            except DpuError as error:
                _log.error(f"the audit stopped half-way: {error}", reason=error.reason.value)
            except Exception as error:  # noqa: BLE001 - the outermost loop of a task: else nothing is repaired any more
                _log.exception("the audit failed")
                self._broken = f"the audit failed: {error!r}"
            else:
                self._broken = ""
            await self._pause()

    async def _pause(self) -> None:
        pause = self._times.first_retry_s if self._silent else self._times.period_s
        now = asyncio.get_running_loop().time()
        due = [trouble.again_at - now for trouble in self._troubles.values()]
        pause = max(0.05, min([pause, *due]))
        try:
            async with asyncio.timeout(pause):
                await self._alarm.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._times.debounce_s)
        self._alarm.clear()

    def _only_silent(self) -> bool:
        """Whether this pass comes only because a side was silent: comparing the others again so soon finds nothing."""
        now = asyncio.get_running_loop().time()
        due = any(trouble.again_at <= now for trouble in self._troubles.values())
        return bool(self._silent) and not self._alarmed and not due and now < self._whole_at + self._times.period_s

    async def once(self, *, only_silent: bool = False) -> None:
        """One pass: compare everything, try every repair that is due, tidy up.

        Args:
            only_silent: compare only what did not answer the last time.
        """
        self._alarmed = False
        if not only_silent:
            self._whole_at = asyncio.get_running_loop().time()
        told, self._told = self._told, set()
        for sentence in sorted(told):
            said = Said(kind=EventKind.DRIVER, subject="", reason="Noticed", message=sentence)
            await self._ledger.commit(Change(events=(said,)))
        repairs: list[Repair] = []
        for number, auditor in enumerate(self._auditors):
            if only_silent and number not in self._silent:
                continue
            try:
                repairs += await auditor.audit()
                self._silent.pop(number, None)
            except DpuError as error:
                self._silent[number] = str(error)
        keys = {repair.key for repair in repairs}
        if not self._silent and not only_silent:
            self._troubles = {key: trouble for key, trouble in self._troubles.items() if key in keys}
        await asyncio.gather(*(self._try(repair) for repair in repairs if self._is_due(repair)))
        if not self._silent:
            await self._tidy()
            self.converged.set()

    def _is_due(self, repair: Repair) -> bool:
        trouble = self._troubles.get(repair.key)
        due = trouble is None or trouble.again_at <= asyncio.get_running_loop().time()
        return due and not self._operations.busy(repair.key)

    async def _try(self, repair: Repair) -> None:
        _log.info(f"repair: {repair.why}", id=repair.subject)
        deadline = Deadline.after(self._times.repair_s)
        try:
            acted = await self._operations.run(
                repair.key, repair.lane, repair.work, deadline, what=repair.subject, also=repair.also
            )
        except DpuError as error:
            await self._note_failure(repair, error)
            return
        self._troubles.pop(repair.key, None)
        if acted:
            said = Said(kind=repair.kind, subject=repair.subject, reason="Repaired", message=f"{repair.why}; put right")
            await self._ledger.commit(Change(events=(said,)))

    async def _note_failure(self, repair: Repair, error: DpuError) -> None:
        before = self._troubles.get(repair.key)
        tries = before.tries + 1 if before else 1
        pause = min(self._times.first_retry_s * 2 ** min(tries - 1, 10), self._times.last_retry_s)
        again_at = asyncio.get_running_loop().time() + pause
        self._troubles[repair.key] = _Trouble(tries, again_at, f"{repair.subject}: {error}")
        if before is None:
            message = f"{repair.why}; repair failed: {error}"
            said = Said(kind=repair.kind, subject=repair.subject, reason="RepairFailed", message=message, warning=True)
            await self._ledger.commit(Change(events=(said,)))
