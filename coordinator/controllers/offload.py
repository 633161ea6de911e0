"""Whether a DPU's switch forwards in hardware: one condition made of the daemon's report."""

from dataclasses import dataclass
from enum import Enum

from coordinator.clients.offload import SwitchWhere
from coordinator.core.conditions import Truth
from coordinator.core.objects.meta import Condition
from proto.errors import DpuError

NO_PATH, NO_WORD = "none", "dummy"
"""Values of `SwitchWhere.path`: flows cannot get into hardware; the datapath does not tell where they are."""


class OffloadReason(Enum):
    """Reasons of the condition."""

    IN_HARDWARE = "InHardware"
    NOTHING = "NothingInHardware"
    NO_FLOWS = "NoFlows"
    NOT_ENABLED = "NotEnabled"
    SOFTWARE = "SoftwareDatapath"
    RESTART = "RestartNeeded"
    NOT_TOLD = "NotTold"


@dataclass(frozen=True, slots=True)
class Offloading:
    """What is known of a switch."""

    truth: Truth
    reason: OffloadReason
    message: str


_WORDS = {
    OffloadReason.IN_HARDWARE: "offload is on ({path}), and flows are in hardware",
    OffloadReason.NOTHING: "offload is on ({path}), and no flow is in hardware: bmctl offload says why",
    OffloadReason.NO_FLOWS: "offload is on ({path}); no flow has been seen yet",
    OffloadReason.NOT_ENABLED: "offload is off: [offload] enabled = true in the daemon's settings asks for it",
    OffloadReason.SOFTWARE: "offload is asked for, and the datapath in user space has no port that could",
    OffloadReason.RESTART: "offload is set but not in effect: restart ovs-vswitchd",
}
"""Without counts: a condition is written when something has become otherwise, and counts always have."""


def offloading(found: SwitchWhere | DpuError) -> Offloading:
    """What a report says, or that there is none.

    Args:
        found: the newest report; or why there is none.
    """
    if isinstance(found, DpuError):
        return Offloading(Truth.UNKNOWN, OffloadReason.NOT_TOLD, f"the daemon does not tell: {found}")
    truth, reason = _judged(found)
    says = [_WORDS[reason].format(path=found.path) if reason in _WORDS else _silence(found)]
    if reason is OffloadReason.NOT_ENABLED and found.restart_needed:
        says.append("ovs-vswitchd goes on with it until it is restarted")
    elif truth is Truth.FALSE:
        # A warning that begins with a number is about the traffic of one look.
        says += [word for word in found.warnings if not word[:1].isdigit()][:1]
    return Offloading(truth, reason, "; ".join(says))


def adds_nothing(found: Offloading, before: Condition | None) -> bool:
    """Whether what is found leaves a condition as it is: that the last flow aged out takes back nothing of it."""
    told = before.reason if before is not None else ""
    return found.reason is OffloadReason.NO_FLOWS and told in {
        OffloadReason.IN_HARDWARE.value,
        OffloadReason.NOTHING.value,
    }


def _silence(found: SwitchWhere) -> str:
    return "a dummy datapath does not tell" if found.datapath else "the switch has no datapath yet"


def _judged(found: SwitchWhere) -> tuple[Truth, OffloadReason]:
    in_hardware = bool(found.flows_in_hardware)
    first_of = (
        (not found.enabled, Truth.FALSE, OffloadReason.NOT_ENABLED),
        (not found.datapath or found.path == NO_WORD, Truth.UNKNOWN, OffloadReason.NOT_TOLD),
        (found.path == NO_PATH, Truth.FALSE, OffloadReason.SOFTWARE),
        (found.restart_needed, Truth.FALSE, OffloadReason.RESTART),
        (not found.flows, Truth.UNKNOWN, OffloadReason.NO_FLOWS),
        (not in_hardware, Truth.FALSE, OffloadReason.NOTHING),
        (in_hardware, Truth.TRUE, OffloadReason.IN_HARDWARE),
    )
    return next((truth, reason) for holds, truth, reason in first_of if holds)
