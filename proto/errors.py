"""The one error that crosses our layers.

DpuError            what went wrong, as a Reason, with the field and the remedy
"""

from proto.reasons import WIRE, Reason, Wire


class DpuError(Exception):
    """A failure that knows its wire codes.

    Args:
        reason: row of the table in proto.reasons.
        message: one sentence; names the object.
        field: path of the field that is wrong, such as ``spec.size``; empty when none is.
        remedy: what the reader can do about it; empty only when nothing can be done.
        retry: overrides the table's opinion on whether the same call may succeed later.
    """

    def __init__(
        self, reason: Reason, message: str, *, field: str = "", remedy: str = "", retry: bool | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.remedy = remedy
        self.retry = self.wire.retry if retry is None else retry

    @property
    def wire(self) -> Wire:
        """Codes of this reason on every wire."""
        return WIRE[self.reason]

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        advice = f" ({self.remedy})" if self.remedy else ""
        return f"{where}{self.message}{advice}"
