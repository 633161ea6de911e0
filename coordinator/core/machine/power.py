"""Power of a machine's server: on, off, off for a restart, and whether the machine answers."""

from hashlib import sha256

from coordinator.core.machine.deadlines import Deadlines
from coordinator.core.machine.ports import configs
from coordinator.core.machine.seen import Area, Seen, soonest
from coordinator.core.machine.steps import Step, StepKind, Verdict, judge
from coordinator.core.machine.timeline import entered
from coordinator.core.objects.fleet import PowerState
from coordinator.core.objects.machine import Phase


def off_area(seen: Seen) -> Area:
    """The server is off, whatever it takes: before the first start, and before its disks go."""
    return _power(seen, PowerState.OFF, StepKind.POWER_OFF, done="server is off", doing="server is being powered off")


def on_area(seen: Seen) -> Area:
    """The server is on, told to start from its disk."""
    return _power(seen, PowerState.ON, StepKind.POWER_ON, done="server is on", doing="server is being powered on")


def stop_area(seen: Seen, deadlines: Deadlines) -> Area:
    """The server is off: asked kindly first, its power cut when it has not obeyed in time."""
    since = entered(seen.machine.status.timeline, seen.phase)
    spent = (seen.now - since).total_seconds() if since else 0.0
    left = deadlines.stop_s - spent
    if left <= 0:
        return off_area(seen)
    kind = _power(
        seen, PowerState.OFF, StepKind.SHUT_DOWN, done="server is off", doing="operating system is shutting down"
    )
    if kind.problem and not kind.problem.retry:
        return off_area(seen)
    return kind if kind.ready else _waking(kind, left)


def answer_area(seen: Seen) -> Area:
    """The machine answers a ping that its DPU sends through the switch; without a NIC, being on is all there is."""
    found = configs(seen)
    if not found:
        return Area(ready=seen.power is PowerState.ON, says="it has no NIC to ask; its server is on")
    first = found[0].lease.allocation
    step = probe_step(seen)
    verdict = judge(seen.steps, step, seen.now)
    return Area(
        ready=verdict.done,
        says=f"answers on {first.address}" if verdict.done else f"waiting for {first.address} to answer",
        steps=(step,) if verdict.start else (),
        problem=None if verdict.done else verdict.error,
        attempts=max(verdict.attempts, 1),
        wake_s=verdict.wake_s,
    )


def heard(seen: Seen) -> str:
    """Where a machine that runs has answered after its last start; its other addresses are given to it, not asked."""
    boots = [entry.message for entry in seen.machine.status.timeline if entry.phase is Phase.BOOTING]
    addresses = [config.lease.allocation.address for config in configs(seen)]
    answered = [address for address in addresses if boots and boots[-1] == f"answers on {address}"]
    assigned = [address for address in addresses if address not in answered]
    words = [f"answers on {answered[0]}" if answered else "runs"]
    return "; ".join([*words, f"assigned: {', '.join(assigned)}"] if assigned else words)


def probe_step(seen: Seen) -> Step:
    """The step that waits for an answer to this start of the machine, and to no earlier one."""
    timeline = seen.machine.status.timeline
    start = timeline[-1].started_at if timeline else ""
    address = configs(seen)[0].lease.allocation.address
    instance = seen.dpu.status.instance_id if seen.dpu else ""
    digest = sha256(repr((start, address, instance)).encode()).hexdigest()[:16]
    return Step(kind=StepKind.PROBE, fingerprint=digest)


def _power(seen: Seen, wanted: PowerState, kind: StepKind, *, done: str, doing: str) -> Area:
    if seen.power is wanted:
        return Area(ready=True, says=done)
    step = Step(kind=kind)
    verdict: Verdict = judge(seen.steps, step, seen.now)
    again = verdict.done
    return Area(
        ready=False,
        says=doing,
        steps=(step,) if verdict.start or again else (),
        problem=verdict.error,
        attempts=max(verdict.attempts, 1),
        wake_s=verdict.wake_s,
    )


def _waking(area: Area, left: float) -> Area:
    return Area(
        ready=area.ready,
        says=area.says,
        steps=area.steps,
        problem=area.problem,
        attempts=area.attempts,
        wake_s=soonest(area.wake_s, left),
    )
