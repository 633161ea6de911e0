"""Records of loops: whole files, bounded in number and size, and each can be decided again."""

from dataclasses import replace
from pathlib import Path

from coordinator.controllers.pool.records import Bounds, Records, read_record
from coordinator.core.pool.observation import GroupObservation, Observation
from coordinator.core.pool.options import PoolOptions
from coordinator.core.pool.record import LoopRecord, record, replay
from coordinator.core.pool.state import PoolState
from tests.fakes.fleet import node, pending_pod


def a_loop(now_s: float = 1_800_000_000.0) -> LoopRecord:
    group = GroupObservation("work", 0, 10, 0, template=node("template"))
    pods = [pending_pod(f"p{number}") for number in range(3)]
    return record(Observation(now_s, pods=pods, groups=[group]), PoolState(), PoolOptions())


def test_a_record_is_decided_again_as_it_was(tmp_path: Path) -> None:
    made = a_loop()
    assert [growth.add for growth in made.decision.grow] == [3]
    again = replay(read_record(Records(tmp_path / "loops").write(made)))
    assert again.differences == ()
    assert again.now == made.decision


def test_the_oldest_records_make_room(tmp_path: Path) -> None:
    records = Records(tmp_path, Bounds(loops=3))
    written = [records.write(a_loop()) for _ in range(5)]
    assert records.files() == written[-3:]


def test_the_bytes_of_all_records_are_bounded_and_the_newest_stays(tmp_path: Path) -> None:
    records = Records(tmp_path, Bounds(loops=10, total_bytes=1))
    written = [records.write(a_loop()) for _ in range(3)]
    assert records.files() == written[-1:]


def test_the_state_is_taken_up_from_the_newest_record_that_can_be_read(tmp_path: Path) -> None:
    records = Records(tmp_path)
    made = a_loop()
    state = PoolState(unneeded_since={"n1": 5.0}, added_s=7.0)
    records.write(replace(made, decision=replace(made.decision, state=state)))
    damaged = records.write(made)
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert records.newest_state() == state


def test_without_records_the_state_is_fresh(tmp_path: Path) -> None:
    assert Records(tmp_path / "none").newest_state() == PoolState()
