"""What Prometheus sees of virtual functions; read from memory."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dpu_daemon.engine.vfs import VfPool


class VfCollector(Collector):
    """Functions by state.

    Args:
        pool: of this host.
    """

    def __init__(self, pool: VfPool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """All families."""
        functions = GaugeMetricFamily("dpupool_host_functions", "Virtual functions by state.", labels=["state"])
        for state, count in self._pool.census().items():
            functions.add_metric([state], count)
        yield functions
        conflicts = GaugeMetricFamily(
            "dpupool_host_function_conflicts", "Functions that kubelet counts to one pod while another has them."
        )
        conflicts.add_metric([], len(self._pool.counts.conflicts()))
        yield conflicts
