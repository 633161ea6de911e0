"""Events: what happened on this daemon, in order."""

from dataclasses import dataclass
from enum import Enum


class EventKind(Enum):
    """What an event is about."""

    ATTACHMENT = "attachment"
    PORT = "port"
    SEED = "seed"
    VOLUME = "volume"
    IMAGE = "image"
    SNAPSHOT = "snapshot"
    DRIVER = "driver"
    DAEMON = "daemon"
    OPI = "opi"
    CPU = "cpu"
    POD_PORT = "pod_port"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened; `reason` is CamelCase, as in Kubernetes events; `unix_ms` is wall time."""

    sequence: int
    unix_ms: int
    kind: EventKind
    subject: str
    reason: str
    message: str
    warning: bool = False
