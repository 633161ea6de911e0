"""Sets of logical CPUs as integers: bit n stands for CPU n. Fast to join, to cut and to count."""

from collections.abc import Iterable, Iterator

from proto.errors import DpuError
from proto.reasons import Reason

Mask = int

_HIGHEST_CPU = 8191  # CONFIG_NR_CPUS of the largest distribution kernels, less one


def mask_of(cpus: Iterable[int]) -> Mask:
    """The set of these CPUs."""
    mask = 0
    for cpu in cpus:
        mask |= 1 << cpu
    return mask


def members(mask: Mask) -> Iterator[int]:
    """CPUs of the set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def lowest(mask: Mask, count: int) -> Mask:
    """The `count` lowest CPUs of the set; all of it when it has fewer."""
    taken = 0
    for _ in range(count):
        low = mask & -mask
        taken |= low
        mask ^= low
    return taken


def parse(text: str, *, field: str = "cpuset") -> Mask:
    """Read the kernel's list format, such as ``0-3,8``; the empty text is the empty set.

    Raises:
        DpuError: INVALID, naming `field`, for anything the kernel would refuse.
    """
    mask = 0
    for part in text.strip().split(",") if text.strip() else ():
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise _malformed(field, text, part)
        low, high = int(first), int(last) if dash else int(first)
        if high < low or high > _HIGHEST_CPU:
            raise _malformed(field, text, part)
        mask |= (1 << (high + 1)) - (1 << low)
    return mask


def show(mask: Mask) -> str:
    """Write the kernel's list format, shortest form."""
    parts: list[str] = []
    start = 0
    while mask:
        start = (mask & -mask).bit_length() - 1
        run = mask >> start
        length = (~run & (run + 1)).bit_length() - 1
        end = start + length - 1
        parts.append(str(start) if length == 1 else f"{start}-{end}")
        mask &= ~((1 << (end + 1)) - 1)
    return ",".join(parts)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _malformed(field: str, text: str, part: str) -> DpuError:
    return DpuError(
        Reason.INVALID,
        f"{text!r} is not a list of CPUs: {part!r} is neither a number nor a rising range",
        field=field,
        remedy=f"write it as the kernel does, such as 0-3,8; the highest CPU is {_HIGHEST_CPU}",
    )
