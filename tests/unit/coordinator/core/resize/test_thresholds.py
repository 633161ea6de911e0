from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.resize.thresholds import Resource, Rule, Sample, Verdict, Watched, changed, judge
from proto.errors import DpuError

RULE = Rule(resource=Resource.CPU, minimum=200, maximum=4000)


def watch(rule: Rule, *samples: Sample) -> list[Verdict]:
    """Verdicts on samples, each change being made at once."""
    watched, told = Watched(), []
    for sample in samples:
        verdict = judge(rule, watched, sample)
        watched = verdict.watched if verdict.limit is None else changed(verdict.watched, sample.at)
        told.append(verdict)
    return told


def busy(at: float, **changes: Any) -> Sample:
    return replace(Sample(at=at, limit=1000, used=900, room=10_000), **changes)


def idle(at: float, **changes: Any) -> Sample:
    return replace(Sample(at=at, limit=1000, used=100, room=10_000), **changes)


def test_a_peak_of_one_sample_changes_nothing() -> None:
    assert [each.limit for each in watch(RULE, busy(0), idle(1), busy(2))] == [None, None, None]


def test_a_lasting_peak_raises_the_limit_so_that_use_is_what_is_aimed_at() -> None:
    told = watch(RULE, busy(0), busy(1))
    assert told[1].limit == 1500
    assert told[1].why == "900 of 1000 cpu in use: raised to 1500"


def test_a_throttled_container_takes_the_whole_step() -> None:
    assert watch(RULE, busy(0, throttled=True, used=500), busy(1, throttled=True, used=500))[1].limit == 2000


def test_a_raise_is_bounded_by_step_maximum_and_node() -> None:
    full = busy(1, used=1000)
    assert watch(replace(RULE, step=1.2), busy(0), full)[1].limit == 1200
    assert watch(replace(RULE, maximum=1100), busy(0), full)[1].limit == 1100
    tight = watch(RULE, busy(0), replace(full, room=50))[1]
    assert tight.limit == 1050
    assert "the node has no more" in tight.why
    assert "no room" in watch(RULE, busy(0), replace(full, room=0))[1].why


def test_after_a_change_it_rests() -> None:
    told = watch(RULE, busy(0), busy(1), busy(2, limit=1500, used=1500), busy(3, limit=1500, used=1500))
    assert told[3].limit is None
    assert "rests for 3 s" in told[3].why
    assert watch(RULE, busy(0), busy(1), busy(2), busy(4))[3].limit == 1500


def test_shrinking_takes_long_and_never_goes_under_the_floor() -> None:
    assert watch(RULE, idle(0), idle(119))[1].limit is None
    assert watch(RULE, idle(0), idle(120))[1].limit == 500
    assert watch(RULE, idle(0, floor=700), idle(120, floor=700))[1].limit == 700
    assert "at its minimum" in watch(replace(RULE, minimum=1000), idle(0), idle(500))[1].why


def test_at_the_maximum_it_says_so() -> None:
    assert "at its maximum" in watch(replace(RULE, maximum=1000), busy(0), busy(9))[1].why


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"minimum": 0}, "minimum"),
        ({"minimum": 5000}, "minimum"),
        ({"lower_at": 0.7}, "raiseAt"),
        ({"raise_at": 1.1}, "raiseAt"),
        ({"step": 1.0}, "step"),
        ({"lower_after_s": -1.0}, "raiseAfterSeconds"),
        ({"lower_pause_s": -1.0}, "raisePauseSeconds"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(DpuError) as refused:
        replace(RULE, **changes)
    assert refused.value.field == f"spec.cpu.{field}"


@given(st.lists(st.integers(0, 6000), min_size=1, max_size=300), st.integers(200, 4000))
def test_the_limit_stays_within_its_bounds_and_steady_use_settles(uses: list[int], limit: int) -> None:
    watched, changes = Watched(), 0
    steady = [*uses, *[min(uses[-1], 2400)] * 2000]
    for at, used in enumerate(steady):
        sample = Sample(at=float(at), limit=limit, used=min(used, limit), throttled=used > limit, room=10_000)
        verdict = judge(RULE, watched, sample)
        watched = verdict.watched
        if verdict.limit is not None:
            assert RULE.minimum <= verdict.limit <= RULE.maximum
            assert verdict.limit <= limit * RULE.step
            assert verdict.limit >= limit / RULE.step - 1
            watched, limit = changed(watched, at), verdict.limit
            changes += at > len(uses) + 1500
    assert changes == 0, "steady use must not flap"
