"""OffloadService: where the switch's flows are forwarded, and why."""

import asyncio
import heapq
from typing import Any

from dpu_daemon.engine.offload import OffloadMonitor
from dpu_daemon.model.offload import OffloadReport, Verdict
from dpu_daemon.service.offload_wire import from_flows, from_report
from proto.dpu.v1 import offload_pb2, offload_pb2_grpc

USUAL_FLOWS = 20
MOST_FLOWS = 2000
"""Below the size of an answer that gRPC takes, as long as each is within `offload_wire.FLOW_SHOWN`."""
HARDWARE = frozenset({Verdict.HARDWARE, Verdict.PARTIAL})


class OffloadService(offload_pb2_grpc.OffloadServiceServicer):
    """Wire to engine and back; errors pass through to the gate.

    Args:
        monitor: of the engine.
    """

    def __init__(self, monitor: OffloadMonitor) -> None:
        self._monitor = monitor

    async def GetOffload(  # noqa: N802
        self, _request: offload_pb2.GetOffloadRequest, _context: Any
    ) -> offload_pb2.OffloadReport:
        report = await self._monitor.report()
        wire = from_report(report, self._monitor.warnings())
        heavy = self._monitor.tally.heavy
        wire.heavy.extend(from_flows((one.judged for one in heavy), report, (one.packets for one in heavy)))
        return wire

    async def ListFlows(  # noqa: N802
        self, request: offload_pb2.ListFlowsRequest, _context: Any
    ) -> offload_pb2.ListFlowsResponse:
        report = await self._monitor.report()
        limit = min(request.limit or USUAL_FLOWS, MOST_FLOWS)
        return await asyncio.to_thread(_heaviest, report, request, limit)


def _heaviest(
    report: OffloadReport, request: offload_pb2.ListFlowsRequest, limit: int
) -> offload_pb2.ListFlowsResponse:
    wanted = (
        one
        for one in report.flows
        if (not request.software_only or one.verdict not in HARDWARE)
        and (not request.netdev or one.flow.in_port == request.netdev)
    )
    heaviest = heapq.nsmallest(limit, wanted, key=lambda one: (-one.flow.packets, one.flow.ufid))
    return offload_pb2.ListFlowsResponse(flows=from_flows(heaviest, report))
