"""What the demo shows: one line per step, live on a terminal, plain in a log."""

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

LOG_WIDTH = 160


class Step:
    """One line: what is done, how long it takes, what came of it."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""
        self.seconds: float | None = None
        self.failed = False
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """So far, or in all."""
        return self.seconds if self.seconds is not None else time.monotonic() - self._began

    @property
    def is_open(self) -> bool:
        return self.seconds is None

    def finish(self, *, failed: bool = False) -> None:
        """Stop its clock."""
        self.seconds = self.elapsed_s
        self.failed = failed


def _default_console() -> Console:
    """Standard output; a log has no width of its own, so lines there are not folded at 80."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=LOG_WIDTH)


class Screen:
    """The demo's output.

    Args:
        console: where it goes; on a terminal the chapter's lines are redrawn while they change.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _default_console()
        self._steps: list[Step] = []
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._settle()

    def chapter(self, title: str) -> None:
        """Begin a part of the story; the steps so far stay as they are."""
        self._settle()
        self._console.print(Text(f"\n{title}", style="bold"))

    def say(self, text: str, style: str = "") -> None:
        """A line of its own, under the steps so far."""
        self._settle()
        self._console.print(Text(text, style=style))

    def _settle(self) -> None:
        """Leave the steps so far on the terminal for good."""
        if self._live is not None:
            self._live.stop()
        self._live, self._steps = None, []

    def open(self, title: str) -> Step:
        """A step whose end is told later with close()."""
        step = Step(title)
        self._steps.append(step)
        if self._live is None and self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._draw, refresh_per_second=10)
            self._live.start()
        return step

    def close(self, step: Step, *, failed: bool = False) -> None:
        """End a step; it keeps seconds that were set from elsewhere."""
        if step.is_open:
            step.finish(failed=failed)
        step.failed = failed
        if not self._console.is_terminal:
            self._console.print(self._row(step))

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """A step that lasts as long as the block."""
        step = self.open(title)
        try:
            yield step
        except BaseException:
            self.close(step, failed=True)
            raise
        self.close(step)

    def _draw(self) -> RenderableType:
        return Group(*(self._row(step) for step in self._steps))

    def _row(self, step: Step) -> Table:
        row = Table.grid(padding=(0, 1), expand=False)
        row.add_column(width=2)
        row.add_column(width=38)
        row.add_column(width=9, justify="right")
        row.add_column(overflow="fold")
        row.add_row(self._mark(step), Text(step.title), f"{step.elapsed_s:.2f} s", Text(step.detail, style="dim"))
        return row

    def _mark(self, step: Step) -> RenderableType:
        if step.is_open:
            return Spinner("dots")
        return Text("✗", style="red") if step.failed else Text("✓", style="green")
