"""Live progress of one object: redrawn in place on a terminal, plain lines elsewhere."""

import time
from collections.abc import Collection
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

from bmctl import screen
from bmctl.objects import Object, dig, name_of, sentence
from bmctl.phases import Phase, Progress, deployment_line, heading, past, phases, timeline_lines
from bmctl.units import duration
from proto.errors import DpuError

REFRESH_HZ = 8


class View(AbstractContextManager["View"], Protocol):
    """Shows the states of one object as they come."""

    def show(self, obj: Object | None) -> None:
        """A new state; None when the object does not exist."""

    def lost(self, error: DpuError) -> None:
        """The server cannot be reached; the wait goes on."""


class LiveView:
    """A picture of the object that stays in place and moves.

    Args:
        title: what is waited for.
        known: phases to leave out.
    """

    def __init__(self, title: str, known: Collection[str]) -> None:
        self._title = title
        self._known = known
        self._obj: Object | None = None
        self._trouble = ""
        self._live = Live(
            get_renderable=self._picture, console=screen.err(), refresh_per_second=REFRESH_HZ, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._live.stop()

    def show(self, obj: Object | None) -> None:
        """Remember the newest state; the next refresh draws it."""
        self._obj, self._trouble = obj, ""

    def lost(self, error: DpuError) -> None:
        """Say under the picture that the server is away."""
        self._trouble = error.message

    def _picture(self) -> Group:
        lines = [Text(self._title, style="dim")] if self._obj is None else picture(self._obj, self._known)
        if self._trouble:
            lines.append(Text(f"  waiting for the server: {self._trouble}", style="yellow"))
        return Group(*lines)


def picture(obj: Object, known: Collection[str] = ()) -> list[Text]:
    """An object with its timeline, as it stands now.

    Args:
        obj: the object.
        known: phases to leave out.
    """
    shown = timeline_lines(phases(obj, datetime.now(UTC), known), clock_s=time.monotonic())
    if not shown:
        return [heading(obj), Text(f"  {sentence(obj) or 'waiting'}", style="dim")]
    total = None if known else deployment_line(obj)
    return [heading(obj), *shown, *([total] if total is not None else [])]


class PlainView:
    """A line for each thing that changes.

    Args:
        known: phases to leave out.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._start = time.monotonic()
        self._said = ""
        self._finished: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        return

    def show(self, obj: Object | None) -> None:
        """Print phases that are over, then what happens now."""
        if obj is None:
            return
        shown = phases(obj, datetime.now(UTC), self._known)
        for position, phase in enumerate(shown):
            if phase.progress is Progress.DONE and position not in self._finished:
                self._finished.add(position)
                self._say(f"{name_of(obj)}: {_sentence(phase)}")
        if not shown or shown[-1].progress is not Progress.DONE:
            now = str(dig(obj, "status.phase") or "Pending")
            message = sentence(obj)
            told = message.lower().startswith(now.lower())
            self._say(f"{name_of(obj)}: {message if told else now}" + (f": {message}" if message and not told else ""))

    def lost(self, error: DpuError) -> None:
        """Print that the server is away."""
        self._say(f"waiting for the server: {error.message}")

    def _say(self, line: str) -> None:
        if line == self._said:
            return
        self._said = line
        screen.err().print(f"{time.monotonic() - self._start:7.1f} s  {line}")


def _sentence(phase: Phase) -> str:
    if phase.lasting:
        return f"{phase.name}: {phase.message}"
    tries = f", {phase.attempts} tries" if phase.attempts > 1 else ""
    message = f": {phase.message}" if phase.message else ""
    return f"{phase.name} done in {duration(phase.seconds)}{tries}{message}"


def view(title: str, before: Object | None = None) -> View:
    """The view that fits standard error.

    Args:
        title: what is waited for.
        before: the object before; the phases that it had behind it are no news.
    """
    known = past(before)
    return LiveView(title, known) if screen.err().is_terminal else PlainView(known)
