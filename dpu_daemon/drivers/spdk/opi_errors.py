"""What a refusal of SPDK means to an OPI client, after a second look has shown that the work is not done."""

import errno
from collections.abc import Awaitable, Callable

from dpu_daemon.drivers.spdk.connection import SpdkError
from proto.errors import DpuError
from proto.reasons import Reason

_REASONS = {
    errno.ENOENT: Reason.INVALID,
    errno.EISDIR: Reason.INVALID,
    errno.EINVAL: Reason.INVALID,
    errno.EACCES: Reason.INVALID,
    errno.EEXIST: Reason.ALREADY_EXISTS,
    errno.ENOMEM: Reason.EXHAUSTED,
    errno.EBUSY: Reason.IN_USE,
    errno.ENODEV: Reason.UNAVAILABLE,
}
"""Codes differ by call and release: where they say nothing, the call may succeed later."""

Done = Callable[[], Awaitable[bool]]


async def attempt(call: Awaitable[object], done: Done, *, field: str, remedy: str) -> None:
    """Make a call; refused, it counts as done when a second look finds its work done.

    Args:
        call: of SPDK.
        done: the second look.
        field: of the object, for the error.
        remedy: for the error.

    Raises:
        DpuError: refused, and not done.
    """
    try:
        await call
    except SpdkError as error:
        if not await done():
            raise refused(error, field=field, remedy=remedy) from error


def refused(error: SpdkError, *, field: str, remedy: str) -> DpuError:
    """The refusal as an error with the field that it is about."""
    reason = _REASONS.get(-error.code, Reason.UNAVAILABLE)
    return DpuError(reason, error.message, field=field, remedy=remedy)
