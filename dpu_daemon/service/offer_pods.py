"""What a daemon with a switch serves about ports of pods."""

from dpu_daemon.engine.pod_ports import PodPorts
from dpu_daemon.service.assignments import AssignmentService
from dpu_daemon.service.offer import Offer
from dpu_daemon.service.pod_ports import PodPortService
from proto.dpu.v1 import pods_pb2, pods_pb2_grpc


def pod_offers(pods: PodPorts | None, *, for_host: bool = False) -> tuple[Offer, ...]:
    """AssignmentService, and on a DPU what its host calls; nothing where there is no switch."""
    if pods is None:
        return ()
    assigned = Offer(
        pods_pb2,
        pods_pb2_grpc.add_AssignmentServiceServicer_to_server,
        AssignmentService(pods),
        "AssignmentService",
    )
    if not for_host:
        return (assigned,)
    asked = Offer(pods_pb2, pods_pb2_grpc.add_PodPortServiceServicer_to_server, PodPortService(pods), "PodPortService")
    return (assigned, asked)
