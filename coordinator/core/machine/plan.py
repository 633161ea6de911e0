"""What a machine needs next: from one look to a phase, changes, steps and a sentence."""

from dataclasses import replace

from coordinator.core.machine.deadlines import REMEDY, Deadlines, time_left
from coordinator.core.machine.deploy import PHASE_OF, Outfit, Topic, outfit
from coordinator.core.machine.names import FINALIZER
from coordinator.core.machine.power import answer_area, heard, off_area, on_area, stop_area
from coordinator.core.machine.remove import plan_removal
from coordinator.core.machine.seen import Area, Change, Finalizer, Plan, Seen, soonest
from coordinator.core.machine.server import dpu_trouble, is_lost, lost_area
from coordinator.core.machine.steps import Step
from coordinator.core.objects.fleet import PowerState
from coordinator.core.objects.machine import Phase
from proto.errors import DpuError
from proto.reasons import Reason

WITH_POWER = frozenset({Phase.POWERING_ON, Phase.BOOTING, Phase.RUNNING, Phase.STOPPING, Phase.RESTARTING})
"""Phases in which the server's power is ours to change: it was off when the first of them was entered."""

DEFAULTS = Deadlines()


def plan_machine(seen: Seen, deadlines: Deadlines = DEFAULTS) -> Plan:
    """Decide what a machine needs next."""
    if seen.machine.metadata.deleting:
        return plan_removal(seen, deadlines)
    if FINALIZER not in seen.machine.metadata.finalizers:
        return Plan(phase=Phase.PENDING, says="seen", changes=(Finalizer(present=True),))
    phase = seen.resumed
    if is_lost(seen):
        return _of(Phase.FAILED, lost_area(seen), Outfit(areas={Topic.HOST: lost_area(seen)}))
    up = seen.power is PowerState.ON and phase in WITH_POWER
    kit = outfit(seen, with_seed=not up)
    plan = _live(seen, kit, phase, deadlines) if phase in WITH_POWER else _prepare(seen, kit, phase)
    return _in_time(seen, plan, phase, deadlines)


def _prepare(seen: Seen, kit: Outfit, phase: Phase) -> Plan:
    """Nothing runs yet, or nothing any more: outfit the machine, then see to its power."""
    lacking = kit.lacking
    if lacking is not None:
        return _outfitting(kit, lacking)
    off = off_area(seen)
    if not off.ready:
        kept = Phase.STOPPED if phase is Phase.STOPPED else Phase.PLUGGING
        return _of(Phase.FAILED if _hopeless(off) else kept, off, kit)
    if seen.machine.spec.power is PowerState.OFF:
        return _with_kit(Plan(phase=Phase.STOPPED, says="stopped, as spec.power asks"), kit)
    says = "all is in place; the server can be powered on"
    return _with_kit(Plan(phase=Phase.POWERING_ON, says=says, restarted=True), kit)


def _outfitting(kit: Outfit, lacking: Topic) -> Plan:
    area = kit.areas[lacking]
    claiming = lacking is Topic.HOST and bool(area.changes)
    phase = Phase.ALLOCATING if claiming else PHASE_OF[lacking]
    if area.problem and not area.problem.retry:
        phase = Phase.FAILED
    return _of(phase, area, kit)


def _live(seen: Seen, kit: Outfit, phase: Phase, deadlines: Deadlines) -> Plan:
    """The server runs, or is on its way up or down."""
    spec = seen.machine.spec
    if phase in {Phase.STOPPING, Phase.RESTARTING}:
        return _go_down(seen, kit, phase, deadlines)
    if spec.power is PowerState.OFF:
        down = Phase.STOPPED if seen.power is PowerState.OFF else Phase.STOPPING
        says = f"{down.value.lower()}, as spec.power asks"
        return _with_kit(Plan(phase=down, says=says), kit)
    if phase is Phase.POWERING_ON:
        return _go_up(seen, kit)
    if seen.power is PowerState.OFF:
        return _with_kit(Plan(phase=Phase.POWERING_ON, says="the server was found off; starting it"), kit)
    return _up(seen, kit, phase)


def _up(seen: Seen, kit: Outfit, phase: Phase) -> Plan:
    """Power is on, as it should be: wait for the answer, restart when asked, else let it run."""
    if phase is Phase.BOOTING:
        answer = answer_area(seen)
        return _of(Phase.RUNNING if answer.ready else Phase.BOOTING, answer, kit)
    wanted = seen.machine.spec.restarted_at
    if wanted and wanted != seen.machine.status.restarted_at:
        return _with_kit(Plan(phase=Phase.RESTARTING, says="restarting, as spec.restartedAt asks"), kit)
    return _run(seen, kit)


