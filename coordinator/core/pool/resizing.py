"""What an external autoscaler's wishes change of a pool: one write each, the same however often it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from coordinator.core.machine.names import count
from coordinator.core.objects.meta import Json, second
from coordinator.core.objects.pool import RemovalEntry
from coordinator.core.pool.instances import NodeRef
from coordinator.core.pool.nodegroups import NodeGroup
from proto.errors import DpuError
from proto.reasons import Reason

REQUEST_ANNOTATION = "dpupool.io/autoscaler-request"
"""On pools: the last change of size that was asked for from outside."""

ASKED_OUTSIDE = "asked for by the external autoscaler"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A change of size as the pool remembers it, written together with the new size.

    The protocol gives requests no identity. A client reads the target size before it asks for another, so a request
    that comes again with nothing read in between is the same one: its answer was lost.

    Attributes:
        delta: nodes more, or fewer.
        after: generation of the pool that it was decided on; no two requests share it.
    """

    delta: int
    after: int


@dataclass(frozen=True, slots=True)
class Resize:
    """A change of a pool.

    Attributes:
        patch: JSON merge patch, exact to the version of the pool that it was decided on.
        why: one sentence.
    """

    patch: Json
    why: str


def last_request(group: NodeGroup) -> Request | None:
    """The request that the pool remembers."""
    text = group.pool.metadata.annotations.get(REQUEST_ANNOTATION, "")
    try:
        return msgspec.json.decode(text, type=Request) if text else None
    except msgspec.DecodeError:
        return None


def increase(group: NodeGroup, delta: int, answered: Request | None) -> Resize | None:
    """Want more nodes.

    Args:
        answered: the last request whose effect the client has read.

    Returns:
        None when the very same request has been carried out and its answer was lost.

    Raises:
        DpuError: INVALID delta; EXHAUSTED when the pool's maximum would be passed, nothing is added then.
    """
    if delta <= 0:
        raise DpuError(Reason.INVALID, f"{delta} nodes cannot be added", field="delta", remedy="send 1 or more")
    if _is_repeated(group, delta, answered):
        return None
    wanted, most = group.target + delta, group.pool.spec.maximum
    if wanted > most:
        raise DpuError(
            Reason.EXHAUSTED,
            f"pool {group.name} would want {count(wanted, 'machine')} and may have {most}",
            field="delta",
            remedy=f"ask for at most {max(most - group.target, 0)}, or raise spec.maximum",
        )
    return _sized(
        group, delta, f"{group.name}: from {group.target} to {count(wanted, 'machine')}, as the autoscaler asked"
    )


def decrease(group: NodeGroup, delta: int, answered: Request | None) -> Resize | None:
    """Want fewer nodes, without taking away a machine that exists.

    Args:
        delta: below 0.
        answered: the last request whose effect the client has read.

    Returns:
        None when the very same request has been carried out and its answer was lost.

    Raises:
        DpuError: INVALID delta; WRONG_STATE when existing machines would have to go.
    """
    if delta >= 0:
        raise DpuError(Reason.INVALID, f"a decrease of {-delta} is none", field="delta", remedy="send -1 or less")
    if _is_repeated(group, delta, answered):
        return None
    wanted, there = group.target + delta, len(group.alive)
    if wanted < there:
        raise DpuError(
            Reason.WRONG_STATE,
            f"pool {group.name} has {count(there, 'machine')}: {wanted} would take existing ones away",
            field="delta",
            remedy="name the nodes that shall go in NodeGroupDeleteNodes",
        )
    return _sized(
        group, delta, f"{group.name}: from {group.target} to {count(wanted, 'machine')}, none that exists goes"
    )


def _is_repeated(group: NodeGroup, delta: int, answered: Request | None) -> bool:
    last = last_request(group)
    return last is not None and last != answered and last.delta == delta


def _sized(group: NodeGroup, delta: int, why: str) -> Resize:
    request = Request(delta=delta, after=group.pool.metadata.generation)
    annotations = {REQUEST_ANNOTATION: msgspec.json.encode(request).decode()}
    return Resize(_exact(group, {"replicas": group.target + delta}, annotations), why)


def remove(group: NodeGroup, refs: Sequence[NodeRef], now: datetime) -> Resize | None:
    """Take exactly these nodes away, and want as many fewer.

    Instances that have no machine yet are interchangeable: only the last ones can go, so that a repeated request takes
    none beyond those.

    Returns:
        None when all of them are leaving already.

    Raises:
        DpuError: NOT_FOUND when one is not of this group; WRONG_STATE when the pool would fall below its minimum, or
            when an instance without a machine has got one since. Nothing is removed then. Machines that never became
            nodes may go below the minimum: they serve nobody, and a client that cannot be rid of them tries for ever.
    """
    machines = sorted({_machine(group, ref) for ref in refs if group.slot_of(ref) is None})
    going = [name for name in machines if name not in group.pool.leaving]
    slots = _last_slots(group, {number for ref in refs if (number := group.slot_of(ref)) is not None})
    if not going and not slots:
        return None
    left = max(group.target - len(going) - slots, 0)
    serving = [name for name in going if group.joined(name)]
    if serving and left < group.minimum:
        raise DpuError(
            Reason.WRONG_STATE,
            f"pool {group.name} would want {count(left, 'machine')} and keeps {group.minimum}",
            field="nodes",
            remedy="remove fewer nodes, or lower spec.minimum",
        )
    spec: dict[str, Any] = {"replicas": left}
    if going:
        added = [RemovalEntry(machine=name, reason=ASKED_OUTSIDE, drain=False) for name in going]
        spec["removals"] = [_entry(one, now) for one in (*group.pool.spec.removals, *added)]
    named = ", ".join(going) or f"{slots} not yet made"
    return Resize(_exact(group, spec), f"{group.name}: {named} to go, {count(left, 'machine')} wanted")


def _machine(group: NodeGroup, ref: NodeRef) -> str:
    name = group.machine_of(ref)
    if name is None:
        raise DpuError(
            Reason.NOT_FOUND,
            f"node {ref.name or ref.provider_id} is not of pool {group.name}",
            field="nodes",
            remedy="call Refresh and look at NodeGroupNodes",
        )
    return name


def _last_slots(group: NodeGroup, named: set[int]) -> int:
    number = group.target
    while number > len(group.alive) and number in named:
        number -= 1
    if any(one <= number for one in named):
        raise DpuError(
            Reason.WRONG_STATE,
            f"pool {group.name} has changed: instance {min(named)} is one of its machines now, or not the last one",
            field="nodes",
            remedy="call Refresh and look at NodeGroupNodes",
        )
    return group.target - number


def _entry(entry: RemovalEntry, now: datetime) -> Json:
    """The entry in full: what equals a default of ours may not be the schema's."""
    return {
        "machine": entry.machine,
        "reason": entry.reason,
        "drain": entry.drain,
        "since": second(entry.since or now),
    }


def _exact(group: NodeGroup, spec: Json, annotations: dict[str, str] | None = None) -> Json:
    metadata: Json = {"resourceVersion": group.pool.metadata.resource_version}
    return {"metadata": metadata | ({"annotations": annotations} if annotations else {}), "spec": spec}
