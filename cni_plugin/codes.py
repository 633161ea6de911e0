"""The CNI codes that this executable itself may answer with; all others come from the daemon.

The numbers are rows of proto.reasons, and a test holds them to that table. They are repeated here because importing
the table costs `enum` and `typing`, more than the whole call. For the same reason they are no enum.
"""

BAD_ENVIRONMENT = 4
"""CNI specification: a variable is missing or wrong."""
IO_FAILURE = 5
"""CNI specification: standard input cannot be read."""
INVALID = 7
"""Reason.INVALID: invalid network configuration."""
TRY_LATER = 11
"""Reason.DEADLINE: nothing is known to be wrong but time; the runtime repeats the call."""
UNAVAILABLE = 50
"""Reason.UNAVAILABLE: an ADD cannot be served now; what STATUS says."""
FORBIDDEN = 106
"""Reason.FORBIDDEN: the socket is not for this user."""
INTERNAL = 114
"""Reason.INTERNAL: this executable or the daemon is broken."""


class CniError(Exception):
    """A call that this executable answers itself.

    Args:
        code: of the CNI error.
        message: one sentence; names the socket or the variable.
        remedy: what the reader can do; the error's ``details``.
    """

    def __init__(self, code: int, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
