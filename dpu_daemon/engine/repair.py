"""Repairs: what an audit found not to be as wanted, and the work that makes it so."""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from dpu_daemon.engine.lanes import LaneName
from dpu_daemon.model.event import EventKind

RepairWork = Callable[[], Awaitable[bool]]
"""Answers whether anything had to be done."""


@dataclass(frozen=True, slots=True)
class Repair:
    """One resource that needs work.

    Attributes:
        key: the resource's lock.
        kind: what it is.
        subject: its id.
        why: the plan's sentence.
        work: the convergence, to be run under the lock.
        also: locks of further resources that the work changes.
        lane: where it queues; work that shares transactions goes together in a wide one.
    """

    key: Hashable
    kind: EventKind
    subject: str
    why: str
    work: RepairWork
    also: tuple[Hashable, ...] = ()
    lane: LaneName = LaneName.REPAIR


class Auditor(Protocol):
    """A part of the engine that can compare all it wants with one look."""

    async def audit(self) -> tuple[Repair, ...]:
        """What is not as wanted.

        Raises:
            DpuError: the other side did not answer; nothing is known.
        """
        ...
