"""What Prometheus sees of storage: counted from the caches when it is scraped, under labels of bounded number."""

from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime

from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from coordinator.controllers.context import Caches
from coordinator.core.conditions import Aspect, Truth, find
from coordinator.core.objects.meta import Condition
from coordinator.core.objects.storage import Attachment, Snapshot, Volume

OTHER = "other"
"""Label of backends that are not configured: anybody can write any name into a Volume."""

CREDENTIALS = Counter(
    "dpupool_credentials_brought", "Sets of credentials that were brought to a DPU for a backend.", ["backend"]
)


class StorageMetrics(Collector):
    """Volumes, snapshots and attachments by state.

    Args:
        caches: the objects.
        backends: names that are configured; the only ones that become labels.
        clock: the time.
    """

    def __init__(self, caches: Caches, backends: Collection[str], clock: Callable[[], datetime]) -> None:
        self._caches = caches
        self._backends = frozenset(backends)
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """The state at this moment."""
        volumes, snapshots = self._caches.volumes.all(), self._caches.snapshots.all()
        attachments = self._caches.attachments.all()
        states = [(one.status.phase.value, self._backend(one.spec.backend)) for one in volumes]
        yield _counted("dpupool_volumes", "Volumes.", ("phase", "backend"), states)
        yield from self._bytes(volumes)
        cut = [(one.status.phase.value, self._backend(one.status.backend)) for one in snapshots]
        yield _counted("dpupool_snapshots", "Snapshots.", ("phase", "backend"), cut)
        shown = [(one.status.phase.value,) for one in attachments]
        yield _counted("dpupool_attachments", "Disks of hosts.", ("phase",), shown)
        yield self._oldest({"volume": volumes, "snapshot": snapshots, "attachment": attachments})

    def _bytes(self, volumes: Iterable[Volume]) -> Iterator[Metric]:
        sizes: Tally[str] = Tally()
        allocated: Tally[str] = Tally()
        ill: Tally[str] = Tally()
        for one in volumes:
            backend = self._backend(one.spec.backend)
            sizes[backend] += one.status.size_bytes
            allocated[backend] += one.status.allocated_bytes
            ill[backend] += one.status.condition.abnormal
        told = (
            ("dpupool_volume_bytes", "Bytes that volumes promise.", sizes),
            ("dpupool_volume_allocated_bytes", "Bytes that they took when their backend told last.", allocated),
            ("dpupool_volumes_abnormal", "Volumes with something wrong.", ill),
        )
        for name, text, tally in told:
            family = GaugeMetricFamily(name, text, labels=["backend"])
            for backend, amount in sorted(tally.items()):
                family.add_metric([backend], amount)
            yield family

    def _oldest(self, kinds: dict[str, list[Volume] | list[Snapshot] | list[Attachment]]) -> Metric:
        now = self._clock()
        text = "For how long the oldest object that is not ready has not been."
        family = GaugeMetricFamily("dpupool_storage_unready_oldest_seconds", text, labels=["kind"])
        for kind, objects in kinds.items():
            ages = [_unready_s(one.status.conditions, one.metadata.creation_timestamp, now) for one in objects]
            family.add_metric([kind], max(ages, default=0.0))
        return family

    def _backend(self, name: str) -> str:
        return name if name in self._backends else OTHER if name else "none"


def _counted(name: str, text: str, labels: tuple[str, ...], states: Iterable[tuple[str, ...]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for state, count in sorted(Tally(states).items()):
        family.add_metric(state, count)
    return family


def _unready_s(conditions: list[Condition], created: datetime | None, now: datetime) -> float:
    ready = find(conditions, Aspect.READY)
    if ready is not None and ready.status == Truth.TRUE.value:
        return 0.0
    since = datetime.fromisoformat(ready.last_transition_time) if ready is not None else created
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0
