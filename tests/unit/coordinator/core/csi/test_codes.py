"""What reasons are called on the CSI wire, and what the controllers' words mean."""

import pytest

from coordinator.core.csi.codes import OPEN_CODES, Standing, csi_code, standing
from coordinator.core.csi.verdict import delay, refusal
from coordinator.core.objects.meta import Condition
from proto.reasons import Reason


def condition(reason: str, status: str = "False", generation: int = 1) -> list[Condition]:
    return [
        Condition(
            type="Ready",
            status=status,
            reason=reason,
            message="the words",
            last_transition_time="2026-01-01T00:00:00Z",
            observed_generation=generation,
        )
    ]


@pytest.mark.parametrize("reason", list(Reason))
def test_no_reason_is_internal_on_the_wire(reason: Reason) -> None:
    assert csi_code(reason) not in {"INTERNAL", "UNIMPLEMENTED", "UNKNOWN"}
    assert (standing(reason) is Standing.OPEN) == (csi_code(reason) in OPEN_CODES)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.INVALID, "INVALID_ARGUMENT"),
        (Reason.NOT_FOUND, "NOT_FOUND"),
        (Reason.ALREADY_EXISTS, "ALREADY_EXISTS"),
        (Reason.IN_USE, "FAILED_PRECONDITION"),
        (Reason.IN_FLIGHT, "ABORTED"),
        (Reason.CONFLICT, "ABORTED"),
        (Reason.EXHAUSTED, "RESOURCE_EXHAUSTED"),
        (Reason.STORAGE_FULL, "RESOURCE_EXHAUSTED"),
        (Reason.OUT_OF_RANGE, "OUT_OF_RANGE"),
        (Reason.DEADLINE, "DEADLINE_EXCEEDED"),
        (Reason.UNAVAILABLE, "UNAVAILABLE"),
        (Reason.INTERNAL, "UNAVAILABLE"),
        (Reason.FORBIDDEN, "UNAVAILABLE"),
        (Reason.UNSUPPORTED, "INVALID_ARGUMENT"),
    ],
)
def test_codes_are_those_of_the_specification(reason: Reason, code: str) -> None:
    assert csi_code(reason) == code


@pytest.mark.parametrize(
    "reason", ["Waiting", "Ready", "Unavailable", "DeadlineExceeded", "InUse", "Internal", "CatchingUp", "InFlight"]
)
def test_while_the_controllers_go_on_nothing_is_refused(reason: str) -> None:
    assert refusal(condition(reason), 1) is None


@pytest.mark.parametrize("reason", ["Invalid", "StorageFull", "Exhausted", "NotFound", "WrongState", "Unsupported"])
def test_what_the_controllers_give_up_is_refused_with_their_words(reason: str) -> None:
    error = refusal(condition(reason), 1)
    assert error is not None
    assert error.reason is Reason(reason)
    assert str(error) == "the words"


def test_words_about_an_older_spec_or_of_success_refuse_nothing() -> None:
    assert refusal(condition("Invalid", generation=1), 2) is None
    assert refusal(condition("Invalid", status="True"), 1) is None
    assert refusal([], 1) is None


def test_a_delay_says_what_is_waited_for_and_whether_somebody_is_away() -> None:
    away, slow, new = (delay(found, "volume v") for found in (condition("Unavailable"), condition("Waiting"), []))
    assert (away.reason, slow.reason, new.reason) == (Reason.UNAVAILABLE, Reason.DEADLINE, Reason.DEADLINE)
    assert "the words" in str(away)
    assert "just begun" in str(new)
    assert all("the same call again" in error.remedy for error in (away, slow, new))
