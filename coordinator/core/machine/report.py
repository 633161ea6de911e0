"""What a machine's status says after a plan: phase, sentence, conditions, disks, ports, timeline."""

from dataclasses import dataclass

import msgspec

from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.machine.deploy import Topic
from coordinator.core.machine.names import ROOT, owned_name
from coordinator.core.machine.ports import nic_statuses
from coordinator.core.machine.seen import Area, Plan, Seen
from coordinator.core.machine.timeline import advance, deployment, first_seen, passed_over
from coordinator.core.objects.machine import (
    Deployment,
    DiskStatus,
    MachineAddress,
    MachineStatus,
    Phase,
    TimelineEntry,
)
from coordinator.core.objects.meta import Condition, Ref

OUTCOMES: dict[Phase, tuple[Topic, ...]] = {
    Phase.ALLOCATING: (Topic.HOST, Topic.ADDRESSES),
    Phase.CLONING: (Topic.VOLUMES,),
    Phase.ATTACHING: (Topic.DISKS,),
    Phase.PLUGGING: (Topic.PORTS, Topic.SEED),
}

TOPICS: dict[Aspect, tuple[Topic, ...]] = {
    Aspect.HOST_CLAIMED: (Topic.HOST,),
    Aspect.ADDRESSES_ALLOCATED: (Topic.ADDRESSES,),
    Aspect.DISKS_ATTACHED: (Topic.VOLUMES, Topic.DISKS),
    Aspect.NETWORK_READY: (Topic.PORTS,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that an Event tells of."""

    reason: str
    message: str
    warning: bool = False


def new_status(seen: Seen, plan: Plan) -> MachineStatus:
    """The status that a machine has once `plan` is under way."""
    before = seen.machine.status
    timeline = _timeline(seen, plan)
    nics = nic_statuses(seen) if seen.leases else []
    return msgspec.structs.replace(
        before,
        observed_generation=seen.machine.metadata.generation,
        phase=plan.phase,
        message=plan.says,
        host_ref=Ref(name=seen.host.metadata.name) if seen.host else None,
        power_state=seen.power if seen.host else None,
        conditions=_conditions(seen, plan),
        nics=nics,
        addresses=[MachineAddress(type="InternalIP", address=nic.addresses[0].partition("/")[0]) for nic in nics],
        disks=_disks(seen),
        timeline=timeline,
        restarted_at=seen.machine.spec.restarted_at if plan.restarted else before.restarted_at,
        deployment=before.deployment or _deployment(seen, plan, timeline),
    )


def notices(seen: Seen, plan: Plan) -> list[Notice]:
    """What is worth an Event: a new phase, a new problem."""
    before = seen.machine.status
    if plan.problem is not None:
        old = next((entry.message for entry in before.conditions if entry.type == Aspect.READY.value), "")
        if plan.says != old:
            return [Notice(reason=plan.problem.reason.value, message=plan.says, warning=True)]
        return []
    return [Notice(reason=plan.phase.value, message=plan.says)] if before.phase is not plan.phase else []


def _timeline(seen: Seen, plan: Plan) -> list[TimelineEntry]:
    before = seen.machine.status.timeline
    if not before:
        began = first_seen(seen.machine.metadata.creation_timestamp, seen.now)
        before = advance([], Phase.PENDING, "seen", attempts=1, now=began)
    for phase in [*passed_over(before[-1].phase, plan.phase), plan.phase]:
        last = phase is plan.phase
        before = advance(
            before,
            phase,
            plan.says if last else "done meanwhile",
            attempts=plan.attempts if last else 1,
            now=seen.now,
            outcome=_outcome(plan, before[-1].phase),
        )
    return before


def _outcome(plan: Plan, left: Phase) -> str:
    """What a phase that is left for a later one has brought."""
    areas = [plan.areas[topic.value] for topic in OUTCOMES.get(left, ()) if topic.value in plan.areas]
    if areas and all(area.ready for area in areas):
        return ", ".join(area.says for area in areas)
    if left is Phase.POWERING_ON and plan.phase is Phase.BOOTING:
        return "server is on"
    return plan.says if left is Phase.BOOTING and plan.phase is Phase.RUNNING else ""


def _deployment(seen: Seen, plan: Plan, timeline: list[TimelineEntry]) -> Deployment | None:
    return deployment(timeline, seen.now) if plan.phase is Phase.RUNNING else None


def _conditions(seen: Seen, plan: Plan) -> list[Condition]:
    conditions = list(seen.machine.status.conditions)
    generation = seen.machine.metadata.generation
    for aspect, topics in TOPICS.items():
        areas = [plan.areas[topic.value] for topic in topics if topic.value in plan.areas]
        if areas:
            first = next((area for area in areas if not area.ready), areas[-1])
            conditions = with_condition(
                conditions,
                aspect,
                Truth.TRUE if first.ready else Truth.FALSE,
                reason=_reason(first),
                message=_message(first),
                generation=generation,
                now=seen.now,
            )
    return with_condition(
        conditions,
        Aspect.READY,
        Truth.TRUE if plan.phase is Phase.RUNNING else Truth.FALSE,
        reason=_ready_reason(plan),
        message=plan.says,
        generation=generation,
        now=seen.now,
    )


def _ready_reason(plan: Plan) -> str:
    if plan.phase is Phase.RUNNING:
        return "Answers"
    return plan.problem.reason.value if plan.problem else plan.phase.value


def _reason(area: Area) -> str:
    if area.ready:
        return "Done"
    return area.problem.reason.value if area.problem else "InProgress"


def _message(area: Area) -> str:
    return str(area.problem) if area.problem and not area.ready else area.says


def _disks(seen: Seen) -> list[DiskStatus]:
    shown = []
    for name in [ROOT, *(disk.name for disk in seen.machine.spec.disks)]:
        attachment = seen.attachments.get(owned_name(seen.machine, name))
        if attachment is None:
            continue
        shown.append(
            DiskStatus(
                name=name,
                volume=attachment.spec.volume_ref.name,
                attachment=attachment.metadata.name,
                serial=attachment.status.serial,
                slot=attachment.status.slot,
                state=attachment.status.phase.value,
            )
        )
    return shown
