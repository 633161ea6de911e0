"""What bmctl's exit status says; documented in docs/bmctl.md."""

from enum import IntEnum

from proto.reasons import Reason


class Exit(IntEnum):
    """Exit statuses of bmctl."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    DENIED = 5
    UNREACHABLE = 6
    TIMEOUT = 7
    INVALID = 8
    INTERRUPTED = 130


EXIT_OF: dict[Reason, Exit] = {
    Reason.INVALID: Exit.INVALID,
    Reason.NOT_FOUND: Exit.NOT_FOUND,
    Reason.ALREADY_EXISTS: Exit.CONFLICT,
    Reason.IN_USE: Exit.CONFLICT,
    Reason.CONFLICT: Exit.CONFLICT,
    Reason.IN_FLIGHT: Exit.CONFLICT,
    Reason.STALE_GENERATION: Exit.CONFLICT,
    Reason.GONE: Exit.CONFLICT,
    Reason.OUT_OF_RANGE: Exit.INVALID,
    Reason.NOT_ASSIGNED: Exit.DENIED,
    Reason.FORBIDDEN: Exit.DENIED,
    Reason.UNAUTHENTICATED: Exit.DENIED,
    Reason.EXHAUSTED: Exit.FAILED,
    Reason.UNAVAILABLE: Exit.UNREACHABLE,
    Reason.CATCHING_UP: Exit.UNREACHABLE,
    Reason.DEADLINE: Exit.TIMEOUT,
    Reason.UNSUPPORTED: Exit.FAILED,
    Reason.WRONG_STATE: Exit.CONFLICT,
    Reason.DATA_LOSS: Exit.FAILED,
    Reason.CORRUPT: Exit.FAILED,
    Reason.STORAGE_FULL: Exit.FAILED,
    Reason.INTERNAL: Exit.FAILED,
}
