"""How far a long run is: a bar on a terminal, a line now and then elsewhere."""

import time
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bmctl import screen
from bmctl.units import duration

LINE_EVERY_S = 5.0
_STEP = 0.001


class Telling:
    """Tells the share done of one run after the other on standard error."""

    def __init__(self) -> None:
        self._live = screen.err().is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>5.1f} %"))
        clocks = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(*columns, *clocks, console=screen.err(), transient=True)
        self._task: TaskID | None = None
        self._what = ""
        self._told = 0.0
        self._start_s = self._said_s = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._live:
            self._bar.stop()

    def begin(self, what: str) -> None:
        """A new run, from nothing."""
        self._what, self._told = what, 0.0
        if self._live:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(what, total=1.0)

    def done(self, share: float) -> None:
        """So much of the run is done, between 0 and 1; may be called far more often than anybody can read."""
        if share - self._told < _STEP:
            return
        self._told = share
        if self._task is not None:
            self._bar.update(self._task, completed=share)
            return
        now_s = time.monotonic()
        if not self._live and now_s - self._said_s >= LINE_EVERY_S:
            self._said_s = now_s
            screen.err().print(f"{self._what}: {share:.0%} after {duration(now_s - self._start_s)}")
