"""Events of events.k8s.io/v1, which are stored as those of v1: one storage, two faces."""

from coordinator.api.kinds import View
from coordinator.api.objects import Obj

_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_BACK = {stored: shown for shown, stored in _NAMES.items()}


def to_core(obj: Obj) -> Obj:
    """An events.k8s.io Event as it is stored."""
    return {_NAMES.get(name, name): value for name, value in obj.items()} | {"apiVersion": "v1"}


def from_core(obj: Obj) -> Obj:
    """A stored Event as events.k8s.io shows it."""
    return {_BACK.get(name, name): value for name, value in obj.items()} | {"apiVersion": "events.k8s.io/v1"}


EVENTS_VIEW = View(to_core, from_core)
