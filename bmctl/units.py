"""Figures as people read them."""

from datetime import datetime

STEPS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
SUFFIX = {
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
}  # fmt: skip


def size(size_bytes: int) -> str:
    """A number of bytes in the largest binary unit that leaves at least one, such as ``1.5 GiB``."""
    for step, unit in STEPS:
        if size_bytes >= step:
            value = size_bytes / step
            return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
    return f"{size_bytes} B"


def age(start: datetime, now: datetime) -> str:
    """How long ago, in kubectl's manner: 45s, 12m, 3h10m, 2d4h, 17d."""
    seconds = max(0, int((now - start).total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{minutes}m"
    if days < 1:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    return f"{days}d" + (f"{hours % 24}h" if days < 10 and hours % 24 else "")


def duration(seconds: float) -> str:
    """A length of time with the precision that fits it: 0.04 s, 32.5 s, 2 min 5 s."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
