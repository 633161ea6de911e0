"""Flow offload: model -> wire."""

from collections.abc import Iterable
from itertools import chain, repeat

from dpu_daemon.model.offload import Judged, OffloadReport, PortReport, Verdict
from dpu_daemon.plan.offload import why_flow
from dpu_daemon.plan.offload_words import brief, shortened
from proto.dpu.v1 import offload_pb2

FLOW_SHOWN = 800
"""Characters of a match and of actions: a packet that is flooded names every port of the switch."""

_VERDICTS = {
    Verdict.HARDWARE: offload_pb2.OFFLOAD_VERDICT_HARDWARE,
    Verdict.PARTIAL: offload_pb2.OFFLOAD_VERDICT_PARTIAL,
    Verdict.SOFTWARE: offload_pb2.OFFLOAD_VERDICT_SOFTWARE,
    Verdict.NOT_ASKED: offload_pb2.OFFLOAD_VERDICT_NOT_ASKED,
    Verdict.UNKNOWN: offload_pb2.OFFLOAD_VERDICT_UNKNOWN,
}


def from_report(report: OffloadReport, warnings: tuple[str, ...]) -> offload_pb2.OffloadReport:
    """The whole of a look, without its flows."""
    sums = report.sums
    return offload_pb2.OffloadReport(
        enabled=report.enabled,
        restart_needed=report.restart_needed,
        datapath=report.datapath,
        path=report.way.value,
        abilities=report.abilities,
        flows=sums.flows,
        flows_in_hardware=sums.flows_in_hardware,
        flows_partial=sums.flows_partial,
        packets=sums.packets,
        packets_in_hardware=sums.packets_in_hardware,
        bytes=sums.bytes,
        bytes_in_hardware=sums.bytes_in_hardware,
        ports=[_port(port) for port in report.ports],
        warnings=warnings,
        sentence=report.sentence,
    )


def _port(report: PortReport) -> offload_pb2.PortOffload:
    port, sums = report.port, report.sums
    return offload_pb2.PortOffload(
        netdev=port.netdev,
        port_id=port.port_id,
        asked=report.asked,
        flow_api=report.flow_api,
        capable=report.capable,
        verdict=_VERDICTS[report.verdict],
        flows=sums.flows,
        flows_in_hardware=sums.flows_in_hardware,
        packets=sums.packets,
        packets_in_hardware=sums.packets_in_hardware,
        bytes=sums.bytes,
        bytes_in_hardware=sums.bytes_in_hardware,
        why=report.why,
        kind=port.kind,
        driver=port.driver,
        rules=port.filters,
        rules_in_hardware=port.filters_in_hw,
    )


def from_flows(
    flows: Iterable[Judged], report: OffloadReport, packets_since: Iterable[int] = ()
) -> list[offload_pb2.FlowOffload]:
    """Flows; what a match does not look at is left out.

    Args:
        flows: of this report.
        report: the look.
        packets_since: what each carried since the look before; empty for not told.
    """
    ports = {one.port.netdev: one.port for one in report.ports}
    return [
        _flow(judged, why_flow(judged, ports, skb_ext=report.skb_ext), since)
        for judged, since in zip(flows, chain(packets_since, repeat(0)), strict=False)
    ]


def _flow(judged: Judged, why: str, packets_since: int) -> offload_pb2.FlowOffload:
    flow = judged.flow
    return offload_pb2.FlowOffload(
        ufid=flow.ufid,
        in_port=flow.in_port,
        match=shortened(brief(flow.match), FLOW_SHOWN),
        actions=shortened(flow.actions, FLOW_SHOWN),
        packets=flow.packets,
        bytes=flow.bytes,
        layer=flow.layer.value,
        verdict=_VERDICTS[judged.verdict],
        why=why,
        reason=judged.why.value,
        packets_since=packets_since,
    )
