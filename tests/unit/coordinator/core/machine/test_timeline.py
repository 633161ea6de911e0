"""Phases entered and left, and what a deployment took."""

from datetime import UTC, datetime, timedelta

from coordinator.core.machine.deadlines import Deadlines, time_left
from coordinator.core.machine.timeline import KEPT, advance, deployment, entered, first_seen, passed_over
from coordinator.core.objects.machine import Machine, Phase, TimelineEntry

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def walk(*steps: tuple[Phase, float]) -> list[TimelineEntry]:
    timeline: list[TimelineEntry] = []
    for phase, seconds in steps:
        timeline = advance(timeline, phase, phase.value, attempts=1, now=at(seconds))
    return timeline


def test_a_phase_that_is_left_has_its_end_its_seconds_and_its_outcome() -> None:
    timeline = walk((Phase.PENDING, 0), (Phase.CLONING, 1.5))
    after = advance(timeline, Phase.ATTACHING, "now", attempts=1, now=at(2), outcome="1 volume made")
    assert [(entry.seconds, entry.message) for entry in after] == [
        (1.5, "Pending"),
        (0.5, "1 volume made"),
        (None, "now"),
    ]


def test_the_newest_phase_is_updated_in_place_and_attempts_never_fall() -> None:
    timeline = walk((Phase.CLONING, 0))
    after = advance(timeline, Phase.CLONING, "again", attempts=3, now=at(9))
    later = advance(after, Phase.CLONING, "still", attempts=1, now=at(10))
    assert [(entry.message, entry.attempts, entry.started_at) for entry in later] == [
        ("still", 3, timeline[0].started_at)
    ]


def test_only_the_newest_entries_are_kept() -> None:
    phases = [(Phase.STOPPED if n % 2 else Phase.RUNNING, float(n)) for n in range(KEPT + 10)]
    timeline = walk(*phases)
    assert len(timeline) == KEPT
    assert timeline[-1].phase is Phase.STOPPED


def test_own_seconds_are_all_but_power_and_boot() -> None:
    timeline = walk(
        (Phase.PENDING, 0), (Phase.CLONING, 1), (Phase.POWERING_ON, 2), (Phase.BOOTING, 5), (Phase.RUNNING, 12)
    )
    took = deployment(timeline, at(12))
    assert took is not None
    assert (took.total_seconds, took.own_seconds) == (12.0, 2.0)


def test_a_timeline_that_lost_its_beginning_tells_nothing_of_the_deployment() -> None:
    assert deployment(walk((Phase.RUNNING, 0)), at(1)) is None
    assert deployment([], at(1)) is None


def test_a_young_machine_begins_now_and_an_old_one_when_it_was_created() -> None:
    assert first_seen(T0, at(0.8)) == at(0.8)
    assert first_seen(T0, at(60)) == T0
    assert first_seen(None, at(1)) == at(1)


def test_phases_that_were_over_before_their_turn_are_named() -> None:
    assert passed_over(Phase.CLONING, Phase.POWERING_ON) == [Phase.ATTACHING, Phase.PLUGGING]
    assert passed_over(Phase.STOPPED, Phase.POWERING_ON) == []
    assert passed_over(Phase.RUNNING, Phase.POWERING_ON) == []


def test_a_deadline_counts_from_the_newest_entry() -> None:
    timeline = [entry.json() for entry in walk((Phase.PENDING, 0), (Phase.CLONING, 1))]
    found = Machine.parse({"metadata": {}, "spec": {"image": "x"}, "status": {"timeline": timeline}})
    limits = Deadlines(work_s=10)
    assert time_left(found, Phase.CLONING, limits, at(4)) == 7
    assert time_left(found, Phase.ATTACHING, limits, at(4)) == 10
    assert time_left(found, Phase.RUNNING, limits, at(4)) is None
    assert entered(found.status.timeline, Phase.PENDING) is None
