"""The server's Table objects as columns."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from bmctl.columns import Columns
from bmctl.objects import Object, dig, instant
from bmctl.units import age, size

BYTES_COLUMNS = {"size", "allocated"}


class TablePrinter:
    """Turns Tables of one kind into lines; watches bring one after the other.

    Args:
        wide: show the columns that are left out by default, too.
        with_namespace: put the namespace first.
        heading: print column names.
    """

    def __init__(self, *, wide: bool, with_namespace: bool, heading: bool = True) -> None:
        self._wide = wide
        self._with_namespace = with_namespace
        self._heading = heading
        self._columns: Columns | None = None
        self._definitions: list[Object] = []

    def lines(self, table: Object) -> list[Text]:
        """The table's rows as lines."""
        self._definitions = table.get("columnDefinitions") or self._definitions
        shown = [i for i, one in enumerate(self._definitions) if self._wide or not one.get("priority")]
        if self._columns is None:
            names = [str(self._definitions[i]["name"]) for i in shown]
            self._columns = Columns((["Namespace"] if self._with_namespace else []) + names, heading=self._heading)
        return self._columns.lines([self._row(row, shown) for row in table.get("rows") or []])

    def _row(self, row: Object, shown: Sequence[int]) -> list[str]:
        cells = [cell(self._definitions[i], row["cells"][i]) for i in shown]
        place = str(dig(row, "object.metadata.namespace", ""))
        return [place, *cells] if self._with_namespace else cells


def cell(definition: Object, value: Any) -> str:
    """A cell as text: bytes as sizes, instants as ages, nothing as ``-``."""
    if value is None or value == "":
        return "-"
    moment = instant(value)
    if moment is not None and definition.get("type") in ("date", "string"):
        return age(moment, datetime.now(UTC))
    if isinstance(value, int) and definition["name"].lower() in BYTES_COLUMNS:
        return size(value)
    return str(value)
