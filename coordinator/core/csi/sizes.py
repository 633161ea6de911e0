"""Sizes: which one a range of capacities gives, and whether one that is there is within it."""

from dataclasses import dataclass

from coordinator.core.storage.size import MIB, spell_size
from proto.errors import DpuError
from proto.reasons import Reason

DEFAULT_BYTES = 1 << 30
"""Size of a volume for which nobody asked for one."""
SMALLEST_BYTES = MIB
LARGEST_BYTES = 1 << 60
"""Of the arithmetic; each backend has a limit of its own."""
FIELD = "capacity_range"


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Bytes: at least and at most; 0 is anything."""

    required_bytes: int = 0
    limit_bytes: int = 0

    def check(self) -> None:
        """Refuse what no size can be.

        Raises:
            DpuError: INVALID for a negative number, OUT_OF_RANGE when the limit is less than what is required.
        """
        if self.required_bytes < 0 or self.limit_bytes < 0:
            raise DpuError(
                Reason.INVALID, "a size cannot be negative", field=FIELD, remedy="give bytes, or 0 for any size"
            )
        if self.limit_bytes and self.limit_bytes < self.required_bytes:
            raise out_of_range(
                f"limit_bytes {self.limit_bytes} is less than required_bytes {self.required_bytes}",
                "raise limit_bytes",
            )

    def holds(self, size_bytes: int) -> bool:
        """Whether a size is within."""
        return size_bytes >= self.required_bytes and (not self.limit_bytes or size_bytes <= self.limit_bytes)

    def __str__(self) -> str:
        least = spell_size(self.required_bytes) if self.required_bytes else "any size"
        return f"{least} to {spell_size(self.limit_bytes)}" if self.limit_bytes else least


def choose_size(wanted: SizeRange, source_bytes: int = 0) -> int:
    """Bytes of a new volume: the least whole MiB that is within the range and holds its source.

    Args:
        wanted: the range.
        source_bytes: size of the snapshot, volume or image that it starts from; 0 for none.

    Raises:
        DpuError: INVALID or OUT_OF_RANGE.
    """
    wanted.check()
    most = wanted.limit_bytes // MIB * MIB or DEFAULT_BYTES
    least = wanted.required_bytes or source_bytes or min(DEFAULT_BYTES, most)
    if least < source_bytes:
        raise out_of_range(
            f"{spell_size(least)} is less than the source's {spell_size(source_bytes)}",
            f"ask for at least {spell_size(source_bytes)}",
        )
    return fit(wanted, max(least, SMALLEST_BYTES))


def fit(wanted: SizeRange, least_bytes: int) -> int:
    """`least_bytes` rounded up to a whole MiB.

    Raises:
        DpuError: OUT_OF_RANGE; that is more than the limit, or than anything can have.
    """
    size_bytes = -(-least_bytes // MIB) * MIB
    if wanted.limit_bytes and size_bytes > wanted.limit_bytes:
        raise out_of_range(
            f"volumes are made of whole MiB, and {size_bytes} bytes are more than limit_bytes {wanted.limit_bytes}",
            f"raise limit_bytes to {size_bytes}",
        )
    if size_bytes > LARGEST_BYTES:
        raise out_of_range(f"{size_bytes} bytes are more than a volume can have", "ask for less")
    return size_bytes


def out_of_range(message: str, remedy: str) -> DpuError:
    """A capacity range that cannot be fulfilled."""
    return DpuError(Reason.OUT_OF_RANGE, message, field=FIELD, remedy=remedy)
