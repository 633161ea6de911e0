"""What a machine's status says after a plan: phase, sentence, conditions, disks, ports, timeline."""

from dataclasses import dataclass

import msgspec

from coordinator.core.conditions import Aspect, Truth, with_condition
from coordinator.core.machine.deploy import Topic
from coordinator.core.machine.names import ROOT, disk_name, owned_name
from coordinator.core.machine.ports import nic_rules, nic_statuses
from coordinator.core.machine.seen import Area, Finalizer, Plan, Seen
from coordinator.core.machine.server import EARLY, is_lost
from coordinator.core.machine.timeline import advance, deployment, first_seen, passed_over
from coordinator.core.machine.wanted import is_own
from coordinator.core.objects.machine import (
    Deployment,
    DiskStatus,
    MachineAddress,
    MachineStatus,
    Phase,
    TimelineEntry,
)
from coordinator.core.objects.meta import Condition, Ref
from coordinator.core.objects.storage import AttachmentPhase

OUTCOMES: dict[Phase, tuple[Topic, ...]] = {
    Phase.ALLOCATING: (Topic.HOST, Topic.ADDRESSES),
    Phase.CLONING: (Topic.VOLUMES,),
    Phase.ATTACHING: (Topic.DISKS,),
    Phase.PLUGGING: (Topic.PORTS, Topic.SEED),
}

TOPICS: dict[Aspect, tuple[Topic, ...]] = {
    Aspect.HOST_CLAIMED: (Topic.HOST,),
    Aspect.DPU_ONLINE: (Topic.DPU,),
    Aspect.DPU_CLEAR: (Topic.CLEAR,),
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
        host_ref=_host_ref(seen, plan),
        power_state=seen.power if seen.host else None,
        conditions=_conditions(seen, plan),
        nics=nics,
        addresses=[MachineAddress(type="InternalIP", address=nic.addresses[0].partition("/")[0]) for nic in nics],
        disks=_disks(seen),
        timeline=timeline,
        restarted_at=seen.machine.spec.restarted_at if plan.restarted else before.restarted_at,
        deployment=before.deployment or _deployment(seen, plan, timeline),
    )


def _host_ref(seen: Seen, plan: Plan) -> Ref | None:
    """The host held; one that is lost stays named until the machine is gone or, early on, takes another."""
    if plan.forget_host or (seen.lost_host and plan.phase in EARLY and not is_lost(seen)):
        return None
    return Ref(name=seen.host.metadata.name) if seen.host else seen.machine.status.host_ref


def notices(seen: Seen, plan: Plan) -> list[Notice]:
    """What is worth an Event: a new phase, a new problem, something that a machine which goes leaves behind."""
    before = seen.machine.status
    if plan.left:
        return [Notice(reason="LeftBehind", message=plan.left, warning=True)]
    if any(isinstance(change, Finalizer) for change in plan.changes):
        return []
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


def _with_nic_rules(seen: Seen, conditions: list[Condition]) -> list[Condition]:
    """The condition of NICs that ask for limits or groups; none for machines whose NICs do not."""
    told = nic_rules(seen)
    if told is None:
        return [entry for entry in conditions if entry.type != Aspect.NIC_RULES.value]
    applied, message = told
    return with_condition(
        conditions,
        Aspect.NIC_RULES,
        Truth.TRUE if applied else Truth.FALSE,
        reason="Applied" if applied else "NotOvn",
        message=message,
        generation=seen.machine.metadata.generation,
        now=seen.now,
    )


def _conditions(seen: Seen, plan: Plan) -> list[Condition]:
    conditions = list(seen.machine.status.conditions)
    generation = seen.machine.metadata.generation
    for aspect, topics in TOPICS.items():
        areas = [plan.areas[topic.value] for topic in topics if topic.value in plan.areas]
        if areas:
            first = next((area for area in areas if not _good(area)), areas[-1])
            conditions = with_condition(
                conditions,
                aspect,
                Truth.TRUE if _good(first) else Truth.FALSE,
                reason=_reason(first),
                message=_message(first),
                generation=generation,
                now=seen.now,
            )
    return with_condition(
        _with_nic_rules(seen, conditions),
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


def _good(area: Area) -> bool:
    """Whether an aspect is as it should be; a machine may go on with one that is not."""
    return area.ready and area.problem is None


def _reason(area: Area) -> str:
    if _good(area):
        return "Done"
    return area.problem.reason.value if area.problem else "InProgress"


def _message(area: Area) -> str:
    return str(area.problem) if area.problem else area.says


def _disks(seen: Seen) -> list[DiskStatus]:
    """Disks of the spec, and those that left it and are not gone yet."""
    shown = []
    wanted = [owned_name(seen.machine, name) for name in [ROOT, *(disk.name for disk in seen.machine.spec.disks)]]
    own = sorted(name for name, one in seen.attachments.items() if is_own(seen.machine, one.metadata))
    for owned in [*wanted, *(name for name in own if name not in wanted)]:
        attachment = seen.attachments.get(owned)
        if attachment is None:
            continue
        leaves = attachment.metadata.deleting or owned not in wanted
        shown.append(
            DiskStatus(
                name=disk_name(seen.machine, owned),
                volume=attachment.spec.volume_ref.name,
                attachment=attachment.metadata.name,
                serial=attachment.status.serial,
                slot=attachment.status.slot,
                state=(AttachmentPhase.DETACHING if leaves else attachment.status.phase).value,
            )
        )
    return shown
