"""kill -9 in the middle of writing: what was answered is there, nothing is there by half."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.api.store import Store

WRITER = """
import asyncio, sys
from pathlib import Path
from coordinator.api.store import Store
from tests.unit.coordinator.api.conftest import drop, put

async def one(store, lane, start):
    for number in range(start, 1_000_000):
        if number % 5 == 4:
            await drop(store, f"lane-{lane}")
            print(lane, number, "gone", flush=True)
        else:
            await put(store, f"lane-{lane}", number=number, again=[number] * 300)
            print(lane, number, "put", flush=True)

async def main():
    store = Store.open(Path(sys.argv[1]))
    await store.start()
    starts = [next((r.obj()["spec"]["number"] + 1 for r in store.scan("things", "ns") if r.key.name == f"lane-{lane}"),
                   int(sys.argv[2])) for lane in range(4)]
    await asyncio.gather(*(one(store, lane, start) for lane, start in enumerate(starts)))

asyncio.run(main())
"""


def answered(lines: list[str]) -> dict[str, tuple[int, str]]:
    """The last thing that each lane was told."""
    found = {}
    for line in lines:
        lane, number, what = line.split()
        found[f"lane-{lane}"] = (int(number), what)
    return found


@pytest.mark.faults
def test_a_killed_writer_leaves_a_consistent_store(tmp_path: Path) -> None:
    path, chance = tmp_path / "s.sqlite", random.Random(7)
    version = 0
    for round_ in range(6):
        command = [sys.executable, "-c", WRITER, str(path), str(round_ * 100_000)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randint(5, 400))]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait(20)
        process.stdout.close()
        told = answered([line for line in lines if line.endswith("\n")])
        store = Store.open(path)
        kept = {record.key.name: record.obj() for record in store.scan("things", "ns")}
        for lane, (number, what) in told.items():
            check(lane, number, what, kept)
        assert store.version > version
        version = store.version
        store._database.close()


def check(lane: str, number: int, what: str, kept: dict[str, dict[str, dict[str, object]]]) -> None:
    """A lane is where it was told to be, or one unanswered step further; whole in any case."""
    found = kept.get(lane)
    if found is None:
        assert what == "gone" or (number + 1) % 5 == 4
        return
    seen = found["spec"]["number"]
    assert found["spec"]["again"] == [seen] * 300
    assert seen in {number, number + 1}
    assert what == "put" or seen == number + 1
