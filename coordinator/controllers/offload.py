"""Whether a DPU's switch forwards in hardware: one condition made of the daemon's report."""

from dataclasses import dataclass
from enum import Enum

from coordinator.clients.offload import SwitchWhere
from coordinator.core.conditions import Truth
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


def offloading(found: SwitchWhere | DpuError) -> Offloading:
    """What a report says, or that there is none.

    Args:
        found: the newest report; or why there is none.
    """
    if isinstance(found, DpuError):
        return Offloading(Truth.UNKNOWN, OffloadReason.NOT_TOLD, f"the daemon does not tell: {found}")
    truth, reason = _judged(found)
    more = "" if truth is Truth.TRUE else "; ".join(word for word in found.warnings[:1] if word != found.sentence)
    if reason is OffloadReason.NOT_ENABLED:
        more = "[offload] enabled = true in the daemon's settings asks for it"
    return Offloading(truth, reason, "; ".join(filter(None, (found.sentence, more))))


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
