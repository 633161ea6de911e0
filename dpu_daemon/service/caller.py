"""Who makes the call that is being answered; the gate says it, and services that trust nobody else ask."""

from contextvars import ContextVar

from dpu_daemon.service.roles import Peer
from proto.errors import DpuError
from proto.reasons import Reason

CALLER: ContextVar[Peer] = ContextVar("caller")
"""Set by the gate before a handler runs, in that handler's own context."""


def caller() -> Peer:
    """The peer of this call.

    Raises:
        DpuError: UNAUTHENTICATED outside of any call.
    """
    try:
        return CALLER.get()
    except LookupError as error:
        message = "nobody is known to call"
        raise DpuError(Reason.UNAUTHENTICATED, message, remedy="call through the daemon's server") from error
