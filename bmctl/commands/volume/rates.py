"""What a disk has moved: totals, and rates and mean latencies between two readings."""

from dataclasses import dataclass, fields

from bmctl.objects import Object, dig
from bmctl.units import size


@dataclass(frozen=True)
class Counters:
    """A reading of a disk's counters; latencies are sums over all operations, in microseconds."""

    read_ops: int = 0
    read_bytes: int = 0
    write_ops: int = 0
    write_bytes: int = 0
    flush_ops: int = 0
    unmap_ops: int = 0
    unmap_bytes: int = 0
    failed_ops: int = 0
    read_latency_us: int = 0
    write_latency_us: int = 0

    def since(self, before: "Counters") -> "Counters | None":
        """What was moved since another reading; None when the disk was connected anew in between."""
        steps = {one.name: getattr(self, one.name) - getattr(before, one.name) for one in fields(self)}
        return None if min(steps.values()) < 0 else Counters(**steps)


def counters(reply: Object) -> Counters:
    """The counters of a DiskStats."""
    found = dig(reply, "counters") or {}
    return Counters(**{one.name: int(found.get(_camel(one.name), 0)) for one in fields(Counters)})


def totals(now: Counters) -> list[list[str]]:
    """Rows: kind of operation, how many, how much, mean latency."""
    return [
        ["read", f"{now.read_ops:,}", size(now.read_bytes), mean(now.read_latency_us, now.read_ops)],
        ["write", f"{now.write_ops:,}", size(now.write_bytes), mean(now.write_latency_us, now.write_ops)],
        ["unmap", f"{now.unmap_ops:,}", size(now.unmap_bytes), "-"],
        ["flush", f"{now.flush_ops:,}", "-", "-"],
        ["failed", f"{now.failed_ops:,}", "-", "-"],
    ]


RATE_NAMES = ["Reads/s", "Read/s", "Read takes", "Writes/s", "Written/s", "Write takes", "Flushes/s", "Failed"]


def rates(step: Counters, seconds: float) -> list[str]:
    """Cells under RATE_NAMES.

    Args:
        step: what was moved.
        seconds: in how long.
    """
    return [
        f"{step.read_ops / seconds:,.0f}",
        size(round(step.read_bytes / seconds)),
        mean(step.read_latency_us, step.read_ops),
        f"{step.write_ops / seconds:,.0f}",
        size(round(step.write_bytes / seconds)),
        mean(step.write_latency_us, step.write_ops),
        f"{step.flush_ops / seconds:,.0f}",
        f"{step.failed_ops:,}",
    ]


def mean(total_us: int, ops: int) -> str:
    """Mean time of an operation; ``-`` without any, or where the block layer does not measure."""
    if not ops or not total_us:
        return "-"
    took_us = total_us / ops
    if took_us < 1000:
        return f"{took_us:.0f} us"
    return f"{took_us / 1000:.1f} ms" if took_us < 1e6 else f"{took_us / 1e6:.1f} s"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
