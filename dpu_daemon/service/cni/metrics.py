"""What Prometheus sees of CNI calls."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.2, 0.5, 1.0, 3.0, 10.0, 30.0, 90.0)


class CniMetrics:
    """Calls by verb.

    Args:
        registry: of the daemon.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter("dpupool_cni_calls", "CNI calls by error code.", ("verb", "code"), registry=registry)
        self._seconds = Histogram(
            "dpupool_cni_call_seconds", "How long CNI calls took.", ("verb",), buckets=_SECONDS, registry=registry
        )
        self._flying = Gauge("dpupool_cni_in_flight", "CNI calls being served.", ("verb",), registry=registry)

    @contextmanager
    def flying(self, verb: str) -> Iterator[None]:
        """A call is being served."""
        with self._flying.labels(verb).track_inprogress():
            yield

    def count(self, verb: str, code: int, took_s: float) -> None:
        """A call has ended; code 0 is success."""
        self._calls.labels(verb, int(code)).inc()
        self._seconds.labels(verb).observe(took_s)
