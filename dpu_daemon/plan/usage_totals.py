"""What all containers of a class use together: counters that never fall back, whoever comes and goes."""

from dataclasses import dataclass, field

from dpu_daemon.model.cgroup import QosClass
from dpu_daemon.model.usage import GroupDelta, Report

COUNTERS = ("cpu_usage_us", "throttled_us", "oom_kills", "io_read_bytes", "io_write_bytes")
_CLASSES = {
    "burstable": QosClass.BURSTABLE,
    "kubepods-burstable.slice": QosClass.BURSTABLE,
    "besteffort": QosClass.BEST_EFFORT,
    "kubepods-besteffort.slice": QosClass.BEST_EFFORT,
}


@dataclass(slots=True)
class ClassTotals:
    """One class: counters since the daemon started, and what is now."""

    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    containers: int = 0
    memory_bytes: int = 0


def class_of_path(path: str) -> QosClass:
    """The class in whose group a path lies, by either way of naming."""
    parts = path.split("/")
    return _CLASSES.get(parts[1], QosClass.GUARANTEED) if len(parts) > 1 else QosClass.GUARANTEED


class UsageTotals:
    """Sums up reports; three classes, so that metrics have as many series however many pods there are."""

    def __init__(self) -> None:
        self.classes = {of: ClassTotals() for of in QosClass}
        self._members: dict[int, tuple[QosClass, dict[str, int]]] = {}

    def take(self, report: Report) -> None:
        """Add what changed since the report before; pods are left out, they are sums of containers."""
        for delta in report.groups:
            if delta.member is not None and delta.member.container_id:
                self._members.setdefault(delta.index, (class_of_path(delta.member.path), {}))
            if delta.index in self._members:
                self._add(delta)
        for index in report.gone:
            self._members.pop(index, None)
        self._count()

    def _add(self, delta: GroupDelta) -> None:
        of, last = self._members[delta.index]
        totals = self.classes[of].counters
        for name, value in delta.changed.items():
            if isinstance(value, int):
                if name in totals:
                    totals[name] += max(0, value - last.get(name, value if delta.member else 0))
                last[name] = value

    def _count(self) -> None:
        for totals in self.classes.values():
            totals.containers = totals.memory_bytes = 0
        for of, last in self._members.values():
            self.classes[of].containers += 1
            self.classes[of].memory_bytes += last.get("memory_bytes", 0)
