"""A change of the journal: everything that becomes true in one transaction."""

from dataclasses import dataclass, field
from enum import Enum

from dpu_daemon.engine.rows import Record, RecordKind
from dpu_daemon.model.event import EventKind
from dpu_daemon.model.fence import Fence


class StepState(Enum):
    """How far a journalled step came."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBegun:
    """A driver is about to be asked."""

    subject: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    """A driver has answered; `number` is the one that the journal gave when the step began."""

    number: int
    state: StepState
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An event to be numbered and dated by the journal."""

    kind: EventKind
    subject: str
    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one transaction writes; empty parts write nothing."""

    put: tuple[Record, ...] = ()
    drop: tuple[tuple[RecordKind, str], ...] = ()
    fences: tuple[Fence, ...] = ()
    ended: StepEnded | None = None
    begun: StepBegun | None = None
    events: tuple[Said, ...] = field(default=())
