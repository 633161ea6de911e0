"""The journal: durable, whole or not at all, and clear about what is wrong with it."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine import journal as journal_module
from dpu_daemon.engine.change import Change, Said, StepBegun, StepEnded, StepState
from dpu_daemon.engine.journal import Committed, Journal
from dpu_daemon.engine.rows import Record, RecordKind, id_of
from dpu_daemon.engine.schema import MIGRATIONS
from dpu_daemon.model.disk import Qos, SeedFile
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.fence import Fence, FenceScope
from dpu_daemon.model.seed import Seed
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.dpu_daemon.things import DISK, EXPORTED, IMAGE, PORT, SPEC

SEED = Seed(machine_id="bm-01", generation=1, sha256="00", name="s0", path="/seeds/s0")
SEED_DISK = replace(
    DISK, attachment_id="seed:bm-01", handle="s1", slot=5, spec=replace(SPEC, source=SeedFile(path="/seeds/s0"))
)
LIMITED = replace(DISK, spec=replace(SPEC, qos=Qos(iops=500)), established=True, force=True)
FENCE = Fence(scope=FenceScope.VOLUME, subject="vol-1", generation=3, closed=True)


def said(reason: str) -> Said:
    return Said(kind=EventKind.DAEMON, subject="x", reason=reason, message="m", warning=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.mark.parametrize("record", [LIMITED, SEED_DISK, PORT, SEED, IMAGE, EXPORTED], ids=id_of)
def test_what_was_written_is_read_back_by_the_next_daemon(path: Path, record: Record) -> None:
    first = Journal(path)
    first.commit(Change(put=(record,), fences=(FENCE,), events=(said("Made"),)))
    first.close()
    second = Journal(path)
    contents = second.read()
    assert (contents.records, contents.fences, contents.last_event) == ((record,), (FENCE,), 1)
    assert second.instance_id == first.instance_id
    second.close()


def test_another_journal_is_another_instance(path: Path) -> None:
    first = Journal(path)
    second = Journal(path.with_name("other.db"))
    assert first.instance_id != second.instance_id
    first.close()
    second.close()


def test_a_journal_is_private_and_synced_at_each_commit(path: Path) -> None:
    journal = Journal(path)
    assert path.stat().st_mode & 0o077 == 0
    assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    journal.close()


def test_no_slot_is_ever_given_twice_whatever_the_daemon_believes(path: Path) -> None:
    journal = Journal(path)
    journal.commit(Change(put=(DISK,)))
    with pytest.raises(DpuError) as refused:
        journal.commit(Change(put=(replace(DISK, attachment_id="att-2"),), events=(said("Made"),)))
    assert refused.value.reason is Reason.CONFLICT
    assert (journal.read().records, journal.read().last_event) == ((DISK,), 0)
    journal.close()


def test_a_slot_can_change_hands_in_one_change(path: Path) -> None:
    journal = Journal(path)
    journal.commit(Change(put=(DISK,)))
    other = replace(DISK, attachment_id="att-2")
    journal.commit(Change(drop=((RecordKind.ATTACHMENT, "att-1"),), put=(other,)))
    assert journal.read().records == (other,)
    journal.close()


def test_steps_that_had_begun_and_not_ended_are_known(path: Path) -> None:
    journal = Journal(path)
    one = journal.commit(Change(begun=StepBegun(subject="att-1", says="connect"))).step
    two = journal.commit(
        Change(ended=StepEnded(number=one, state=StepState.DONE), begun=StepBegun(subject="att-1", says="expose"))
    ).step
    assert journal.read().interrupted == ((two, "att-1", "expose"),)
    journal.commit(Change(ended=StepEnded(number=two, state=StepState.FAILED, sentence="no")))
    assert journal.read().interrupted == ()
    journal.close()


def test_the_newest_events_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "KEPT_EVENTS", 3)
    journal = Journal(path, now_ms=lambda: 42)
    for n in range(5):
        journal.commit(Change(events=(said(f"E{n}"),)))
    kept = journal.events_since(0, 10)
    assert [(event.sequence, event.reason, event.unix_ms) for event in kept] == [
        (3, "E2", 42),
        (4, "E3", 42),
        (5, "E4", 42),
    ]
    assert [event.sequence for event in journal.events_since(3, 1)] == [4]
    journal.close()


def test_old_steps_and_old_closed_fences_are_forgotten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "KEPT_STEPS", 2)
    monkeypatch.setattr(journal_module, "KEPT_FENCES", 1)
    clock = iter(range(1000))
    journal = Journal(path, now_ms=lambda: next(clock))
    for n in range(4):
        number = journal.commit(Change(begun=StepBegun(subject="x", says="s"))).step
        journal.commit(Change(ended=StepEnded(number=number, state=StepState.DONE)))
        journal.commit(Change(fences=(replace(FENCE, subject=f"v{n}", closed=n != 0),)))
    journal.prune_fences()
    assert {fence.subject for fence in journal.read().fences} == {"v0", "v3"}
    (count,) = journal._db.execute("SELECT count(*) FROM steps").fetchone()
    assert count <= 3
    journal.close()


def test_a_second_daemon_is_kept_out(path: Path) -> None:
    first = Journal(path)
    with pytest.raises(DpuError) as refused:
        Journal(path)
    assert "held by another process" in refused.value.message
    first.close()


def test_a_file_that_is_no_journal_is_refused_with_a_remedy(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(DpuError) as refused:
        Journal(path)
    assert refused.value.reason is Reason.CORRUPT
    assert str(path) in refused.value.message
    assert "backup" in refused.value.remedy


def test_a_damaged_page_is_noticed_at_the_start(path: Path) -> None:
    journal = Journal(path)
    for n in range(200):
        journal.commit(Change(put=(replace(DISK, attachment_id=f"a{n}", slot=n),)))
    journal.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 4096)
    with pytest.raises(DpuError) as refused:
        Journal(path)
    assert refused.value.reason is Reason.CORRUPT


def test_a_row_that_cannot_be_understood_stops_the_daemon_rather_than_lose_a_disk(path: Path) -> None:
    journal = Journal(path)
    journal.commit(Change(put=(DISK,)))
    journal._db.execute("UPDATE wanted SET body = ?", (b'{"attachment_id": 7}',))
    with pytest.raises(DpuError) as refused:
        journal.read()
    assert refused.value.reason is Reason.CORRUPT
    assert "attachment att-1" in refused.value.message
    journal.close()


def test_a_disk_without_a_source_is_corrupt(path: Path) -> None:
    journal = Journal(path)
    journal.commit(Change(put=(DISK,)))
    journal._db.execute("UPDATE wanted SET body = CAST(json_set(CAST(body AS TEXT), '$.target', NULL) AS BLOB)")
    with pytest.raises(DpuError) as refused:
        journal.read()
    assert "no source" in refused.value.message
    journal.close()


def test_a_newer_journal_is_not_touched(path: Path) -> None:
    Journal(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(DpuError) as refused:
        Journal(path)
    assert "newer daemon" in refused.value.message


def test_a_full_disk_is_said_to_be_full_and_nothing_is_half_written(path: Path) -> None:
    journal = Journal(path)
    journal.commit(Change(put=(DISK,)))
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    many = tuple(replace(DISK, attachment_id=f"a{n}", slot=n + 1) for n in range(500))
    with pytest.raises(DpuError) as refused:
        journal.commit(Change(put=many, fences=(FENCE,)))
    assert refused.value.reason is Reason.STORAGE_FULL
    assert "free space" in refused.value.remedy
    assert (journal.read().records, journal.read().fences) == ((DISK,), ())
    journal.close()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DpuError) as refused:
        Journal(tmp_path / "missing" / "journal.db")
    assert refused.value.reason is Reason.UNAVAILABLE
    assert refused.value.field == "journal"


def test_changes_written_together_fail_one_by_one(path: Path) -> None:
    journal = Journal(path)
    taken = replace(DISK, attachment_id="att-2")
    free = replace(DISK, attachment_id="att-3", slot=DISK.slot + 1)
    first, second, third = journal.commit_all(
        (Change(put=(DISK,)), Change(put=(taken,), events=(said("Made"),)), Change(put=(free,)))
    )
    assert isinstance(first, Committed)
    assert isinstance(second, DpuError)
    assert second.reason is Reason.CONFLICT
    assert isinstance(third, Committed)
    assert set(journal.read().records) == {DISK, free}
    assert not journal.events_since(0, 10)
    journal.close()


def test_changes_written_together_are_lost_together_when_the_writer_dies(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    whole, calls = journal.commit, list[Change]()

    def dying(change: Change) -> Committed:
        calls.append(change)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(change)

    monkeypatch.setattr(journal, "commit", dying)
    with pytest.raises(KeyboardInterrupt):
        journal.commit_all((Change(put=(DISK,)), Change(fences=(FENCE,))))
    assert not journal.read().records
    journal.close()