def _go_up(seen: Seen, kit: Outfit) -> Plan:
    """Power on; the phase stays while the outfit is made sure of anew, as after a restart of this process."""
    if seen.power is not PowerState.ON and kit.lacking is not None:
        lacking = kit.areas[kit.lacking]
        return _of(Phase.FAILED if _hopeless(lacking) else Phase.POWERING_ON, lacking, kit)
    area = on_area(seen)
    if seen.phase is not Phase.POWERING_ON and not area.ready and not _hopeless(area):
        return _with_kit(Plan(phase=Phase.POWERING_ON, says="the server can be powered on"), kit)
    if area.ready:
        return _with_kit(Plan(phase=Phase.BOOTING, says="server is on; firmware and operating system start"), kit)
    return _of(Phase.FAILED if _hopeless(area) else Phase.POWERING_ON, area, kit)


def _go_down(seen: Seen, kit: Outfit, phase: Phase, deadlines: Deadlines) -> Plan:
    area = stop_area(seen, deadlines)
    if not area.ready:
        return _of(phase, area, kit)
    if phase is Phase.RESTARTING or seen.machine.spec.power is PowerState.ON:
        return _with_kit(Plan(phase=Phase.POWERING_ON, says="server is off; starting it again", restarted=True), kit)
    return _with_kit(Plan(phase=Phase.STOPPED, says="stopped, as spec.power asks"), kit)


def _run(seen: Seen, kit: Outfit) -> Plan:
    """It answers; disks and NICs come and go while it runs, and what is wrong with one does not stop it."""
    lacking = kit.lacking
    area = kit.areas[lacking] if lacking else Area(ready=True, says="")
    problem = area.problem or dpu_trouble(seen)
    told = str(problem or area.says)
    says = f"{'runs' if area.problem or area.says else heard(seen)}; {told}" if told else heard(seen)
    return _of(Phase.RUNNING, Area(ready=True, says=says, problem=problem), kit)


def _in_time(seen: Seen, plan: Plan, phase: Phase, deadlines: Deadlines) -> Plan:
    """`plan`, unless its phase has lasted too long: then the machine is Failed, and the work goes on all the same."""
    if plan.phase is Phase.FAILED:
        return plan
    if seen.phase is Phase.FAILED and plan.phase is phase and _was_late(seen):
        return _late(plan, phase)
    if seen.phase is not plan.phase:
        return plan
    left = time_left(seen.machine, plan.phase, deadlines, seen.now)
    if left is None:
        return plan
    return _late(plan, plan.phase) if left <= 0 else replace(plan, wake_s=soonest(plan.wake_s, left))


def _was_late(seen: Seen) -> bool:
    """Whether the written failure is a missed deadline, of the spec as it is now."""
    ready = next((entry for entry in seen.machine.status.conditions if entry.type == "Ready"), None)
    late = ready is not None and ready.reason == Reason.DEADLINE.value
    return late and seen.machine.status.observed_generation == seen.machine.metadata.generation


def _late(plan: Plan, phase: Phase) -> Plan:
    last = plan.problem.message if plan.problem else plan.says
    remedy = (plan.problem.remedy if plan.problem else "") or REMEDY.get(phase, "")
    problem = DpuError(
        Reason.DEADLINE,
        f"{phase.value} takes too long: {last}",
        field=plan.problem.field if plan.problem else "",
        remedy=remedy,
    )
    return replace(plan, phase=Phase.FAILED, says=str(problem), problem=problem)


def _hopeless(area: Area) -> bool:
    return area.problem is not None and not area.problem.retry


def _of(phase: Phase, area: Area, kit: Outfit) -> Plan:
    """The plan that an area's state makes, with all that the kit can do meanwhile."""
    trouble = area.problem is not None and (phase is Phase.FAILED or not area.ready)
    says = str(area.problem) if trouble else area.says
    plan = Plan(
        phase=phase,
        says=says,
        changes=area.changes,
        steps=area.steps,
        problem=area.problem,
        attempts=area.attempts,
        wake_s=area.wake_s,
    )
    return _with_kit(plan, kit)


def _with_kit(plan: Plan, kit: Outfit) -> Plan:
    """`plan` with the changes and steps of every area, each once."""
    changes: list[Change] = list(plan.changes)
    steps: list[Step] = list(plan.steps)
    wake = plan.wake_s
    for area in kit.areas.values():
        changes += [change for change in area.changes if change not in changes]
        steps += [step for step in area.steps if step not in steps]
        wake = soonest(wake, area.wake_s)
    areas = {topic.value: area for topic, area in kit.areas.items()}
    return replace(plan, changes=tuple(changes), steps=tuple(steps), wake_s=wake, areas=areas)
