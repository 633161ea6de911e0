"""The time at which a dump is looked at: its own, so that the same dump gives the same answer for ever."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from bmctl.objects import Object, dig, instant

SETTLED_S = 60.0
"""A dump is looked at a minute after its newest time: no pod in it is then too young to be helped."""


def time_of(objects: list[Object]) -> float:
    """Seconds since the epoch, a minute after the newest time that these objects hold."""
    return max((moment.timestamp() for thing in objects for moment in _times(thing)), default=0.0) + SETTLED_S


def _times(thing: Object) -> Iterator[datetime]:
    values: list[Any] = [dig(thing, "metadata.creationTimestamp"), dig(thing, "status.startTime")]
    found = dig(thing, "status.conditions")
    for condition in found if isinstance(found, list) else []:
        values += [dig(condition, "lastTransitionTime"), dig(condition, "lastHeartbeatTime")]
    yield from (moment for moment in map(instant, values) if moment is not None)
