"""What the containers of a host use: delta reports put together, and the last minute of each, bounded."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

WINDOW_MS = 60_000
POINTS = 64
"""Points kept of a container: a minute at one a second."""
MOST_GROUPS = 20_000
"""Groups taken of one host; a kernel holds fewer long before."""
RATE_MS = 800
"""Shortest time that a rate is made of: samples come a second apart, give or take."""


class Gap(Exception):  # noqa: N818  (not a failure: the reader asks for a full report)
    """A report does not follow what is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDelta:
    """What changed of a group; its names stand only in the report that brings it."""

    index: int
    changed: Mapping[str, int]
    pod_uid: str = ""
    container_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUsageReport:
    """One report of a host's daemon."""

    sequence: int
    unix_ms: int
    full: bool = False
    groups: tuple[GroupDelta, ...] = ()
    gone: tuple[int, ...] = ()
    host_cpu_percent: float = 0.0
    memory_available_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a container uses now.

    Attributes:
        at_ms: of the newest sample.
        cpu_milli: mean since the sample before; None until there are two.
        throttled: the kernel held it back in that time.
        cpu_limit_milli, memory_limit_bytes: what its group has; None for no limit.
        oom_kills: since its group was made.
    """

    at_ms: int
    cpu_milli: int | None
    throttled: bool
    memory_bytes: int
    cpu_limit_milli: int | None
    memory_limit_bytes: int | None
    oom_kills: int = 0


@dataclass(slots=True)
class _Point:
    at_ms: int
    cpu_us: int
    throttled_periods: int


@dataclass(slots=True)
class _Track:
    """A group: newest value of every counter, and points of the last minute."""

    pod_uid: str
    container_id: str
    values: dict[str, int] = field(default_factory=dict)
    points: deque[_Point] = field(default_factory=lambda: deque(maxlen=POINTS))

    def take(self, changed: Mapping[str, int], before_ms: int, at_ms: int) -> None:
        """Values at a time; a group of which nothing was told in between had the old ones until the report before."""
        if self.points and before_ms > self.points[-1].at_ms:
            self.points.append(self._point(before_ms))
        self.values.update(changed)
        self.points.append(self._point(at_ms))
        while self.points[0].at_ms < at_ms - WINDOW_MS:
            self.points.popleft()

    def used(self, now_ms: int) -> Used:
        newest = self._point(now_ms)
        earlier = next((point for point in reversed(self.points) if now_ms - point.at_ms >= RATE_MS), None)
        rate = None
        if earlier is not None:
            rate = max(0, newest.cpu_us - earlier.cpu_us) // (now_ms - earlier.at_ms)
        limit = self.values.get("cpu_limit_milli", -1)
        return Used(
            at_ms=now_ms,
            cpu_milli=rate,
            throttled=earlier is not None and newest.throttled_periods > earlier.throttled_periods,
            memory_bytes=self.values.get("memory_bytes", 0),
            cpu_limit_milli=limit if limit > 0 else None,
            memory_limit_bytes=self.values.get("memory_limit_bytes", 0) or None,
            oom_kills=self.values.get("oom_kills", 0),
        )

    def _point(self, at_ms: int) -> _Point:
        return _Point(at_ms, self.values.get("cpu_usage_us", 0), self.values.get("throttled_periods", 0))


class HostUsage:
    """One host, as its reports say it.

    Attributes:
        sequence: of the last report; 0 for none.
    """

    def __init__(self) -> None:
        self.sequence = 0
        self.unix_ms = 0
        self.cpu_percent = 0.0
        self.memory_available_bytes = 0
        self._tracks: dict[int, _Track] = {}
        self._by_name: dict[tuple[str, str], _Track] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def take(self, report: HostUsageReport) -> None:
        """Take a report in.

        Raises:
            Gap: reports are missing before this one; nothing is changed.
        """
        if not report.full and report.sequence != self.sequence + 1:
            raise Gap(f"report {report.sequence} after {self.sequence}")
        old = self._by_name
        if report.full:
            self._tracks, self._by_name = {}, {}
        for index in report.gone:
            self._leave(index)
        for delta in report.groups:
            self._delta(delta, old, report)
        self.sequence, self.unix_ms = report.sequence, report.unix_ms
        self.cpu_percent = report.host_cpu_percent
        self.memory_available_bytes = report.memory_available_bytes

    def used(self, pod_uid: str, container_id: str) -> Used | None:
        """What a container uses; None when no report names it."""
        track = self._by_name.get((pod_uid, container_id))
        return track.used(self.unix_ms) if track and track.points else None

    def names(self) -> Iterator[tuple[str, str]]:
        """Pod uid and container id of every container here."""
        return iter(self._by_name)

    def _delta(self, delta: GroupDelta, old: Mapping[tuple[str, str], _Track], report: HostUsageReport) -> None:
        """Groups above containers are told too, and not kept."""
        track = self._tracks.get(delta.index)
        if track is None:
            name = (delta.pod_uid, delta.container_id)
            if not delta.container_id or len(self._tracks) >= MOST_GROUPS:
                return
            track = old.get(name) or _Track(*name)
            self._tracks[delta.index] = self._by_name[name] = track
        track.take(delta.changed, self.unix_ms, report.unix_ms)

    def _leave(self, index: int) -> None:
        track = self._tracks.pop(index, None)
        if track is not None:
            self._by_name.pop((track.pod_uid, track.container_id), None)
