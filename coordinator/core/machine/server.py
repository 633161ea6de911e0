"""The server that a machine gets: claimed, its DPU there, nothing of another tenant on it; and what if it is lost."""

from coordinator.core.conditions import Aspect, holds
from coordinator.core.ipam.allocate import settle
from coordinator.core.machine.disks import clone_area
from coordinator.core.machine.hosts import choose_host
from coordinator.core.machine.ports import no_network, where
from coordinator.core.machine.power import off_area
from coordinator.core.machine.seen import Area, Claim, Seen
from coordinator.core.machine.steps import Step, StepKind, judge
from coordinator.core.machine.wanted import WantedDisk
from coordinator.core.objects.fleet import DpuPhase
from coordinator.core.objects.machine import Phase
from coordinator.core.storage.attachment import FORCE_DETACH
from proto.errors import DpuError
from proto.reasons import Reason

EARLY = frozenset({Phase.PENDING, Phase.ALLOCATING})
"""Phases in which nothing is shown to a host yet: a machine may still take another one."""


def host_area(seen: Seen, disks: list[WantedDisk]) -> Area:
    """Whether the machine has a server, or which ones it may take."""
    if seen.host is not None:
        return Area(ready=True, says=f"host {seen.host.metadata.name} claimed")
    if seen.lost_host:
        return Area(ready=False, says=f"host {seen.lost_host} is no longer held; another one is chosen")
    unfit = _unfit(seen, disks)
    if unfit:
        return Area(ready=False, says="no host is claimed for what cannot be", problem=unfit)
    choice = choose_host(seen.machine, seen.hosts, seen.dpus)
    if choice.fitting:
        return Area(ready=False, says="a host is being claimed", changes=(Claim(hosts=choice.fitting),))
    problem = DpuError(
        Reason.EXHAUSTED,
        choice.why,
        remedy="free or add a host, or loosen spec.hostSelector and spec.resources; servers of a pool are had by "
        "raising spec.replicas of the ServerPool; the machine goes on by itself",
    )
    return Area(ready=False, says=choice.why, problem=problem)


def lost_area(seen: Seen) -> Area:
    """A machine that was shown to a server which it no longer holds. Another one would start its disks twice."""
    problem = DpuError(
        Reason.NOT_FOUND,
        f"host {seen.lost_host} is gone or no longer claimed by this machine; its server may still run on its disks",
        field="status.hostRef",
        remedy=f"register the host again with this machine in its spec.claimRef, or see that the server is off and "
        f"delete the machine (annotated with {FORCE_DETACH})",
    )
    return Area(ready=False, says="", problem=problem)


def _unfit(seen: Seen, disks: list[WantedDisk]) -> DpuError | None:
    """What the spec asks for and cannot get, as far as that is known without a host."""
    try:
        settle(seen.machine, seen.subnets, seen.machines, seen.pods, seen.leaving)
        return no_network(seen) or clone_area(seen, disks).problem
    except DpuError as error:
        return error


def dpu_trouble(seen: Seen) -> DpuError | None:
    """What is wrong with the DPU of a machine's host."""
    if seen.host is None:
        return None
    name = seen.host.spec.dpu_ref.name
    if seen.dpu is None:
        return DpuError(
            Reason.NOT_FOUND,
            f"DPU {name} of host {seen.host.metadata.name} is not registered",
            field="spec.dpuRef.name of the host",
            remedy="create the Dpu object, or delete the machine",
        )
    if seen.dpu.status.phase is not DpuPhase.OFFLINE:
        return None
    return DpuError(
        Reason.UNAVAILABLE,
        f"DPU {name} is offline: disks and NICs work on, changes wait",
        remedy=f"`kubectl describe dpu {name}` says more",
        retry=True,
    )


def dpu_area(seen: Seen) -> Area:
    """Whether the DPU's daemon is there; steps and attachments wait for it by themselves when it is only away."""
    trouble = dpu_trouble(seen)
    name = seen.dpu.metadata.name if seen.dpu else ""
    return Area(ready=seen.dpu is not None, says=str(trouble or f"DPU {name} is online"), problem=trouble)


def is_lost(seen: Seen) -> bool:
    """Whether the machine had a server that may hold something of it, and no longer has it."""
    shown = holds(seen.machine.status.conditions, Aspect.DPU_CLEAR) or seen.machine.status.deployment is not None
    return bool(seen.lost_host) and (seen.resumed not in EARLY or shown)


def is_cleared(seen: Seen) -> bool:
    """Whether it is written down that the host held nothing of anybody else when this machine got it."""
    if seen.resumed not in EARLY or seen.machine.status.deployment is not None:
        return True
    named = seen.machine.status.host_ref
    same = named is not None and seen.host is not None and named.name == seen.host.metadata.name
    return same and holds(seen.machine.status.conditions, Aspect.DPU_CLEAR)


def clear_area(seen: Seen) -> Area:
    """Nothing of another tenant on the DPU, and the server off, before anything of this machine is shown to it."""
    if is_cleared(seen):
        return Area(ready=True, says="the DPU held nothing of anybody else")
    off = off_area(seen)
    if not off.ready:
        return off
    step = Step(kind=StepKind.CLEAR, fingerprint=where(seen))
    verdict = judge(seen.steps, step, seen.now)
    return Area(
        ready=verdict.done,
        says="the DPU holds nothing of anybody else" if verdict.done else "the DPU is looked through for leftovers",
        steps=(step,) if verdict.start else (),
        problem=None if verdict.done else verdict.error,
        attempts=max(verdict.attempts, 1),
        wake_s=verdict.wake_s,
    )
