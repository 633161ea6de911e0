"""The SQLite file: what is refused when it is opened, and what a failed commit leaves."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.api.database import APPLICATION_ID, MIGRATIONS, Database, Row, StoreFullError, StoreUnusableError
from coordinator.api.objects import Key, encode


def row(version: int, name: str, size_bytes: int = 10) -> Row:
    return Row(version, "ADDED", Key("things", "ns", name), encode({"x": "y" * size_bytes}), None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def filled(path: Path) -> Path:
    database = Database(path)
    for number in range(1, 60):
        database.commit([row(number, f"t{number}", 500)], 0)
    database.close()
    return path


def test_what_was_committed_is_read_back(path: Path) -> None:
    database = Database(path)
    database.commit([row(1, "a"), row(2, "b")], 0)
    database.commit([Row(3, "DELETED", Key("things", "ns", "a"), b"{}", b'{"x":1}')], 2)
    database.close()
    database = Database(path)
    assert [(found.name, version) for found, version, _ in database.objects()] == [("b", 2)]
    assert [(found.version, found.type, found.previous) for found in database.history()] == [
        (2, "ADDED", None),
        (3, "DELETED", b'{"x":1}'),
    ]
    assert database.version() == 3
    database.close()


def test_others_cannot_read_the_file(path: Path) -> None:
    database = Database(path)
    database.commit([row(1, "a")], 0)
    assert {found.stat().st_mode & 0o777 for found in path.parent.glob("store.sqlite*")} == {0o600}
    database.close()


def test_a_damaged_page_is_refused_with_file_and_remedy(filled: Path) -> None:
    data = bytearray(filled.read_bytes())
    middle = (len(data) // 4096 // 2) * 4096
    data[middle : middle + 200] = b"\xa5" * 200
    filled.write_bytes(data)
    with pytest.raises(StoreUnusableError) as refused:
        list(Database(filled).objects())
    assert str(filled) in str(refused.value)
    assert "backup" in str(refused.value)


def test_a_file_cut_short_is_refused(filled: Path) -> None:
    data = filled.read_bytes()
    filled.write_bytes(data[: len(data) // 2 // 4096 * 4096])
    with pytest.raises(StoreUnusableError, match="damaged"):
        Database(filled)


def test_a_changed_byte_inside_an_object_is_noticed(filled: Path) -> None:
    data = filled.read_bytes()
    where = data.index(b"yyyyyyyy")
    filled.write_bytes(data[:where] + b"z" + data[where + 1 :])
    database = Database(filled)  # the pages are in order, only the checksum tells
    with pytest.raises(StoreUnusableError, match="checksum of things/ns/t"):
        [*database.objects(), *database.history()]
    database.close()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"this is a letter to my aunt, not a database" * 100)
    with pytest.raises(StoreUnusableError, match="damaged"):
        Database(path)


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.commit()
    other.close()
    with pytest.raises(StoreUnusableError, match="another program"):
        Database(path)
    assert sqlite3.connect(path).execute("SELECT count(*) FROM bookmarks").fetchone() == (0,)


def test_the_schema_of_a_newer_program_is_refused(filled: Path) -> None:
    other = sqlite3.connect(filled)
    other.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    other.close()
    with pytest.raises(StoreUnusableError, match="newer than this program"):
        Database(filled)


def test_a_file_of_an_older_schema_is_migrated(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = "CREATE TABLE extra (x INTEGER); INSERT INTO extra SELECT count(*) FROM objects;"
    monkeypatch.setattr("coordinator.api.database.MIGRATIONS", (*MIGRATIONS, step))
    for _ in range(2):  # the second time there is nothing to do
        Database(filled).close()
        other = sqlite3.connect(filled)
        assert other.execute("SELECT x FROM extra").fetchall() == [(59,)]
        assert other.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
        assert other.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        other.close()


def test_a_failed_migration_changes_nothing(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.api.database.MIGRATIONS", (*MIGRATIONS, "DROP TABLE objects; DROP TABLE nosuch;"))
    with pytest.raises(StoreUnusableError):
        Database(filled)
    monkeypatch.undo()
    database = Database(filled)
    assert len(list(database.objects())) == 59
    database.close()


def test_a_second_process_is_refused(filled: Path) -> None:
    database = Database(filled)
    code = (
        "import sys; from pathlib import Path; from coordinator.api.database import Database, StoreUnusableError\n"
        "try: Database(Path(sys.argv[1]))\n"
        "except StoreUnusableError as error: print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(filled)], capture_output=True, text=True, check=True, timeout=60
    )
    database.close()
    assert "in use by another process" in told.stdout


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusableError, match="directory exists"):
        Database(tmp_path / "no" / "store.sqlite")


def test_a_full_file_keeps_nothing_of_the_batch(path: Path) -> None:
    database = Database(path, max_bytes=200_000)
    database.commit([row(1, "small")], 0)
    with pytest.raises(StoreFullError):
        database.commit([row(2, "next"), row(3, "huge", 400_000)], 0)
    assert [found.name for found, _, _ in database.objects()] == ["small"]
    assert database.version() == 1
    database.commit([row(4, "after")], 0)
    database.close()
    database = Database(path)
    assert [found.name for found, _, _ in database.objects()] == ["after", "small"]
    database.close()
