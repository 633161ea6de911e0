"""The store: order, durability, shared transactions, full disks."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.api.errors import ApiError
from coordinator.api.history import Bounds, Change
from coordinator.api.store import Store
from tests.unit.coordinator.api.conftest import drop, key, put, thing


def names(store: Store) -> list[str]:
    return [record.key.name for record in store.scan("things", "ns")]


async def test_a_restart_finds_objects_versions_and_history(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    store = Store.open(path)
    await store.start()
    first = await put(store, "a", n=1)
    await put(store, "b", n=1)
    await put(store, "a", n=2)
    await drop(store, "b")
    await store.close()
    store = Store.open(path)
    assert store.version == 4
    assert names(store) == ["a"]
    assert [(event.change, event.record.key.name) for event in store.ring("things").after(first.version)] == [
        (Change.ADDED, "b"),
        (Change.MODIFIED, "a"),
        (Change.DELETED, "b"),
    ]
    assert [record.key.name for record in store.scan_at("things", "ns", 2)] == ["a", "b"]
    await store.start()
    assert (await put(store, "c")).version == 5
    await store.close()


async def test_an_object_carries_its_own_version(store: Store) -> None:
    record = await put(store, "a")
    assert record.obj()["metadata"]["resourceVersion"] == str(record.version)
    assert store.get(key("a")) == record


async def test_edits_of_one_object_follow_each_other(store: Store) -> None:
    await put(store, "a", n=0)

    async def increment() -> None:
        async with store.editing(key("a")) as found:
            assert found is not None
            obj = found.obj()
            obj["spec"]["n"] += 1
            await store.commit(Change.MODIFIED, key("a"), obj, found)

    await asyncio.gather(*(increment() for _ in range(50)))
    found = store.get(key("a"))
    assert found is not None
    assert found.obj()["spec"]["n"] == 50


async def test_writes_that_come_together_share_transactions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    commit = store._database.commit

    def counted(rows: list[object], forget: int) -> None:
        sizes.append(len(rows))
        commit(rows, forget)  # type: ignore[arg-type]

    monkeypatch.setattr(store._database, "commit", counted)
    await asyncio.gather(*(put(store, f"t{number:03}") for number in range(100)))
    assert sum(sizes) == 100
    assert len(sizes) < 20
    assert [event.version for event in store.ring("things").after(0)] == list(range(1, 101))


async def test_history_is_bounded_and_says_where_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    store = Store.open(path, bounds=Bounds(events=10))
    await store.start()
    for number in range(30):
        await put(store, "a", n=number)
    ring = store.ring("things")
    assert len(ring.after(0)) == 10
    assert ring.floor == 20
    with pytest.raises(ApiError) as refused:
        store.scan_at("things", "ns", 15)
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    await store.close()
    store = Store.open(path, bounds=Bounds(events=10))
    assert store.ring("things").floor >= 19
    assert len(store.ring("things").after(0)) <= 11
    await store.start()
    await store.close()


async def test_history_is_bounded_by_size_too(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.sqlite", bounds=Bounds(events=1000, bytes=50_000))
    await store.start()
    for number in range(20):
        await put(store, "a", n=number, pad="x" * 10_000)
    assert 1 <= len(store.ring("things").after(0)) <= 5
    await store.close()


async def test_one_object_too_large_does_not_take_its_neighbours_down(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.sqlite", max_bytes=300_000)
    await store.start()
    results = await asyncio.gather(
        put(store, "small-1"), put(store, "huge", pad="x" * 600_000), put(store, "small-2"), return_exceptions=True
    )
    refused = results[1]
    assert isinstance(refused, ApiError)
    assert (refused.code, refused.reason) == (507, "StorageFull")
    assert "nothing" in refused.message or "not stored" in refused.message
    assert names(store) == ["small-1", "small-2"]
    assert store.get(key("huge")) is None
    await put(store, "small-3")
    await store.close()
    store = Store.open(tmp_path / "s.sqlite")
    assert names(store) == ["small-1", "small-2", "small-3"]
    await store.start()
    await store.close()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", place], check=True)


async def test_a_full_disk_refuses_writes_and_recovers(tiny_disk: Path) -> None:
    store = Store.open(tiny_disk / "s.sqlite")
    await store.start()
    stored, refused = 0, None
    while refused is None:
        try:
            await put(store, f"t{stored:04}", pad="x" * 5000)
            stored += 1
        except ApiError as error:
            refused = error
    assert refused.code == 507
    assert str(tiny_disk / "s.sqlite") in refused.message
    assert stored > 5
    assert len(names(store)) == stored
    assert store.trouble
    await asyncio.to_thread(lambda: subprocess.run(["mount", "-o", "remount,size=4m", tiny_disk], check=True))
    await put(store, "after")
    assert not store.trouble
    await store.close()
    store = Store.open(tiny_disk / "s.sqlite")
    assert len(names(store)) == stored + 1
    await store.start()
    await store.close()


async def test_a_write_that_its_caller_gave_up_is_still_whole(store: Store) -> None:
    task = asyncio.create_task(put(store, "a", n=1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = store.get(key("a"))
    assert found is None or found.obj()["spec"] == {"n": 1}
    assert (await put(store, "a", n=2)).obj()["spec"] == {"n": 2}


async def test_a_fault_in_the_writer_is_told_to_those_who_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(rows: object, forget: int) -> None:
        raise MemoryError

    monkeypatch.setattr(store._database, "commit", fail)
    with pytest.raises(ApiError, match="MemoryError"):
        await asyncio.wait_for(put(store, "a"), 10)
    assert store.trouble
    monkeypatch.undo()
    await asyncio.wait_for(put(store, "a"), 10)
    assert not store.trouble


async def test_no_write_is_taken_once_the_store_closes(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.sqlite")
    await store.start()
    await store.close()
    with pytest.raises(ApiError) as refused:
        await store.commit(Change.ADDED, key("a"), thing("a"), None)
    assert refused.value.code == 503
