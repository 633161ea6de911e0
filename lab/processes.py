"""Processes that must be recognised later: an id alone may by then belong to somebody else."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

POLL_S = 0.02


class Birth(msgspec.Struct, frozen=True):
    """A process for ever: its id and when it began (clock ticks since boot)."""

    pid: int
    ticks: int


def birth_of(pid: int) -> Birth | None:
    """The process that has this id now; None when there is none or it has ended (a zombie)."""
    try:
        text = (Path("/proc") / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else Birth(pid, int(fields[19]))


def is_alive(birth: Birth) -> bool:
    """Whether that very process still runs."""
    return birth_of(birth.pid) == birth


def end(births: Iterable[Birth], grace_s: float = 5.0) -> list[int]:
    """SIGTERM, and SIGKILL after the grace time; returns the ids of those that were still there."""
    there = [birth for birth in births if is_alive(birth)]
    _signal(there, signal.SIGTERM)
    if not _gone(there, grace_s):
        _signal(there, signal.SIGKILL)
        _gone(there, grace_s)
    return [birth.pid for birth in there]


def _signal(births: Iterable[Birth], number: signal.Signals) -> None:
    for birth in births:
        if is_alive(birth):
            with contextlib.suppress(ProcessLookupError):
                os.kill(birth.pid, number)


def _gone(births: list[Birth], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while any(is_alive(birth) for birth in births):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
