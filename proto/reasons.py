"""The one table of error reasons and what each is called on every wire.

A reason is decided where the fault is seen; the code for gRPC, CSI, CNI and HTTP follows from this table
and nowhere else. Standard library only: the CNI executable imports it.
"""

from enum import Enum
from typing import NamedTuple


class Wire(NamedTuple):
    """What a reason maps to at the edges.

    Attributes:
        grpc: canonical gRPC status name (CSI uses the same names).
        cni: CNI error code; below 100 from the CNI specification, from 100 ours.
        http: HTTP status for the Kubernetes-style API.
        retry: whether the same call may succeed later without anybody changing anything.
    """

    grpc: str
    cni: int
    http: int
    retry: bool


class Reason(Enum):
    """Why a request was refused or failed."""

    INVALID = "Invalid"
    NOT_FOUND = "NotFound"
    ALREADY_EXISTS = "AlreadyExists"
    IN_USE = "InUse"
    CONFLICT = "Conflict"
    IN_FLIGHT = "InFlight"
    STALE_GENERATION = "StaleGeneration"
    NOT_ASSIGNED = "NotAssigned"
    FORBIDDEN = "Forbidden"
    UNAUTHENTICATED = "Unauthenticated"
    EXHAUSTED = "Exhausted"
    GONE = "Gone"
    OUT_OF_RANGE = "OutOfRange"
    UNAVAILABLE = "Unavailable"
    CATCHING_UP = "CatchingUp"
    DEADLINE = "DeadlineExceeded"
    UNSUPPORTED = "Unsupported"
    WRONG_STATE = "WrongState"
    DATA_LOSS = "DataLoss"
    CORRUPT = "Corrupt"
    STORAGE_FULL = "StorageFull"
    INTERNAL = "Internal"


WIRE: dict[Reason, Wire] = {
    Reason.INVALID: Wire("INVALID_ARGUMENT", 7, 400, retry=False),
    Reason.NOT_FOUND: Wire("NOT_FOUND", 101, 404, retry=False),
    Reason.ALREADY_EXISTS: Wire("ALREADY_EXISTS", 102, 409, retry=False),
    Reason.IN_USE: Wire("FAILED_PRECONDITION", 103, 409, retry=True),
    Reason.CONFLICT: Wire("ABORTED", 11, 409, retry=True),
    Reason.IN_FLIGHT: Wire("ABORTED", 11, 409, retry=True),
    Reason.STALE_GENERATION: Wire("FAILED_PRECONDITION", 104, 409, retry=False),
    Reason.NOT_ASSIGNED: Wire("PERMISSION_DENIED", 105, 403, retry=False),
    Reason.FORBIDDEN: Wire("PERMISSION_DENIED", 106, 403, retry=False),
    Reason.UNAUTHENTICATED: Wire("UNAUTHENTICATED", 107, 401, retry=False),
    Reason.EXHAUSTED: Wire("RESOURCE_EXHAUSTED", 108, 429, retry=True),
    Reason.GONE: Wire("OUT_OF_RANGE", 115, 410, retry=False),
    Reason.OUT_OF_RANGE: Wire("OUT_OF_RANGE", 116, 400, retry=False),
    Reason.UNAVAILABLE: Wire("UNAVAILABLE", 50, 503, retry=True),
    Reason.CATCHING_UP: Wire("UNAVAILABLE", 51, 503, retry=True),
    Reason.DEADLINE: Wire("DEADLINE_EXCEEDED", 11, 504, retry=True),
    Reason.UNSUPPORTED: Wire("UNIMPLEMENTED", 109, 501, retry=False),
    Reason.WRONG_STATE: Wire("FAILED_PRECONDITION", 110, 409, retry=False),
    Reason.DATA_LOSS: Wire("DATA_LOSS", 111, 500, retry=False),
    Reason.CORRUPT: Wire("DATA_LOSS", 112, 500, retry=False),
    Reason.STORAGE_FULL: Wire("RESOURCE_EXHAUSTED", 113, 507, retry=True),
    Reason.INTERNAL: Wire("INTERNAL", 114, 500, retry=False),
}
