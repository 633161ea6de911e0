"""What Prometheus sees of a host: sums by class of pods; as many series with 5 pods as with 500."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dpu_daemon.engine.host import HostEngine

_COUNTERS = (
    ("cpu_usage_us", "cpu_seconds", "CPU time of containers.", 1e-6),
    ("throttled_us", "throttled_seconds", "Time in which containers waited for their quota.", 1e-6),
    ("oom_kills", "oom_kills", "Processes killed at a memory limit.", 1.0),
    ("io_read_bytes", "io_read_bytes", "Bytes read by containers.", 1.0),
    ("io_write_bytes", "io_write_bytes", "Bytes written by containers.", 1.0),
)


class HostCollector(Collector):
    """Read from memory: a scrape costs no look at the kernel.

    Args:
        engine: of this host.
    """

    def __init__(self, engine: HostEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """All families."""
        classes = self._engine.usage.totals.classes
        for name, metric, help_text, unit in _COUNTERS:
            family = CounterMetricFamily(f"dpupool_host_{metric}", help_text, labels=["qos"])
            for of, totals in classes.items():
                family.add_metric([of.value], totals.counters[name] * unit)
            yield family
        running = GaugeMetricFamily("dpupool_host_containers", "Containers here.", labels=["qos"])
        memory = GaugeMetricFamily("dpupool_host_memory_bytes", "Memory in use by containers.", labels=["qos"])
        for of, totals in classes.items():
            running.add_metric([of.value], totals.containers)
            memory.add_metric([of.value], totals.memory_bytes)
        yield from (running, memory)
        yield from self._of_the_host()

    def _of_the_host(self) -> Iterator[Metric]:
        last = self._engine.usage.last
        busy = GaugeMetricFamily("dpupool_host_cpu_ratio", "Part of all CPUs that was busy in the last sample.")
        busy.add_metric([], last.host_cpu_percent / 100)
        free = GaugeMetricFamily("dpupool_host_memory_available_bytes", "Memory that can be had without swapping.")
        free.add_metric([], last.host_memory_available_bytes)
        bindings = self._engine.core.ledger.bindings
        generation = GaugeMetricFamily("dpupool_host_bindings_generation", "Generation of the bindings in force.")
        generation.add_metric([], bindings.generation if bindings else 0)
        warnings = GaugeMetricFamily("dpupool_host_warnings", "Things that keep bindings from holding.")
        warnings.add_metric([], len(self._engine.cpus.warned))
        yield from (busy, free, generation, warnings)
