"""The end of a machine, in reverse: power, what its DPU shows, attachments, volumes, addresses, claim."""

from dataclasses import replace

from coordinator.core.ipam.allocate import released
from coordinator.core.machine.deadlines import Deadlines
from coordinator.core.machine.names import FINALIZER
from coordinator.core.machine.power import off_area, stop_area
from coordinator.core.machine.seen import Amend, Area, Change, Delete, Finalizer, Plan, Seen, Unclaim, WriteLedgers
from coordinator.core.machine.steps import Step, StepKind, StepState, judge
from coordinator.core.machine.wanted import is_own
from coordinator.core.objects.fleet import PowerState
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Phase
from coordinator.core.objects.storage import DeletionPolicy
from coordinator.core.storage.attachment import FORCE_DETACH, dpu_is_gone
from proto.errors import DpuError
from proto.reasons import Reason


def plan_removal(seen: Seen, deadlines: Deadlines) -> Plan:
    """Decide what comes next on the way out; each part is done before the next begins."""
    if FINALIZER not in seen.machine.metadata.finalizers:
        return Plan(phase=Phase.DELETING, says="gone")
    for judge_area in (_in_flight, _power, _release, _attachments, _volumes):
        area = judge_area(seen, deadlines)
        if not area.ready:
            says = f"deleting: {area.problem}" if area.problem else f"deleting: {area.says}"
            return Plan(
                phase=Phase.DELETING,
                says=says,
                changes=area.changes,
                steps=area.steps,
                problem=area.problem,
                attempts=area.attempts,
                wake_s=area.wake_s,
            )
    return _give_back(seen)


def _power(seen: Seen, deadlines: Deadlines) -> Area:
    """Off first: nobody writes to a disk that goes. Volumes that stay get a clean shutdown."""
    if seen.host is None:
        return _lost_server(seen)
    if _forced(seen):
        return Area(ready=True, says="no server to power off")
    kept = any(disk.volume_ref for disk in seen.machine.spec.disks)
    kept = kept or seen.machine.spec.root_disk.deletion_policy is DeletionPolicy.RETAIN
    if not kept or seen.power is not PowerState.ON:
        return _or_force(off_area(seen), "BMC")
    if seen.phase is not Phase.DELETING:
        return Area(ready=False, says="its volumes that stay get a clean shutdown")
    return _or_force(stop_area(seen, deadlines), "BMC")


def _in_flight(seen: Seen, _: Deadlines) -> Area:
    """What was begun for the machine must have ended, or it could come after the release; each has a deadline."""
    begun = {StepKind.SEED, StepKind.PLUG, StepKind.UNPLUG, StepKind.POWER_ON}
    running = [
        found.step.kind.value
        for found in seen.steps.values()
        if found.state is StepState.RUNNING and found.step.kind in begun
    ]
    return Area(ready=not running, says=f"waiting for {', '.join(sorted(running))} to end")


def _or_force(area: Area, whom: str) -> Area:
    """`area` with the way out for when `whom` never answers."""
    problem = area.problem
    if problem is None:
        return area
    known = f"{problem.remedy}; " if problem.remedy else ""
    way_out = f"{known}to go on without the {whom} annotate the machine with {FORCE_DETACH}"
    told = DpuError(problem.reason, problem.message, field=problem.field, remedy=way_out, retry=problem.retry)
    return replace(area, problem=told)


def _release(seen: Seen, _: Deadlines) -> Area:
    """The DPU forgets the machine: seed, ports, disks, whatever of it is there."""
    if seen.dpu is None or dpu_is_gone(seen.dpu, seen.machine.metadata):
        return Area(ready=True, says="no DPU to tell")
    step = Step(kind=StepKind.RELEASE, fingerprint=f"{seen.dpu.metadata.name}/{seen.dpu.status.instance_id}")
    verdict = judge(seen.steps, step, seen.now)
    area = Area(
        ready=verdict.done,
        says=f"DPU {seen.dpu.metadata.name} is taking disks, ports and seed away",
        steps=(step,) if verdict.start else (),
        problem=verdict.error,
        attempts=max(verdict.attempts, 1),
        wake_s=verdict.wake_s,
    )
    return area if verdict.done else _or_force(area, "DPU, once it is offline,")


