"""--wait: until a goal is reached, the object has failed, or the time is over."""

from collections.abc import Callable
from typing import TypeVar

import click

from bmctl.api import Api
from bmctl.goals import Goal, gone
from bmctl.kinds import Kind
from bmctl.objects import Object, conditions, dig, name_of
from bmctl.progress import view
from bmctl.watching import states
from proto.errors import DpuError
from proto.reasons import Reason

Command = TypeVar("Command", bound=Callable[..., object])
DEFAULT_TIMEOUT_S = 600.0


def waitable(command: Command) -> Command:
    """Give a command --wait and --timeout."""
    waits = click.option("--wait", is_flag=True, help="Show progress until it is done.")
    timeout = click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=DEFAULT_TIMEOUT_S,
        show_default=True,
        metavar="SECONDS",
        help="Longest wait; then exit status 7.",
    )
    return waits(timeout(command))


def wait_for(
    api: Api, kind: Kind, name: str, goal: Goal, timeout_s: float, before: Object | None = None
) -> Object | None:
    """The object once it is as wanted.

    Args:
        api: the API.
        kind: the object's kind.
        name: its name.
        goal: what to wait for.
        timeout_s: longest wait.
        before: the object as it was when the change was asked for; progress begins there.

    Raises:
        DpuError: DEADLINE with what is in the way, or the object's own failure.
    """
    last: Object | None = None
    failure: DpuError | None = None
    try:
        with view(f"waiting until {goal.sentence}", before) as shown:
            for obj in states(api, kind, name, timeout_s=timeout_s, lost=shown.lost):
                last = obj
                shown.show(obj)
                if goal.reached(obj):
                    return obj
                failure = goal.failure(obj)
                if failure is not None:
                    break
    except DpuError as error:
        if error.reason is not Reason.DEADLINE:
            raise
        raise _late(kind, name, goal, timeout_s, last) from error
    message = failure.message if failure is not None else f"the watch of {name} ended"
    reason = failure.reason if failure is not None else Reason.INTERNAL
    raise DpuError(reason, message, remedy=f"see `bmctl describe {kind.word} {name}`")


def wait_until_gone(api: Api, kind: Kind, found: Object | None, timeout_s: float) -> None:
    """Wait for the end of an object that was `found` before its end was asked for; None was none.

    Raises:
        DpuError: DEADLINE with what is in the way.
    """
    if found is not None:
        wait_for(api, kind, name_of(found), gone(name_of(found), str(dig(found, "metadata.uid"))), timeout_s)


def _late(kind: Kind, name: str, goal: Goal, timeout_s: float, last: Object | None) -> DpuError:
    phase = dig(last, "status.phase") or ("not there" if last is None else "Pending")
    message = dig(last, "status.message") or _complaint(last)
    why = f"{phase}: {message}" if message else str(phase)
    return DpuError(
        Reason.DEADLINE,
        f"waited {timeout_s:g} s until {goal.sentence}; it is {why}",
        remedy=f"wait longer with --timeout, or look at `bmctl describe {kind.word} {name}`",
    )


def _complaint(obj: Object | None) -> str:
    """The first condition that says what is wrong."""
    if obj is None:
        return ""
    return next((str(one.get("message", "")) for one in conditions(obj) if one.get("status") == "False"), "")
