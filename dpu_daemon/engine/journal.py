"""The journal: one SQLite file that knows what is wanted, what was fenced, and what was being done.

Every change is one transaction, on disk before the call returns (WAL, synchronous FULL). Calls block for as
long as the disk needs to sync; the ledger makes them from a thread of its own.
"""

import errno
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dpu_daemon.engine.change import Change, StepState
from dpu_daemon.engine.rows import Record, RecordKind, from_body, id_of, kind_of, place_of, to_body
from dpu_daemon.engine.schema import MIGRATIONS
from dpu_daemon.model.event import Event, EventKind
from dpu_daemon.model.fence import Fence, FenceScope
from proto.errors import DpuError
from proto.reasons import Reason

KEPT_EVENTS = 10_000
KEPT_STEPS = 2_000
KEPT_FENCES = 100_000
BUSY_S = 1.0
"""How long a daemon that is just ending may still hold the file."""
_FULL_CODES = frozenset({sqlite3.SQLITE_FULL})
_WHOLE = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_PART = ("SAVEPOINT part", "RELEASE part", ("ROLLBACK TO part", "RELEASE part"))


@dataclass(frozen=True, slots=True)
class Committed:
    """What a transaction numbered: the step that began (0 for none) and the events."""

    step: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a journal holds, read whole."""

    records: tuple[Record, ...]
    fences: tuple[Fence, ...]
    interrupted: tuple[tuple[int, str, str], ...]
    """Steps that had begun and not ended: number, subject, sentence."""
    last_event: int


class Journal:
    """An open journal.

    Args:
        path: of the file; its directory must exist.
        now_ms: wall clock, for the dates of events.

    Raises:
        DpuError: CORRUPT when the file is damaged or newer than this daemon, UNAVAILABLE when it cannot be opened or
            another daemon holds it, STORAGE_FULL when its disk is full.
    """

    def __init__(self, path: Path, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self.path = path
        self._now_ms = now_ms
        self._db = self._open()
        try:
            with self._typed():
                self._prepare()
            self.instance_id = self._instance()
        except DpuError:
            self._db.close()
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        except (OSError, sqlite3.OperationalError) as error:
            full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
            reason = Reason.STORAGE_FULL if full else Reason.UNAVAILABLE
            remedy = "give the daemon a directory that it may write, with free space"
            raise DpuError(reason, f"journal {self.path}: {error}", field="journal", remedy=remedy) from error

    def _prepare(self) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA trusted_schema = OFF")
        found = [row[0] for row in db.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise self._corrupt("; ".join(found))
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            message = f"written by a newer daemon (schema {version}, this one knows {len(MIGRATIONS)})"
            raise self._corrupt(message, remedy="start the newer daemon, or restore the journal that this one wrote")
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")

    def _instance(self) -> str:
        with self._transaction() as db:
            row = db.execute("SELECT instance_id FROM about").fetchone()
            if row is None:
                row = (str(uuid.uuid4()),)
                db.execute("INSERT INTO about VALUES (1, ?, ?)", (row[0], self._now_ms()))
        return str(row[0])

    def close(self) -> None:
        """Let go of the file; what was committed stays."""
        self._db.close()

    def read(self) -> Contents:
        """Everything in the journal.

        Raises:
            DpuError: CORRUPT when a row cannot be understood; nothing is guessed and nothing left out.
        """
        with self._typed():
            records = tuple(self._record(*row) for row in self._db.execute("SELECT kind, id, body FROM wanted"))
            fences = tuple(
                Fence(scope=FenceScope(scope), subject=subject, generation=generation, closed=bool(closed))
                for scope, subject, generation, closed in self._db.execute(
                    "SELECT scope, subject, generation, closed FROM fences"
                )
            )
            steps = self._db.execute(
                "SELECT number, subject, says FROM steps WHERE state = ?", (StepState.BEGUN.value,)
            )
            interrupted = tuple((int(number), str(subject), str(says)) for number, subject, says in steps)
            last = self._db.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()[0]
        return Contents(records, fences, interrupted, int(last))

    def _record(self, kind: str, key: str, body: bytes) -> Record:
        try:
            return from_body(RecordKind(kind), body)
        except (msgspec.MsgspecError, ValueError) as error:
            raise self._corrupt(f"{kind} {key}: {error}") from error

    def commit(self, change: Change) -> Committed:
        """Make a change true, whole or not at all.

        Raises:
            DpuError: STORAGE_FULL, CORRUPT or UNAVAILABLE; the journal is as it was.
        """
        with self._transaction() as db:
            for kind, key in change.drop:
                db.execute("DELETE FROM wanted WHERE kind = ? AND id = ?", (kind.value, key))
            for record in change.put:
                row = (kind_of(record).value, id_of(record), place_of(record), to_body(record))
                sql = (
                    "INSERT INTO wanted VALUES (?, ?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET place = ?3, body = ?4"
                )
                db.execute(sql, row)
            for fence in change.fences:
                values = (fence.scope.value, fence.subject, fence.generation, fence.closed, self._now_ms())
                db.execute("INSERT OR REPLACE INTO fences VALUES (?, ?, ?, ?, ?)", values)
            step = self._write_steps(db, change)
            events = tuple(self._write_events(db, change))
        return Committed(step, events)

    def commit_all(self, changes: Sequence[Change]) -> list[Committed | DpuError]:
        """Make several changes true with one sync of the disk, each whole or not at all; outcomes in their order.

        Raises:
            DpuError: STORAGE_FULL, CORRUPT or UNAVAILABLE; none of them was made.
        """
        if len(changes) == 1:
            return [self.commit(changes[0])]
        outcomes: list[Committed | DpuError] = []
        with self._transaction():
            for change in changes:
                try:
                    outcomes.append(self.commit(change))
                except DpuError as error:
                    if not self._db.in_transaction:  # SQLite gave the whole transaction up
                        raise
                    outcomes.append(error)
        return outcomes

    def _write_steps(self, db: sqlite3.Connection, change: Change) -> int:
        if change.ended is not None:
            ended = change.ended
            sql = "UPDATE steps SET state = ?, sentence = ? WHERE number = ?"
            db.execute(sql, (ended.state.value, ended.sentence, ended.number))
        if change.begun is None:
            return 0
        sql = "INSERT INTO steps (subject, says, state, begun_unix_ms) VALUES (?, ?, ?, ?)"
        row = (change.begun.subject, change.begun.says, StepState.BEGUN.value, self._now_ms())
        number = db.execute(sql, row).lastrowid or 0
        sql = "DELETE FROM steps WHERE number <= ? AND state != ?"
        db.execute(sql, (number - KEPT_STEPS, StepState.BEGUN.value))
        return number

    def _write_events(self, db: sqlite3.Connection, change: Change) -> Iterator[Event]:
        for said in change.events:
            now = self._now_ms()
            row = (now, said.kind.value, said.subject, said.reason, said.message, said.warning)
            sql = "INSERT INTO events (unix_ms, kind, subject, reason, message, warning) VALUES (?, ?, ?, ?, ?, ?)"
            sequence = db.execute(sql, row).lastrowid or 0
            db.execute("DELETE FROM events WHERE sequence <= ?", (sequence - KEPT_EVENTS,))
            yield Event(
                sequence=sequence,
                unix_ms=now,
                kind=said.kind,
                subject=said.subject,
                reason=said.reason,
                message=said.message,
                warning=said.warning,
            )

    def events_since(self, since: int, limit: int) -> tuple[Event, ...]:
        """Kept events with a greater sequence number, oldest first."""
        sql = "SELECT sequence, unix_ms, kind, subject, reason, message, warning FROM events WHERE sequence > ? LIMIT ?"
        with self._typed():
            rows = self._db.execute(sql, (since, limit)).fetchall()
        return tuple(
            Event(
                sequence=row[0],
                unix_ms=row[1],
                kind=EventKind(row[2]),
                subject=row[3],
                reason=row[4],
                message=row[5],
                warning=bool(row[6]),
            )
            for row in rows
        )

    def prune_fences(self) -> None:
        """Forget the oldest closed fences past the number that is kept; a call that late is not coming any more."""
        with self._transaction() as db:
            sql = """DELETE FROM fences WHERE closed = 1 AND (scope, subject) IN (SELECT scope, subject FROM fences
                     ORDER BY touched_unix_ms DESC LIMIT -1 OFFSET ?)"""
            db.execute(sql, (KEPT_FENCES,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction, or a part of the one that is open, which can fail alone."""
        begin, end, undo = _PART if self._db.in_transaction else _WHOLE
        with self._typed():
            self._db.execute(begin)
            try:
                yield self._db
                self._db.execute(end)
            except BaseException:
                if self._db.in_transaction:
                    for statement in undo:
                        self._db.execute(statement)
                raise

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise DpuError(Reason.CONFLICT, f"journal {self.path}: {error}", remedy="repeat the call") from error
        except sqlite3.OperationalError as error:
            raise self._operational(error) from error
        except sqlite3.DatabaseError as error:
            raise self._corrupt(str(error)) from error

    def _operational(self, error: sqlite3.OperationalError) -> DpuError:
        code = error.sqlite_errorcode & 0xFF
        if code in _FULL_CODES:
            remedy = f"free space on the file system of {self.path}"
            return DpuError(Reason.STORAGE_FULL, f"journal {self.path}: {error}", field="journal", remedy=remedy)
        if code == sqlite3.SQLITE_BUSY:
            remedy = "stop the other daemon, or give this one a journal of its own"
            message = f"journal {self.path} is held by another process"
            return DpuError(Reason.UNAVAILABLE, message, field="journal", remedy=remedy)
        remedy = "look at the file system's health and at the daemon's rights"
        return DpuError(Reason.UNAVAILABLE, f"journal {self.path}: {error}", field="journal", remedy=remedy)

    def _corrupt(self, what: str, remedy: str = "") -> DpuError:
        advice = remedy or f"restore {self.path} from a backup, or move it away to start with an empty journal"
        return DpuError(Reason.CORRUPT, f"journal {self.path} cannot be used: {what}", field="journal", remedy=advice)
