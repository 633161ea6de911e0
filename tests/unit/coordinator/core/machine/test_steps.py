"""When a step is started, waited for, and tried again."""

from datetime import UTC, datetime, timedelta

from coordinator.core.machine.steps import (
    FINAL_RETRY_S,
    SLOWEST_RETRY_S,
    Step,
    StepKind,
    StepSeen,
    StepState,
    judge,
    pause_s,
)
from proto.errors import DpuError
from proto.reasons import Reason

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STEP = Step(kind=StepKind.PLUG, target="eth0", fingerprint="f")
AWAY = DpuError(Reason.UNAVAILABLE, "away")


def failed(error: DpuError, attempts: int, ago_s: float) -> dict[tuple[StepKind, str], StepSeen]:
    ended = NOW - timedelta(seconds=ago_s)
    seen = StepSeen(step=STEP, state=StepState.FAILED, attempts=attempts, error=error, ended_at=ended)
    return {STEP.key: seen}


def test_a_step_that_was_never_made_is_started() -> None:
    assert judge({}, STEP, NOW).start


def test_a_step_for_something_else_is_another_step() -> None:
    other = Step(kind=StepKind.PLUG, target="eth0", fingerprint="other")
    assert judge({STEP.key: StepSeen(step=other, state=StepState.DONE)}, STEP, NOW).start


def test_a_step_under_way_is_waited_for_and_shows_its_last_error() -> None:
    verdict = judge({STEP.key: StepSeen(step=STEP, state=StepState.RUNNING, error=AWAY)}, STEP, NOW)
    assert not verdict.start
    assert not verdict.done
    assert verdict.error is AWAY


def test_a_done_step_tells_its_result() -> None:
    assert judge({STEP.key: StepSeen(step=STEP, state=StepState.DONE, result="pf0vf1")}, STEP, NOW).result == "pf0vf1"


def test_a_failed_step_waits_its_pause_and_begins_again() -> None:
    early = judge(failed(AWAY, 3, 0.5), STEP, NOW)
    assert not early.start
    assert early.wake_s == 0.5
    assert judge(failed(AWAY, 3, 1.1), STEP, NOW).start


def test_pauses_grow_to_a_limit_and_are_longest_for_what_will_not_pass() -> None:
    assert [pause_s(AWAY, n) for n in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert pause_s(AWAY, 50) == SLOWEST_RETRY_S
    assert pause_s(DpuError(Reason.INVALID, "no"), 1) == FINAL_RETRY_S
