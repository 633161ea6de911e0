"""AssignmentService: what the coordinator says about ports of pods, ahead of their containers."""

from typing import Any

from dpu_daemon.engine.pod_ports import PodPorts
from dpu_daemon.service.pods_wire import from_view, to_assignments, to_keys, to_refused
from proto.dpu.v1 import pods_pb2, pods_pb2_grpc


class AssignmentService(pods_pb2_grpc.AssignmentServiceServicer):
    """Wire to engine and back; errors pass through to the gate.

    Args:
        pods: of the engine.
    """

    def __init__(self, pods: PodPorts) -> None:
        self._pods = pods

    async def PutAssignments(  # noqa: N802
        self, request: pods_pb2.PutAssignmentsRequest, _context: Any
    ) -> pods_pb2.PutAssignmentsResponse:
        assignments, refused = to_assignments(request), to_refused(request)
        if request.HasField("refused"):
            self._pods.refuse(request.refused.node, refused)
        return pods_pb2.PutAssignmentsResponse(late=await self._pods.put(assignments))

    async def DeleteAssignments(  # noqa: N802
        self, request: pods_pb2.DeleteAssignmentsRequest, _context: Any
    ) -> pods_pb2.DeleteAssignmentsResponse:
        await self._pods.delete(to_keys(request))
        return pods_pb2.DeleteAssignmentsResponse()

    async def ListAssignments(  # noqa: N802
        self, _request: pods_pb2.ListAssignmentsRequest, _context: Any
    ) -> pods_pb2.ListAssignmentsResponse:
        views = await self._pods.reader.views()
        return pods_pb2.ListAssignmentsResponse(ports=[from_view(view) for view in views])
