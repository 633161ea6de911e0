"""Pages of a list: sorted by name, so that a token stays good when objects come and go between two pages."""

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")

_MARK = "after:"


def page(found: Sequence[tuple[str, T]], max_entries: int, token: str) -> tuple[list[T], str]:
    """The next entries after a token, and the token of the page that follows; empty on the last page.

    Args:
        found: name and entry, in any order; names are unique.
        max_entries: at most so many; 0 for no bound.
        token: of the page before; empty for the first one.

    Raises:
        DpuError: INVALID for a negative number; CONFLICT for what is no token of ours: begin anew without one.
    """
    if max_entries < 0:
        raise DpuError(Reason.INVALID, f"{max_entries} entries", field="max_entries", remedy="give 0 or more")
    after = _after(token) if token else ""
    rest = sorted((entry for entry in found if entry[0] > after), key=lambda entry: entry[0])
    shown = rest[:max_entries] if max_entries else rest
    more = len(rest) > len(shown)
    return [entry for _, entry in shown], _token(shown[-1][0]) if more else ""


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(f"{_MARK}{name}".encode()).decode()


def _after(token: str) -> str:
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(_MARK):
        raise DpuError(
            Reason.CONFLICT, "that is no token of this plug-in", field="starting_token", remedy="list again without one"
        )
    return text.removeprefix(_MARK)
