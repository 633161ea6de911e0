"""Calls under way, by what they work on: a second one for the same is told to come again."""

from collections.abc import Iterator
from contextlib import contextmanager

from proto.errors import DpuError
from proto.reasons import Reason

WHOLE = ""


class InFlight:
    """One call at a time per object; calls for different nodes may share a volume."""

    def __init__(self) -> None:
        self._busy: dict[str, set[str]] = {}

    @contextmanager
    def only(self, what: str, part: str = WHOLE) -> Iterator[None]:
        """Hold an object, or the part of it that concerns one node.

        Raises:
            DpuError: IN_FLIGHT; another call holds it.
        """
        parts = self._busy.setdefault(what, set())
        if parts and (part == WHOLE or part in parts or WHOLE in parts):
            raise DpuError(
                Reason.IN_FLIGHT, f"another call for {what} is under way", remedy="repeat this one when that has ended"
            )
        parts.add(part)
        try:
            yield
        finally:
            parts.discard(part)
            if not parts:
                self._busy.pop(what, None)

    def count(self) -> int:
        """Calls under way."""
        return sum(len(parts) for parts in self._busy.values())
