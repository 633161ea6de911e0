"""The core that both kinds of daemon share: ledger, operations, drivers and the audit over them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from dpu_daemon.engine.audit import Audit, AuditTimes
from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.deadline import within
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import Driver
from dpu_daemon.engine.repair import Auditor
from dpu_daemon.model.event import EventKind
from proto.errors import DpuError
from proto.reasons import Reason

START_S = 2.0
"""For the first contact of a driver; one that is late goes on trying, and says so to who needs it meanwhile."""
AGAIN_S = 5.0
"""Between two starts of a driver that says why it cannot be started."""
STOP_S = 5.0

_log = structlog.get_logger("dpu_daemon.core")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """What the host's bus offers and what is given away."""

    disks: int = 0
    disks_used: int = 0
    nics: int = 0
    nics_used: int = 0


class Core:
    """What runs under the services of a daemon.

    Args:
        ledger: loaded before `start`.
        operations: locks and lanes.
        drivers: by role, such as ``block``; none needs another to start.
        auditors: what is compared.
        tidy: housekeeping after each audit.
        times: of the audits.
        workers: by role, drivers that use the others as soon as they are started.
    """

    def __init__(
        self,
        ledger: Ledger,
        operations: Operations,
        drivers: Mapping[str, Driver],
        auditors: Sequence[Auditor],
        tidy: Callable[[], Awaitable[None]],
        times: AuditTimes,
        *,
        workers: Mapping[str, Driver] | None = None,
    ) -> None:
        self.ledger = ledger
        self.operations = operations
        self.audit = Audit(ledger, operations, auditors, tidy, times)
        self._drivers = drivers
        self._workers = workers or {}
        self._late: set[asyncio.Task[None]] = set()
        """Drivers that still wait for their first contact."""
        self.fault: asyncio.Future[DpuError] = asyncio.get_running_loop().create_future()
        """Done when this daemon cannot do its work any more, and has to be started again."""
        self._auditing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the drivers, then audit for ever; returns before the first audit: callers are answered at once.

        All sides are met at the same time, and for one that is frozen nobody waits long.
        """
        await self._start_all(self._drivers)
        await self._start_all(self._workers)
        said = Said(kind=EventKind.DAEMON, subject="", reason="Started", message="the daemon started")
        await self.ledger.commit(Change(events=(said,)))
        self._auditing = asyncio.get_running_loop().create_task(self.audit.run())

    async def _start_all(self, drivers: Mapping[str, Driver]) -> None:
        loop = asyncio.get_running_loop()
        starts = {role: loop.create_task(driver.start(self.audit.alarm)) for role, driver in drivers.items()}
        if starts:
            await asyncio.wait(starts.values(), timeout=START_S)
        for role, task in starts.items():
            if not task.done():
                _log.warning(f"the {role} driver has no contact yet; it goes on trying")
                self._expect(role, drivers[role], task)
        for role, task in starts.items():
            if task.done() and (error := task.exception()) is not None:
                if not isinstance(error, DpuError):
                    raise error
                self._expect(role, drivers[role], task)

    def _expect(self, role: str, driver: Driver, starting: asyncio.Task[None]) -> None:
        task = asyncio.get_running_loop().create_task(self._come(role, driver, starting), name=f"start {role}")
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _come(self, role: str, driver: Driver, starting: Awaitable[None]) -> None:
        """Wait for a driver, and start one again that says why it cannot be started.

        A fault of the daemon itself ends it whenever it comes: without this driver it would serve for ever and never
        converge. Restarted, it finds everything in its journal.
        """
        said = ""
        while True:
            try:
                return await starting
            except DpuError as error:
                if str(error) != said:
                    _log.warning(f"the {role} driver has no contact yet: {error}")
                said = str(error)
            except Exception as error:  # noqa: BLE001 - the outermost frame of this task
                _log.error(f"the {role} driver cannot start", exc_info=error)
                if not self.fault.done():
                    message = f"the {role} driver cannot start: {error!r}"
                    self.fault.set_result(DpuError(Reason.INTERNAL, message, remedy="report it with this log"))
                return None
            await asyncio.sleep(AGAIN_S)
            starting = driver.start(self.audit.alarm)

    def driver_versions(self) -> dict[str, str]:
        """What stands behind each role; empty before the first contact."""
        return {role: driver.version() for role, driver in (*self._drivers.items(), *self._workers.items())}

    def ready(self) -> bool:
        """Whether everything wanted was compared, and put right where possible, since the start."""
        return self.audit.converged.is_set()

    async def stop(self, drain_s: float) -> None:
        """Take no new work, finish what is running, let go of drivers and journal; nothing is taken from the host."""
        cut_off = await self.operations.stop(drain_s)
        if cut_off:
            _log.warning(f"{cut_off} operations did not end within {drain_s:g} s; the next start takes them up")
        if self._auditing is not None:
            self._auditing.cancel()
            await asyncio.wait({self._auditing})
        if late := set(self._late):
            for task in late:
                task.cancel()
            await asyncio.wait(late)
        for role, driver in (*self._workers.items(), *self._drivers.items()):
            try:
                await within(STOP_S, driver.stop(), f"stop the {role} driver")
            except DpuError as error:
                _log.warning(str(error))
        await self.ledger.close()


def census_state(*, wanted: bool, established: bool) -> str:
    """How a record stands, as far as the journal alone can tell."""
    if not wanted:
        return "leaving"
    return "established" if established else "coming"
