"""What the embedded API costs, beside the floor that the disk sets in the same run.

The floor is one synced SQLite commit of one row, which no durable write can beat alone; writes that come together
share a commit and do.
"""

import asyncio
import json
import sqlite3
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from coordinator.api.history import Change
from coordinator.api.objects import Key, Obj, encode
from coordinator.api.store import Store
from tests.fakes.api import ADMIN_TOKEN, RunningApi, running_api

VOLUMES = "/apis/dpupool.io/v1alpha1/namespaces/default/volumes"
ROWS = 500
MANY = 10_000


def body(number: int) -> Obj:
    source = {"imageRef": {"name": "debian"}}
    header = {"apiVersion": "dpupool.io/v1alpha1", "kind": "Volume"}
    metadata = {"name": f"v{number:05}", "namespace": "default", "uid": f"uid-{number}"}
    return header | {"metadata": metadata, "spec": {"size": "1Gi", "source": source}}


def floor(path: Path) -> float:
    """Synced commits of one row per second, bare SQLite."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
    raw = encode(body(0))
    began = time.perf_counter()
    for number in range(ROWS):
        database.execute("INSERT INTO t VALUES (?, ?)", (number, raw))
    rate = ROWS / (time.perf_counter() - began)
    database.close()
    return rate


async def load(lanes: int, count: int, act: Callable[[int], Awaitable[None]]) -> tuple[float, list[float]]:
    """Acts per second with so many at a time, and how long each took in milliseconds."""
    todo, times = iter(range(count)), []

    async def lane() -> None:
        for number in todo:
            began = time.perf_counter()
            await act(number)
            times.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    return count / (time.perf_counter() - began), sorted(times)


def tell(name: str, rate: float, base: float, times: list[float]) -> None:
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99) - 1]
    print(f"{name:<34} {rate:8.0f}/s  {rate / base:6.2f} x floor   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms")


@pytest.mark.bench
async def test_writes_against_the_floor_of_the_disk(tmp_path: Path) -> None:
    base = floor(tmp_path / "floor.sqlite")
    print(f"\n{'bare SQLite, one synced row':<34} {base:8.0f}/s  {1:6.2f} x floor")
    for lanes in (1, 16, 64):
        store = Store.open(tmp_path / f"store-{lanes}.sqlite")
        await store.start()

        async def write(number: int, store: Store = store) -> None:
            key = Key("volumes", "default", f"v{number}")
            async with store.editing(key) as found:
                await store.commit(Change.ADDED, key, body(number), found)

        rate, times = await load(lanes, ROWS * 2, write)
        tell(f"store, {lanes} at a time", rate, base, times)
        await store.close()


def session(api: RunningApi) -> aiohttp.ClientSession:
    assert api.pki is not None
    context = ssl.create_default_context(cafile=str(api.pki.ca_file))
    connector = aiohttp.TCPConnector(limit=0, ssl=context)
    return aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})


@pytest.mark.bench
async def test_requests_over_tls(tmp_path: Path) -> None:
    base = floor(tmp_path / "floor.sqlite")
    print(f"\n{'bare SQLite, one synced row':<34} {base:8.0f}/s  {1:6.2f} x floor")
    with running_api(tmp_path) as api:
        async with session(api) as http:
            url = api.url + VOLUMES
            merge = {"Content-Type": "application/merge-patch+json"}

            async def create(number: int) -> None:
                async with http.post(url, json=body(number)) as answer:
                    assert answer.status == 201, await answer.text()

            async def report(number: int) -> None:
                status = {"status": {"phase": "Available", "allocatedBytes": number}}
                async with http.patch(f"{url}/v{number:05}/status", data=json.dumps(status), headers=merge) as answer:
                    assert answer.status == 200, await answer.text()

            async def read(number: int) -> None:
                async with http.get(f"{url}/v{number:05}") as answer:
                    assert answer.status == 200

            for name, lanes, act in (("create", 1, create), ("status patch", 1, report), ("get", 1, read)):
                rate, times = await load(lanes, ROWS, act)
                tell(f"{name}, {lanes} at a time", rate, base, times)
            rate, times = await load(32, ROWS, report)
            tell("status patch, 32 at a time", rate, base, times)


@pytest.mark.bench
async def test_ten_thousand_objects_are_listed(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "api.sqlite")
    await store.start()
    keys = [Key("volumes.dpupool.io", "default", f"v{number:05}") for number in range(MANY)]
    await asyncio.gather(*(store.commit(Change.ADDED, key, body(n), None) for n, key in enumerate(keys)))
    await store.close()
    began = time.perf_counter()
    with running_api(tmp_path) as api:
        print(f"\nstart with {MANY} objects, file checked: {time.perf_counter() - began:.2f} s")
        async with session(api) as http:
            table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
            for name, query, headers in (
                ("whole list", "", {}),
                ("label selector, none match", "?labelSelector=a%3Db", {}),
                ("field selector, one matches", "?fieldSelector=metadata.name%3Dv00007", {}),
                ("page of 500", "?limit=500", {}),
                ("page of 500 as a table", "?limit=500", table),
            ):
                began = time.perf_counter()
                async with http.get(f"{api.url}{VOLUMES}{query}", headers=headers) as answer:
                    size = len(await answer.read())
                print(f"{name:<34} {(time.perf_counter() - began) * 1000:8.1f} ms   {size / 1024:8.0f} KiB")
