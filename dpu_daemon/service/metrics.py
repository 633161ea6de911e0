"""Metrics: what Prometheus sees of a daemon; everything but the call counters is read when it is scraped."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from dpu_daemon.engine.core import Core, Slots

_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Metrics:
    """The registry of one daemon."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "reason")
        self._calls = Counter("dpupool_daemon_calls", "Calls by outcome.", labels, registry=self.registry)
        self._seconds = Histogram(
            "dpupool_daemon_call_seconds", "How long calls took.", ("method",), buckets=_SECONDS, registry=self.registry
        )

    def count_call(self, method: str, reason: str, took_s: float) -> None:
        """One call has ended; `reason` is ``OK`` or that of the error."""
        self._calls.labels(method, reason).inc()
        self._seconds.labels(method).observe(took_s)

    def observe(self, core: Core, slots: Callable[[], Slots], states: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """Show an engine.

        Args:
            core: of the engine.
            slots: of its host.
            states: kind and whether established, of every record; read from memory, so that a scrape costs no look.
        """
        self.registry.register(_EngineCollector(core, slots, states))

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Serve ``/metrics`` from a thread of its own; returns what ends it."""
        server, thread = start_http_server(port, host, registry=self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop


class _EngineCollector(Collector):
    def __init__(self, core: Core, slots: Callable[[], Slots], states: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._core = core
        self._slots = slots
        self._states = states

    def collect(self) -> Iterator[Metric]:
        yield from self._lanes()
        yield from self._slot_gauges()
        ready = GaugeMetricFamily("dpupool_daemon_ready", "1 once everything wanted was converged since the start.")
        ready.add_metric([], float(self._core.ready()))
        yield ready
        trouble = GaugeMetricFamily("dpupool_daemon_trouble", "1 while something is not as wanted.")
        trouble.add_metric([], float(bool(self._core.audit.message())))
        yield trouble
        drivers = InfoMetricFamily("dpupool_daemon_driver", "What stands behind each role.", labels=["role"])
        for role, version in self._core.driver_versions().items():
            drivers.add_metric([role], {"version": version})
        yield drivers
        things = GaugeMetricFamily("dpupool_daemon_records", "Wanted things.", labels=["kind", "state"])
        counts: dict[tuple[str, str], int] = {}
        for key in list(self._states()):
            counts[key] = counts.get(key, 0) + 1
        for key, count in sorted(counts.items()):
            things.add_metric(key, count)
        yield things

    def _lanes(self) -> Iterator[Metric]:
        queued = GaugeMetricFamily("dpupool_daemon_queue_depth", "Operations waiting.", labels=["lane"])
        flying = GaugeMetricFamily("dpupool_daemon_in_flight", "Operations running.", labels=["lane"])
        oldest = GaugeMetricFamily("dpupool_daemon_oldest_wait_seconds", "Longest wait now.", labels=["lane"])
        for name, load in self._core.operations.load().items():
            queued.add_metric([name.value], load.queued)
            flying.add_metric([name.value], load.in_flight)
            oldest.add_metric([name.value], load.oldest_wait_s)
        yield from (queued, flying, oldest)

    def _slot_gauges(self) -> Iterator[Metric]:
        slots = self._slots()
        total = GaugeMetricFamily("dpupool_daemon_slots", "Functions that the bus offers.", labels=["kind"])
        used = GaugeMetricFamily("dpupool_daemon_slots_used", "Functions given away.", labels=["kind"])
        total.add_metric(["disk"], slots.disks)
        total.add_metric(["nic"], slots.nics)
        used.add_metric(["disk"], slots.disks_used)
        used.add_metric(["nic"], slots.nics_used)
        yield from (total, used)
