"""What the controllers have written about an object: whether they still try, or have given up, and why."""

from collections.abc import Sequence

from coordinator.core.conditions import Aspect, Truth, find
from coordinator.core.csi.codes import Standing, standing
from coordinator.core.objects.meta import Condition
from proto.errors import DpuError
from proto.reasons import Reason

PATIENT = frozenset({Reason.IN_USE})
"""Final on the wire, but the controllers go on, and what is waited for ends by itself."""

_REASONS = {reason.value: reason for reason in Reason}


def refusal(conditions: Sequence[Condition], generation: int) -> DpuError | None:
    """The error for which an object cannot become what its spec says; None while that may still happen.

    Args:
        conditions: of the object.
        generation: of the spec that is asked about.
    """
    found = find(conditions, Aspect.READY)
    if found is None or found.status == Truth.TRUE.value or found.observed_generation != generation:
        return None
    reason = _REASONS.get(found.reason)
    if reason is None or reason in PATIENT or standing(reason) is Standing.OPEN:
        return None
    return DpuError(reason, found.message)


def delay(conditions: Sequence[Condition], what: str) -> DpuError:
    """The error for an object that is not ready in time: says what it waits for, and that a repeat joins."""
    found = find(conditions, Aspect.READY)
    waits = found.message if found is not None and found.status != Truth.TRUE.value else "it has just begun"
    reason = _REASONS.get(found.reason) if found is not None else None
    away = reason in {Reason.UNAVAILABLE, Reason.CATCHING_UP}
    return DpuError(
        Reason.UNAVAILABLE if away else Reason.DEADLINE,
        f"{what} is not done yet: {waits}",
        remedy="the same call again goes on where this one stopped",
    )
