"""What groups use: samples, and reports that carry only what changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Usage:
    """One group at one moment; counters run since the group was made, pressure in microseconds waited.

    Changed in place by the sampler, which looks at 500 of them every second; a report copies what it needs.
    """

    cpu_usage_us: int = 0
    throttled_us: int = 0
    throttled_periods: int = 0
    memory_bytes: int = 0
    memory_limit_bytes: int = 0
    oom_kills: int = 0
    memory_high_events: int = 0
    cpu_pressure_us: int = 0
    memory_pressure_us: int = 0
    io_pressure_us: int = 0
    io_read_bytes: int = 0
    io_write_bytes: int = 0
    cpuset: str = ""
    cpu_limit_milli: int = -1


COUNTED = tuple(Usage.__dataclass_fields__)
"""Names of the fields that a report can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A group in a stream of reports; the index is its short name there."""

    index: int
    path: str
    pod_uid: str = ""
    container_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDelta:
    """What changed of a group; `member` is told when it is new to the stream, or in a full report."""

    index: int
    changed: Mapping[str, int | str]
    member: Member | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What changed on a host since the report before."""

    sequence: int
    unix_ms: int
    full: bool = False
    groups: tuple[GroupDelta, ...] = ()
    gone: tuple[int, ...] = ()
    host_cpu_percent: float = 0.0
    host_memory_available_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """All groups at one moment, and the host around them."""

    unix_ms: int
    groups: Mapping[str, Usage] = field(default_factory=dict)
    host_cpu_percent: float = 0.0
    host_memory_available_bytes: int = 0
