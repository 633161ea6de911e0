"""The start and stop of drivers: at once, but for those that work on others."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dpu_daemon.engine import core as engine_core
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.core import Core
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.engine.operations import Operations
from dpu_daemon.engine.protocols import Driver, Lost
from dpu_daemon.engine.repair import Repair
from proto.errors import DpuError
from proto.reasons import Reason


class Side(Driver):
    """A driver whose start needs what the test says.

    Args:
        name: in `said`.
        said: what all drivers did, in order.
        needs: what its other side waits for before it answers; an error that it fails with.
    """

    def __init__(self, name: str, said: list[str], needs: asyncio.Event | Exception | None = None) -> None:
        self._name, self._said, self._needs = name, said, needs
        self.started = asyncio.Event()

    async def start(self, lost: Lost) -> None:
        if isinstance(self._needs, Exception):
            raise self._needs
        if self._needs is not None:
            await self._needs.wait()
        self._said.append(f"{self._name} started")
        self.started.set()

    async def stop(self) -> None:
        self._said.append(f"{self._name} stopped")

    def version(self) -> str:
        return self._name


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def ledger(tmp_path: Path) -> Ledger:
    """Closed by the core that stops."""
    ledger = Ledger(Journal(tmp_path / "journal.db"))
    await ledger.load()
    return ledger


def core(ledger: Ledger, drivers: Mapping[str, Driver], **workers: Driver) -> Core:
    async def nothing() -> None: ...

    return Core(ledger, Operations(), drivers, (), nothing, AuditTimes(), workers=workers)


async def test_a_side_that_is_silent_keeps_no_other_driver_waiting(ledger: Ledger, said: list[str]) -> None:
    late = Side("late", said)
    frozen = Side("frozen", said, late.started)
    running = core(ledger, {"frozen": frozen, "late": late})
    with capture_logs() as logs:
        await running.start()
    assert said == ["late started", "frozen started"]
    assert not [line for line in logs if line["log_level"] == "warning"]
    await running.stop(0.1)


async def test_sides_that_never_answer_are_waited_for_at_the_same_time(
    ledger: Ledger, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_core, "START_S", 0.05)
    never = asyncio.Event()
    well = Side("well", said)
    running = core(ledger, {"a": Side("a", said, never), "b": Side("b", said, never), "well": well})
    with capture_logs() as logs:
        starting = asyncio.create_task(running.start())
        await well.started.wait()
        assert not [line for line in logs if line["log_level"] == "warning"]
        await starting
    assert sum("has no contact yet" in line["event"] for line in logs) == 2
    await running.stop(0.1)
    assert said == ["well started", "a stopped", "b stopped", "well stopped"]


async def test_a_side_that_comes_late_is_met_all_the_same(
    ledger: Ledger, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_core, "START_S", 0.05)
    thawed = asyncio.Event()
    late = Side("late", said, thawed)
    running = core(ledger, {"late": late})
    await running.start()
    assert said == []
    thawed.set()
    await late.started.wait()
    await running.stop(0.1)
    assert said == ["late started", "late stopped"]


async def test_a_driver_that_fails_is_told_of_and_the_others_start(ledger: Ledger, said: list[str]) -> None:
    away = Side("away", said, DpuError(Reason.UNAVAILABLE, "nobody there"))
    running = core(ledger, {"away": away, "well": Side("well", said)})
    with capture_logs() as logs:
        await running.start()
    assert said == ["well started"]
    assert any("the away driver has no contact yet" in line["event"] for line in logs)
    await running.stop(0.1)


async def test_a_fault_of_a_driver_ends_the_start_once_all_have_begun(ledger: Ledger, said: list[str]) -> None:
    running = core(ledger, {"broken": Side("broken", said, OSError("no right")), "well": Side("well", said)})
    with pytest.raises(OSError, match="no right"):
        await running.start()
    assert said == ["well started"]
    await running.stop(0.1)


async def test_workers_start_after_what_they_work_on_and_stop_before(ledger: Ledger, said: list[str]) -> None:
    switch = Side("switch", said)
    slow = Side("slow", said, switch.started)
    running = core(ledger, {"slow": slow, "switch": switch}, own_port=Side("own port", said))
    await running.start()
    assert said[-1] == "own port started"
    assert list(running.driver_versions()) == ["slow", "switch", "own_port"]
    said.clear()
    await running.stop(0.1)
    assert said[0] == "own port stopped"


async def test_a_fault_of_a_driver_that_is_late_ends_the_daemon_as_one_at_its_start_does(
    ledger: Ledger, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_core, "START_S", 0.05)
    thawed = asyncio.Event()
    broken = Side("broken", said, thawed)

    async def start(_: Lost) -> None:
        await thawed.wait()
        raise KeyError("a release that nobody knows")

    monkeypatch.setattr(broken, "start", start)
    running = core(ledger, {"broken": broken})
    await running.start()
    assert not running.fault.done()
    thawed.set()
    fault = await running.fault
    assert fault.reason is Reason.INTERNAL
    assert "the broken driver cannot start" in fault.message
    await running.stop(0.1)


async def test_a_driver_that_says_why_it_cannot_start_is_started_again(
    ledger: Ledger, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_core, "AGAIN_S", 0.01)
    side = Side("full", said)
    start, refusals = side.start, [DpuError(Reason.STORAGE_FULL, "no room for its directory") for _ in range(2)]

    async def refused(lost: Lost) -> None:
        if refusals:
            raise refusals.pop()
        await start(lost)

    monkeypatch.setattr(side, "start", refused)
    running = core(ledger, {"full": side})
    await running.start()
    await side.started.wait()
    assert said == ["full started"]
    assert not running.fault.done()
    await running.stop(0.1)


class Breaking:
    """An auditor that a fault of ours ends at its first look."""

    def __init__(self) -> None:
        self.says: Callable[[], str] = str
        self.heard: list[str] = []

    async def audit(self) -> tuple[Repair, ...]:
        self.heard.append(self.says())
        if len(self.heard) == 1:
            raise OSError("too many open files")
        return ()


async def test_an_audit_that_failed_is_said_and_comes_again(ledger: Ledger, said: list[str]) -> None:
    async def nothing() -> None: ...

    breaking = Breaking()
    times = AuditTimes(period_s=0.1, first_retry_s=0.1, debounce_s=0.0)
    running = Core(ledger, Operations(), {"well": Side("well", said)}, (breaking,), nothing, times)
    breaking.says = running.audit.message
    await running.start()
    await running.audit.converged.wait()
    assert breaking.heard[:2] == ["", "the audit failed: OSError('too many open files')"]
    await running.stop(0.1)
