"""How long a machine may stay in a phase, and what to do when it stays longer."""

from dataclasses import dataclass
from datetime import datetime

from coordinator.core.machine.timeline import entered
from coordinator.core.objects.machine import Machine, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """Seconds that phases may take.

    Attributes:
        work_s: Allocating, Cloning, Attaching, Plugging each: own work, seconds at most when all is well.
        power_s: PoweringOn; slow BMCs take a minute to act.
        boot_s: Booting; server firmware alone may take minutes.
        stop_s: Stopping and Restarting until the power is cut, for a guest that does not shut itself down.
    """

    work_s: float = 60.0
    power_s: float = 120.0
    boot_s: float = 900.0
    stop_s: float = 30.0

    def of(self, phase: Phase) -> float | None:
        """Seconds for `phase`; None when it has no end of its own."""
        if phase in {Phase.ALLOCATING, Phase.CLONING, Phase.ATTACHING, Phase.PLUGGING}:
            return self.work_s
        return {Phase.POWERING_ON: self.power_s, Phase.BOOTING: self.boot_s}.get(phase)


REMEDY: dict[Phase, str] = {
    Phase.ALLOCATING: "look at the conditions of hosts and subnets; the machine goes on by itself when they are well",
    Phase.CLONING: "`kubectl describe` its volumes; see that the storage node runs; the machine goes on by itself",
    Phase.ATTACHING: "`kubectl describe` its volumeattachments and the DPU; the machine goes on by itself",
    Phase.PLUGGING: "`kubectl describe` the DPU; the machine goes on by itself when its ports forward",
    Phase.POWERING_ON: "look at the BMC in the host's spec.bmc; the machine goes on by itself when it obeys",
    Phase.BOOTING: "look at its console; check the image and spec.userData, then restart it",
}


def time_left(machine: Machine, phase: Phase, deadlines: Deadlines, now: datetime) -> float | None:
    """Seconds until the deadline of `phase`, from when the timeline says it was entered; None for no deadline."""
    limit = deadlines.of(phase)
    since = entered(machine.status.timeline, phase)
    if limit is None or since is None:
        return limit
    return limit - (now - since).total_seconds()
