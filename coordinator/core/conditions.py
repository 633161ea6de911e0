"""Conditions of an object: set one, read one."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum

from coordinator.core.objects.meta import Condition, second


class Truth(Enum):
    """Status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Aspect(Enum):
    """Types of the conditions that the controllers write."""

    READY = "Ready"
    HOST_CLAIMED = "HostClaimed"
    ADDRESSES_ALLOCATED = "AddressesAllocated"
    DISKS_ATTACHED = "DisksAttached"
    NETWORK_READY = "NetworkReady"
    BMC_REACHABLE = "BmcReachable"
    DPU_ONLINE = "DpuOnline"
    DPU_CLEAR = "DpuClear"
    ATTACHED_SPEC = "SpecApplied"
    HOST_REACHABLE = "HostReachable"
    BINDINGS_HOLD = "BindingsHold"
    HOST_CLEAN = "HostClean"
    IO_QUEUES_ACCEPTED = "IoQueuesAccepted"
    PROCESSED = "Processed"
    NIC_RULES = "NicRulesApplied"
    OFFLOAD = "Offload"


def with_condition(
    conditions: Sequence[Condition],
    aspect: Aspect,
    truth: Truth,
    *,
    reason: str,
    message: str,
    generation: int,
    now: datetime,
) -> list[Condition]:
    """`conditions` with `aspect` set; its transition time moves only when its status does.

    Args:
        generation: of the spec that this speaks of.
    """
    before = find(conditions, aspect)
    same = before is not None and before.status == truth.value
    new = Condition(
        type=aspect.value,
        status=truth.value,
        reason=reason,
        message=message,
        last_transition_time=before.last_transition_time if before and same else second(now),
        observed_generation=generation,
    )
    kept = [new if entry.type == aspect.value else entry for entry in conditions]
    return kept if before else [*kept, new]


def find(conditions: Sequence[Condition], aspect: Aspect) -> Condition | None:
    """The condition of `aspect`, or None."""
    return next((entry for entry in conditions if entry.type == aspect.value), None)


def holds(conditions: Sequence[Condition], aspect: Aspect) -> bool:
    """Whether `aspect` is known to be true."""
    found = find(conditions, aspect)
    return found is not None and found.status == Truth.TRUE.value
