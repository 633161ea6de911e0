"""When a running container gets another size: thresholds with hysteresis, steps, bounds, cool-down, room on the node.

One resource at a time. Growing is quick, for somebody waits; shrinking is slow, for taking too early costs more than
keeping too long. Time is an argument; the same samples give the same decisions.
"""

from dataclasses import dataclass, replace
from enum import Enum

from proto.errors import DpuError
from proto.reasons import Reason


class Resource(Enum):
    """What is scaled; amounts are thousandths of a CPU, and bytes."""

    CPU = "cpu"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one resource of a container follows its use.

    Attributes:
        minimum, maximum: bounds of the limit.
        raise_at: part of the limit in use from which on it grows.
        lower_at: part of the limit in use below which it shrinks; under `aim`, so that a change is not undone at once.
        aim: part of the new limit that the present use should be.
        step: largest factor of one change, up or down.
        raise_after_s, lower_after_s: how long use must stay beyond the threshold.
        raise_pause_s, lower_pause_s: since the last change of the limit.
    """

    resource: Resource
    minimum: int
    maximum: int
    raise_at: float = 0.8
    lower_at: float = 0.3
    aim: float = 0.6
    step: float = 2.0
    raise_after_s: float = 1.0
    lower_after_s: float = 120.0
    raise_pause_s: float = 3.0
    lower_pause_s: float = 300.0

    def __post_init__(self) -> None:
        checks = (
            (0 < self.minimum <= self.maximum, "minimum", "0 < minimum <= maximum"),
            (0 < self.lower_at < self.aim < self.raise_at <= 1, "raiseAt", "0 < lowerAt < aim < raiseAt <= 1"),
            (self.step > 1, "step", "step > 1"),
            (min(self.raise_after_s, self.lower_after_s) >= 0, "raiseAfterSeconds", "no time is negative"),
            (min(self.raise_pause_s, self.lower_pause_s) >= 0, "raisePauseSeconds", "no time is negative"),
        )
        for holds, field, rule in checks:
            if not holds:
                raise DpuError(
                    Reason.INVALID,
                    f"the rule for {self.resource.value} does not keep {rule}",
                    field=f"spec.{self.resource.value}.{field}",
                    remedy=f"choose values with {rule}",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What must be remembered of a container between two samples; times in seconds of one clock."""

    above_since: float | None = None
    below_since: float | None = None
    changed_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look.

    Attributes:
        at: seconds of the clock that all times are of.
        limit: present limit.
        used: present use.
        throttled: the kernel held it back since the last sample; then use does not show what is wanted.
        floor: smallest limit that does no harm, such as memory in use and a margin.
        room: how much more the node can give.
    """

    at: float
    limit: int
    used: int
    throttled: bool = False
    floor: int = 0
    room: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do after a sample: a new limit or None, what to remember, and one sentence why."""

    limit: int | None
    watched: Watched
    why: str


def judge(rule: Rule, watched: Watched, sample: Sample) -> Verdict:
    """Decide on one sample. `Verdict.watched` takes a change as made only after `changed` says so."""
    now = _remember(rule, watched, sample)
    share = sample.used / sample.limit if sample.limit else 1.0
    told = f"{sample.used} of {sample.limit} {rule.resource.value} in use"
    if now.above_since is not None:
        return _raise(rule, now, sample, told + (", throttled" if sample.throttled else ""))
    if now.below_since is not None:
        return _lower(rule, now, sample, told)
    return Verdict(limit=None, watched=now, why=f"{told}: {share:.0%} is between the thresholds")


def changed(watched: Watched, at: float) -> Watched:
    """What to remember once a new limit is in force."""
    return replace(watched, above_since=None, below_since=None, changed_at=at)


def _remember(rule: Rule, watched: Watched, sample: Sample) -> Watched:
    above = sample.throttled or sample.used >= rule.raise_at * sample.limit
    below = not above and sample.used <= rule.lower_at * sample.limit
    return replace(
        watched,
        above_since=(sample.at if watched.above_since is None else watched.above_since) if above else None,
        below_since=(sample.at if watched.below_since is None else watched.below_since) if below else None,
    )


def _raise(rule: Rule, watched: Watched, sample: Sample, told: str) -> Verdict:
    if sample.limit >= rule.maximum:
        return Verdict(limit=None, watched=watched, why=f"{told}: at its maximum {rule.maximum}")
    waits = _waits(watched, sample, watched.above_since, rule.raise_after_s, rule.raise_pause_s)
    if waits:
        return Verdict(limit=None, watched=watched, why=f"{told}: {waits}")
    most = int(sample.limit * rule.step)
    aimed = most if sample.throttled else int(sample.used / rule.aim)
    wanted = min(max(aimed, sample.limit + 1), most, rule.maximum)
    given = min(wanted, sample.limit + max(0, sample.room))
    if given <= sample.limit:
        return Verdict(limit=None, watched=watched, why=f"{told}: the node has no room for more")
    short = f", {wanted} were wanted and the node has no more" if given < wanted else ""
    return Verdict(limit=given, watched=watched, why=f"{told}: raised to {given}{short}")


def _lower(rule: Rule, watched: Watched, sample: Sample, told: str) -> Verdict:
    floor = max(rule.minimum, sample.floor)
    if sample.limit <= floor:
        return Verdict(limit=None, watched=watched, why=f"{told}: at its minimum {floor}")
    waits = _waits(watched, sample, watched.below_since, rule.lower_after_s, rule.lower_pause_s)
    if waits:
        return Verdict(limit=None, watched=watched, why=f"{told}: {waits}")
    wanted = max(int(sample.used / rule.aim), int(sample.limit / rule.step), floor)
    return Verdict(limit=wanted, watched=watched, why=f"{told}: lowered to {wanted}")


def _waits(watched: Watched, sample: Sample, since: float | None, after_s: float, pause_s: float) -> str:
    """Why it is too early, or nothing."""
    lasting = sample.at - (sample.at if since is None else since)
    if lasting < after_s:
        return f"for {lasting:.0f} s, acted on after {after_s:.0f} s"
    if watched.changed_at is not None and sample.at - watched.changed_at < pause_s:
        return f"changed {sample.at - watched.changed_at:.0f} s ago, rests for {pause_s:.0f} s"
    return ""
