"""Metrics of pods' ports."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dpu_daemon.engine.pod_ports import PodPorts


class PodCollector(Collector):
    """What was refused, and what is given; read from memory when it is scraped.

    Args:
        pods: of the engine.
    """

    def __init__(self, pods: PodPorts) -> None:
        self._pods = pods

    def collect(self) -> Iterator[Metric]:
        refused = CounterMetricFamily(
            "dpupool_daemon_pod_ports_refused", "Asks for ports that are not theirs, by reason.", labels=["reason"]
        )
        for reason, count in sorted(self._pods.refused.items(), key=lambda item: item[0].value):
            refused.add_metric([reason.value], count)
        yield refused
        assigned = GaugeMetricFamily("dpupool_daemon_assignments", "Ports that containers may have.")
        assigned.add_metric([], self._pods.assignments.count())
        yield assigned
