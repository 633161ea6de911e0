"""Steps that take their time outside the API: what was asked for, how it stands, when to try again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from proto.errors import DpuError

FIRST_RETRY_S = 0.25
SLOWEST_RETRY_S = 10.0
FINAL_RETRY_S = 20.0
"""Pause after an error that will not go away by itself; somebody may have changed something by then."""

SECRET_RETRY_S = 2.0
"""Pause after a Secret was missing: the API is asked for that one name, which costs next to nothing."""


class StepKind(Enum):
    """What a step does."""

    CLEAR = "clear"
    SEED = "seed"
    PLUG = "plug"
    UNPLUG = "unplug"
    POWER_ON = "power-on"
    SHUT_DOWN = "shut-down"
    POWER_OFF = "power-off"
    PROBE = "probe"
    RELEASE = "release"


class StepState(Enum):
    """How a step stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do.

    Attributes:
        target: NIC name or port id; empty where a machine has one only.
        fingerprint: of all that the result depends on; a step with another one is another step.
    """

    kind: StepKind
    target: str = ""
    fingerprint: str = ""

    @property
    def key(self) -> "StepKey":
        """What there is at most one of at a time."""
        return (self.kind, self.target)


StepKey = tuple[StepKind, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeen:
    """How a step stands.

    Attributes:
        attempts: tries so far, the running one included.
        error: of the last try that ended, None when that was good or there was none.
        ended_at: when the last try ended.
        result: what it told, in one word or sentence.
    """

    step: Step
    state: StepState
    attempts: int = 1
    error: DpuError | None = None
    ended_at: datetime | None = None
    result: str = ""


Steps = Mapping[StepKey, StepSeen]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a look at a step says.

    Attributes:
        start: it is to be started now.
        wake_s: seconds until the next try, where it waits for that.
    """

    done: bool = False
    start: bool = False
    wake_s: float | None = None
    error: DpuError | None = None
    attempts: int = 0
    result: str = ""


def judge(seen: Steps, step: Step, now: datetime) -> Verdict:
    """Whether `step` is done, to be started, or to be waited for."""
    found = seen.get(step.key)
    if found is None or found.step != step:
        return Verdict(start=True)
    if found.state is StepState.DONE:
        return Verdict(done=True, attempts=found.attempts, result=found.result)
    if found.state is StepState.RUNNING or found.error is None or found.ended_at is None:
        return Verdict(error=found.error, attempts=found.attempts)
    left = (found.ended_at + timedelta(seconds=pause_s(found.error, found.attempts)) - now).total_seconds()
    return Verdict(start=left <= 0, wake_s=max(left, 0.0), error=found.error, attempts=found.attempts)


def pause_s(error: DpuError, attempts: int) -> float:
    """Seconds between a failed try and the next."""
    if not error.retry:
        return SECRET_RETRY_S if "SecretRef" in error.field else FINAL_RETRY_S
    return min(FIRST_RETRY_S * 2.0 ** min(attempts - 1, 10), SLOWEST_RETRY_S)