def _attachments(seen: Seen, _: Deadlines) -> Area:
    own = [one for one in seen.attachments.values() if is_own(seen.machine, one.metadata)]
    changes: list[Change] = [
        Delete(kind=Kind.ATTACHMENT, name=one.metadata.name) for one in own if not one.metadata.deleting
    ]
    if FORCE_DETACH in seen.machine.metadata.annotations:
        word = {"metadata": {"annotations": {FORCE_DETACH: "with the machine"}}}
        changes += [
            Amend(kind=Kind.ATTACHMENT, name=one.metadata.name, body=word)
            for one in own
            if FORCE_DETACH not in one.metadata.annotations
        ]
    names = ", ".join(sorted(one.metadata.name for one in own))
    return Area(ready=not own, says=f"waiting for attachment {names} to go", changes=tuple(changes))


def _volumes(seen: Seen, _: Deadlines) -> Area:
    own = [
        one
        for one in seen.volumes.values()
        if is_own(seen.machine, one.metadata) and one.spec.deletion_policy is not DeletionPolicy.RETAIN
    ]
    names = ", ".join(sorted(one.metadata.name for one in own))
    changes = tuple(Delete(kind=Kind.VOLUME, name=one.metadata.name) for one in own if not one.metadata.deleting)
    return Area(ready=not own, says=f"waiting for volume {names} to go", changes=changes)


def _give_back(seen: Seen) -> Plan:
    """Addresses, then the host, then the object itself; the claim is last so that no new tenant comes early."""
    ledgers = released(seen.machine.metadata.uid, seen.subnets.values())
    if ledgers:
        changes: tuple[Change, ...] = (WriteLedgers(ledgers=ledgers),)
        return Plan(phase=Phase.DELETING, says="deleting: addresses are given back", changes=changes)
    left = _left_behind(seen)
    if seen.host is not None:
        # A status that names a host without its claim means a lost server: the name goes first, then the claim.
        named = seen.machine.status.host_ref is not None
        changes = () if named else (Unclaim(host=seen.host.metadata.name),)
        says = "deleting: the host is given back"
        return Plan(phase=Phase.DELETING, says=says, changes=changes, forget_host=True, left=left)
    return Plan(phase=Phase.DELETING, says="gone", changes=(Finalizer(present=False),), left=left)


def _lost_server(seen: Seen) -> Area:
    """A server that cannot be reached any more must not be forgotten while it may run on this machine's disks."""
    if not seen.lost_host or seen.dpu is None or FORCE_DETACH in seen.machine.metadata.annotations:
        return Area(ready=True, says="no server to power off")
    problem = DpuError(
        Reason.NOT_FOUND,
        f"host {seen.lost_host} is gone or no longer claimed by this machine: its server cannot be powered off",
        field="status.hostRef",
        remedy=f"see that the server is off, then annotate the machine with {FORCE_DETACH}",
    )
    return Area(ready=False, says="", problem=problem)


def _left_behind(seen: Seen) -> str:
    """What a machine that goes leaves as it is, in a sentence."""
    left = []
    if seen.lost_host:
        left.append(f"the server of host {seen.lost_host}, which is gone, was not powered off")
    elif seen.host is not None and _forced(seen):
        left.append(f"the server of host {seen.host.metadata.name}, whose BMC does not answer, was not powered off")
    if seen.dpu is not None and dpu_is_gone(seen.dpu, seen.machine.metadata):
        left.append(f"DPU {seen.dpu.metadata.name} was not told, and is swept when it comes back")
    elif seen.dpu is None and seen.host is not None:
        left.append(f"DPU {seen.host.spec.dpu_ref.name}, whose object is gone, was not told")
    elif seen.dpu is None and seen.lost_host:
        left.append("its DPU, whose object is gone, was not told")
    return "; ".join(left)


def _forced(seen: Seen) -> bool:
    """Whether somebody said that the machine may go without its BMC."""
    return FORCE_DETACH in seen.machine.metadata.annotations and seen.power is PowerState.UNKNOWN
