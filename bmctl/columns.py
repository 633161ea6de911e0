"""Aligned columns that neither wrap nor cut, so that they can be piped."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from bmctl.screen import STATUS_COLUMNS, tint

GAP = 3
Row = Sequence[str]


class Columns:
    """Rows under a heading, printed as they come; the widths only ever grow.

    Args:
        names: headings.
        heading: whether the heading is printed.
    """

    def __init__(self, names: Row, *, heading: bool = True) -> None:
        self.names = list(names)
        self._heading = heading
        self._widths = [cell_len(name) for name in names]

    def lines(self, rows: Sequence[Row]) -> list[Text]:
        """The rows as lines, after the heading the first time."""
        for row in rows:
            self._widths = [max(width, cell_len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        lines = [self._line([name.upper() for name in self.names], title=True)] if self._heading else []
        self._heading = False
        return lines + [self._line(row) for row in rows]

    def _line(self, row: Row, *, title: bool = False) -> Text:
        line = Text(no_wrap=True)
        for position, (name, cell, width) in enumerate(zip(self.names, row, self._widths, strict=True)):
            last = position == len(self.names) - 1
            style = "dim" if title else _style(name, cell, first=position == 0)
            line.append(cell, style=style)
            line.append("" if last else " " * (width - cell_len(cell) + GAP))
        return line


def _style(name: str, cell: str, *, first: bool) -> str:
    if name.lower() in STATUS_COLUMNS:
        return tint(cell)
    return "bold" if first else ""
