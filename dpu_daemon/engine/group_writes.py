"""Writes to groups as one change: all of them hold and were read back, or none was made."""

from collections.abc import Sequence

import structlog

from dpu_daemon.engine.host_protocols import GroupDriver
from dpu_daemon.model.cgroup import Write
from proto.errors import DpuError
from proto.reasons import Reason

_log = structlog.get_logger("dpu_daemon.groups")


async def apply_writes(driver: GroupDriver, writes: Sequence[Write]) -> None:
    """Make every write in order and look at what the kernel made of it; at the first that fails undo those made.

    Undoing goes backwards through the very states that were passed, each of which the kernel took before.

    Raises:
        DpuError: what the kernel or the second look said; nothing has changed, or the message says what has.
    """
    made: list[Write] = []
    try:
        for write in writes:
            await driver.write(write)
            made.append(write)
            await _look_again(driver, write)
    except DpuError as error:
        stuck = await _undo(driver, made)
        if stuck:
            raise DpuError(
                error.reason, f"{error.message}; not taken back: {stuck}", field=error.field, remedy=error.remedy
            ) from error
        raise


async def _look_again(driver: GroupDriver, write: Write) -> None:
    found = await driver.value(write.path, write.knob)
    if found != write.value:
        raise DpuError(
            Reason.IN_USE,
            f"{write.knob.value} of {write.path} reads {found} after {write.value} was written",
            field=write.knob.value,
            remedy="somebody else writes there: find out who manages this group",
        )


async def _undo(driver: GroupDriver, made: Sequence[Write]) -> str:
    """Write the old values, newest first; returns what could not be, as a sentence."""
    stuck: list[str] = []
    for write in reversed(made):
        try:
            back = Write(path=write.path, knob=write.knob, value=write.before, before=write.value)
            await driver.write(back)
        except DpuError as error:
            if error.reason is not Reason.NOT_FOUND:
                _log.error(f"cannot take back {write.knob.value} of {write.path}: {error}")
                stuck.append(f"{write.knob.value} of {write.path}")
    return ", ".join(stuck)
