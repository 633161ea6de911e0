"""The timeline of a machine: phases entered and left, and what a deployment took."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from coordinator.core.objects.machine import Deployment, Phase, TimelineEntry
from coordinator.core.objects.meta import moment, stamp

KEPT = 64
CREATED_SLACK_S = 1.5
"""A creation timestamp has whole seconds: younger than this, the first look is nearer the truth."""


DEPLOYMENT = [
    Phase.PENDING,
    Phase.ALLOCATING,
    Phase.CLONING,
    Phase.ATTACHING,
    Phase.PLUGGING,
    Phase.POWERING_ON,
    Phase.BOOTING,
    Phase.RUNNING,
]


def advance(
    timeline: Sequence[TimelineEntry], phase: Phase, message: str, *, attempts: int, now: datetime, outcome: str = ""
) -> list[TimelineEntry]:
    """`timeline` with `phase` as its newest entry: updated when it was that already, else added after the last is left.

    Args:
        outcome: what the phase that is left has brought; its last message stays when this is empty.
    """
    if timeline and timeline[-1].phase is phase:
        last = msgspec.structs.replace(timeline[-1], message=message, attempts=max(attempts, timeline[-1].attempts))
        return [*timeline[:-1], last]
    closed = [*timeline[:-1], close(timeline[-1], now, outcome)] if timeline else []
    entry = TimelineEntry(phase=phase, started_at=stamp(now), message=message, attempts=attempts)
    return [*closed, entry][-KEPT:]


def passed_over(before: Phase | None, after: Phase) -> list[Phase]:
    """Phases between two of a deployment that follow each other: they were over before it came to them."""
    if before not in DEPLOYMENT or after not in DEPLOYMENT:
        return []
    return DEPLOYMENT[DEPLOYMENT.index(before) + 1 : DEPLOYMENT.index(after)]


def close(entry: TimelineEntry, now: datetime, outcome: str) -> TimelineEntry:
    """`entry` as left now."""
    seconds = round((now - moment(entry.started_at)).total_seconds(), 3)
    message = outcome or entry.message
    return msgspec.structs.replace(entry, finished_at=stamp(now), seconds=max(seconds, 0.0), message=message)


def first_seen(created: datetime | None, now: datetime) -> datetime:
    """When a machine's first phase began."""
    if created is None or (now - created).total_seconds() < CREATED_SLACK_S:
        return now
    return created


def deployment(timeline: Sequence[TimelineEntry], now: datetime) -> Deployment | None:
    """What the way to Running took, which ends `now`; None when the timeline no longer has its beginning.

    Firmware and operating system run from PoweringOn to the answer; Failed waits for a correction; all else is ours.
    """
    if not timeline or timeline[0].phase is not Phase.PENDING:
        return None
    total = (now - moment(timeline[0].started_at)).total_seconds()
    theirs = sum(
        entry.seconds if entry.seconds is not None else (now - moment(entry.started_at)).total_seconds()
        for entry in timeline
        if entry.phase in {Phase.POWERING_ON, Phase.BOOTING, Phase.FAILED}
    )
    return Deployment(total_seconds=round(total, 3), own_seconds=round(max(total - theirs, 0.0), 3))


def entered(timeline: Sequence[TimelineEntry], phase: Phase) -> datetime | None:
    """When `phase` was entered, when it is the newest one; None when it is not."""
    if timeline and timeline[-1].phase is phase:
        return moment(timeline[-1].started_at)
    return None
