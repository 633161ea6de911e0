"""What an error is called on the CSI wire, where a code also says whether the work may still be going on."""

from enum import Enum

from proto.errors import DpuError
from proto.reasons import Reason


class Standing(Enum):
    """What a caller takes an error for."""

    FINAL = "certainly not in progress"
    OPEN = "may still be going on"


OPEN_CODES = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "ABORTED"})
"""Source: what the Kubernetes sidecars repeat; any other code is final to them."""

OVERRIDES: dict[Reason, str] = {
    Reason.INTERNAL: "UNAVAILABLE",
    Reason.UNSUPPORTED: "INVALID_ARGUMENT",
    Reason.STALE_GENERATION: "ABORTED",
    Reason.GONE: "ABORTED",
    Reason.NOT_ASSIGNED: "UNAVAILABLE",
    Reason.FORBIDDEN: "UNAVAILABLE",
    Reason.UNAUTHENTICATED: "UNAVAILABLE",
}
"""Reasons of others whose usual code would have the caller forget what is half made.

UNSUPPORTED is of a backend that cannot do what the class asks for; UNIMPLEMENTED would deny the whole call.
FORBIDDEN and UNAUTHENTICATED are of ourselves before the API server, a DPU or a storage node, never of the caller.
"""


def csi_code(reason: Reason) -> str:
    """Name of the gRPC code."""
    return OVERRIDES.get(reason, DpuError(reason, "").wire.grpc)


def standing(reason: Reason) -> Standing:
    """What the caller takes an error of this reason for."""
    return Standing.OPEN if csi_code(reason) in OPEN_CODES else Standing.FINAL
