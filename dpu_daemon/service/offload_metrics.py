"""What Prometheus sees of flow offload: from the last look, so that a scrape costs none."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from dpu_daemon.engine.offload import OffloadMonitor
from dpu_daemon.model.offload import OffloadReport, Verdict

PREFIX = "dpupool_offload"


class OffloadCollector(Collector):
    """Read from memory.

    Args:
        monitor: of the engine.
    """

    def __init__(self, monitor: OffloadMonitor) -> None:
        self._monitor = monitor

    def collect(self) -> Iterator[Metric]:
        """All families; those of the last look only while the switch answers."""
        times = self._monitor.times
        looks = SummaryMetricFamily(f"{PREFIX}_look_seconds", "How long looks at the switch took.")
        looks.add_metric([], count_value=times.count, sum_value=times.seconds)
        yield looks
        failed = CounterMetricFamily(f"{PREFIX}_looks_failed", "Looks that the switch did not answer.")
        failed.add_metric([], times.failed)
        yield failed
        yield from self._moved()
        report = self._monitor.last
        if report is not None:
            yield from self._state(report)
            yield from _of_flows(report)
            yield from _of_ports(report)

    def _state(self, report: OffloadReport) -> Iterator[Metric]:
        enabled = GaugeMetricFamily(
            f"{PREFIX}_enabled", "1 while the switch is asked to use hardware.", labels=["path"]
        )
        enabled.add_metric([report.way.value], float(report.enabled))
        restart = GaugeMetricFamily(f"{PREFIX}_restart_needed", "1 while ovs-vswitchd does not go by the setting.")
        restart.add_metric([], float(report.restart_needed))
        warnings = GaugeMetricFamily(f"{PREFIX}_warnings", "Things that keep traffic out of hardware.")
        warnings.add_metric([], len(self._monitor.warnings()))
        heavy = GaugeMetricFamily(f"{PREFIX}_heavy_flows", "Heavy flows outside hardware.", labels=["why"])
        for why, count in sorted(self._monitor.tally.heavy_by_why.items(), key=lambda item: item[0].value):
            heavy.add_metric([why.value], count)
        yield from (enabled, restart, warnings, heavy)

    def _moved(self) -> Iterator[Metric]:
        moved = self._monitor.tally.moved
        packets = CounterMetricFamily(f"{PREFIX}_packets", "Packets of flows, as looks saw them.", labels=["verdict"])
        volume = CounterMetricFamily(f"{PREFIX}_bytes", "Bytes of flows, as looks saw them.", labels=["verdict"])
        for verdict in Verdict:
            packets.add_metric([verdict.value], moved.packets[verdict])
            volume.add_metric([verdict.value], moved.bytes[verdict])
        ports = CounterMetricFamily(
            f"{PREFIX}_port_packets", "Packets of flows that enter a port.", labels=["netdev", "verdict"]
        )
        for (netdev, verdict), count in list(moved.port_packets.items()):
            ports.add_metric([netdev, verdict.value], count)
        yield from (packets, volume, ports)


def _of_flows(report: OffloadReport) -> Iterator[Metric]:
    flows = GaugeMetricFamily(f"{PREFIX}_flows", "Flows of the datapath now.", labels=["verdict", "why"])
    named = {(verdict.value, why.value): count for (verdict, why), count in report.counts.items()}
    for key, count in sorted(named.items()):
        flows.add_metric(key, count)
    unread = GaugeMetricFamily(f"{PREFIX}_unread_lines", "Lines of the last look's flows that could not be read.")
    unread.add_metric([], report.unread)
    yield from (flows, unread)


def _of_ports(report: OffloadReport) -> Iterator[Metric]:
    flows = GaugeMetricFamily(
        f"{PREFIX}_port_flows", "Flows that enter a port now, by whether they are in hardware.", labels=["netdev", "in"]
    )
    capable = GaugeMetricFamily(f"{PREFIX}_port_capable", "1 when a port's driver takes flows.", labels=["netdev"])
    for one in report.ports:
        flows.add_metric([one.port.netdev, "hardware"], one.sums.flows_in_hardware)
        flows.add_metric([one.port.netdev, "software"], one.sums.flows - one.sums.flows_in_hardware)
        capable.add_metric([one.port.netdev], float(one.capable))
    yield from (flows, capable)
