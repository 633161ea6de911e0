"""The one SQLite file: opened with care, checked, migrated, and written one batch per transaction.

All functions block; the store calls them from its writer thread. Every commit is synced to the disk
(WAL with synchronous=FULL), so an answered write survives kill -9 and power loss.
"""

import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from coordinator.api.objects import Key

APPLICATION_ID = 0x64707570  # "dpup": tells our file from any other SQLite file
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE objects (
        resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        version INTEGER NOT NULL, data BLOB NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (resource, namespace, name)
    ) WITHOUT ROWID;
    CREATE TABLE history (
        version INTEGER PRIMARY KEY, type TEXT NOT NULL,
        resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
        data BLOB NOT NULL, previous BLOB, checksum INTEGER NOT NULL
    );
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO counters VALUES ('version', 0);
    """,
)
"""Step n brings a file of schema n to n+1; append, never edit."""

REMEDY = (
    "stop the coordinator, keep a copy of the file, then restore it from a backup, "
    "or salvage it with `sqlite3 FILE .recover`, or move it away to start empty and apply the objects again"
)


class StoreUnusableError(Exception):
    """The database file must not be used; the message names the file and the remedy."""


class StoreFullError(Exception):
    """There was no space for the batch; nothing of it was kept."""


class Row(NamedTuple):
    """One change, as it is written."""

    version: int
    type: str
    key: Key
    data: bytes
    previous: bytes | None


class Database:
    """An open, exclusively locked file.

    Args:
        path: the file; created when absent, for its owner alone.
        max_bytes: size that the file may not exceed; 0 is the file system's limit.

    Raises:
        StoreUnusableError: not ours, newer than we are, damaged, locked, or not openable.
    """

    def __init__(self, path: Path, *, max_bytes: int = 0) -> None:
        self.path = path
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # Secrets are in it; the log inherits the mode
        except OSError as error:
            raise StoreUnusableError(
                f"{path}: cannot be opened ({error.strerror}): check that its directory exists, is writable"
            ) from error
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
            try:
                self._prepare(max_bytes)
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise self._refusal(error) from error

    def _refusal(self, error: sqlite3.Error) -> StoreUnusableError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StoreUnusableError(
                f"{self.path}: in use by another process; one coordinator owns the file at a time"
            )
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return StoreUnusableError(f"{self.path}: damaged ({error}): {REMEDY}")
        if code == sqlite3.SQLITE_FULL:
            return StoreUnusableError(
                f"{self.path}: no space left on its file system ({error}): free some, start again"
            )
        return StoreUnusableError(
            f"{self.path}: cannot be opened ({error}): check that its directory exists, is writable"
        )

    def _prepare(self, max_bytes: int) -> None:
        run = self._db.execute
        run("PRAGMA locking_mode=EXCLUSIVE")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA secure_delete=ON")  # Secrets that are deleted leave the file
        run("PRAGMA journal_size_limit=16777216")
        run("BEGIN IMMEDIATE")  # takes the exclusive lock now, not at the first write
        run("COMMIT")
        self._check()
        self._migrate()
        if max_bytes:
            (page,) = run("PRAGMA page_size").fetchone()
            run(f"PRAGMA max_page_count={max(8, max_bytes // page)}")

    def _check(self) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION_ID and tables:
            raise StoreUnusableError(f"{self.path}: an SQLite file of another program; choose another path")
        found = [row[0] for row in self._db.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise StoreUnusableError(f"{self.path}: damaged ({'; '.join(found)}): {REMEDY}")

    def _migrate(self) -> None:
        (schema,) = self._db.execute("PRAGMA user_version").fetchone()
        if schema > len(MIGRATIONS):
            raise StoreUnusableError(
                f"{self.path}: schema {schema} is newer than this program's {len(MIGRATIONS)}: "
                "run the newer program, or restore the backup taken before the upgrade"
            )
        for step in range(schema, len(MIGRATIONS)):
            self._db.executescript(
                f"BEGIN IMMEDIATE; {MIGRATIONS[step]}"
                f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={step + 1}; COMMIT;"
            )

    def version(self) -> int:
        """The last resourceVersion that was given out and kept."""
        (value,) = self._db.execute("SELECT value FROM counters WHERE name = 'version'").fetchone()
        return int(value)

    def objects(self) -> Iterator[tuple[Key, int, bytes]]:
        """Every object with its resourceVersion.

        Raises:
            StoreUnusableError: a row's bytes are not the ones that were written.
        """
        for resource, namespace, name, version, data, checksum in self._db.execute("SELECT * FROM objects"):
            key = Key(resource, namespace, name)
            self._verify(key, data, checksum)
            yield key, version, data

    def history(self) -> Iterator[Row]:
        """Every remembered change, oldest first.

        Raises:
            StoreUnusableError: a row's bytes are not the ones that were written.
        """
        rows = self._db.execute("SELECT * FROM history ORDER BY version")
        for version, kind, resource, namespace, name, data, previous, checksum in rows:
            key = Key(resource, namespace, name)
            self._verify(key, data, checksum)
            yield Row(version, kind, key, data, previous)

    def _verify(self, key: Key, data: bytes, checksum: int) -> None:
        if zlib.crc32(data) != checksum:
            where = "/".join(part for part in key if part)
            raise StoreUnusableError(f"{self.path}: damaged (the checksum of {where} is wrong): {REMEDY}")

    def commit(self, rows: Sequence[Row], forget_below: int) -> None:
        """Store a batch of changes, all or none, synced to the disk.

        Args:
            rows: changes in the order of their versions.
            forget_below: history older than this version is dropped in the same transaction.

        Raises:
            StoreFullError: no space; nothing was kept.
            sqlite3.Error: the file refused; nothing was kept.
        """
        run = self._db.execute
        try:
            run("BEGIN IMMEDIATE")
            for row in rows:
                self._write(row)
            run("UPDATE counters SET value = ? WHERE name = 'version'", (rows[-1].version,))
            run("DELETE FROM history WHERE version < ?", (forget_below,))
            run("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
                raise StoreFullError(str(error)) from error
            raise

    def _write(self, row: Row) -> None:
        checksum = zlib.crc32(row.data)
        if row.type == "DELETED":
            self._db.execute("DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", row.key)
        else:
            values = (*row.key, row.version, row.data, checksum)
            self._db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)", values)
        history = (row.version, row.type, *row.key, row.data, row.previous, checksum)
        self._db.execute("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?)", history)

    def close(self) -> None:
        """Fold the log into the file and release it."""
        self._db.close()
