"""What waits for company is written with it, in its place, and is never forgotten."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpu_daemon.engine.change import Change, StepBegun
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from tests.unit.dpu_daemon.things import DISK

LONG_S = 60.0


@pytest.fixture
def writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many changes each write of the journal holds."""
    counts: list[int] = []
    write = Journal.commit_all

    def counted(self: Journal, changes: Sequence[Change]) -> Any:
        counts.append(len(changes))
        return write(self, changes)

    monkeypatch.setattr(Journal, "commit_all", counted)
    return counts


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def test_a_patient_change_goes_with_the_next_one_and_before_it(path: Path, writes: list[int]) -> None:
    ledger = Ledger(Journal(path))
    await ledger.load()
    writes.clear()
    patient = asyncio.create_task(ledger.commit(Change(put=(DISK,)), patience_s=LONG_S))
    await asyncio.sleep(0)
    newer = replace(DISK, established=True)
    await ledger.commit(Change(put=(newer,)))
    await patient
    assert writes == [2]
    assert ledger.attachments[DISK.attachment_id] == newer
    await ledger.close()


async def test_a_patient_change_that_stays_alone_is_written_in_the_end(path: Path, writes: list[int]) -> None:
    ledger = Ledger(Journal(path))
    await ledger.load()
    await ledger.commit(Change(put=(DISK,)), patience_s=0.001)
    assert writes == [1]
    assert ledger.attachments[DISK.attachment_id] == DISK
    await ledger.close()


async def test_closing_writes_what_still_waits(path: Path) -> None:
    ledger = Ledger(Journal(path))
    await ledger.load()
    patient = asyncio.create_task(ledger.commit(Change(put=(DISK,)), patience_s=LONG_S))
    await asyncio.sleep(0)
    await ledger.close()
    await patient
    again = Ledger(Journal(path))
    assert DISK in (await again.load()).records
    await again.close()


async def test_steps_that_a_restart_cut_off_are_told_with_one_sync_of_the_disk(path: Path, writes: list[int]) -> None:
    before = Journal(path)
    for number in range(30):
        before.commit(Change(begun=StepBegun(subject=f"port-{number}", says="plug it")))
    before.close()
    ledger = Ledger(Journal(path))
    assert len((await ledger.load()).interrupted) == 30
    assert writes == [30]
    told = ledger._journal.events_since(0, 100)
    assert [event.subject for event in told] == [f"port-{number}" for number in range(30)]
    assert ledger._journal.read().interrupted == ()
    await ledger.close()
