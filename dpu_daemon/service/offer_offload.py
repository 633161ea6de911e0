"""What a daemon with a switch serves about flow offload."""

from dpu_daemon.engine.offload import OffloadMonitor
from dpu_daemon.service.offer import Offer
from dpu_daemon.service.offload import OffloadService
from proto.dpu.v1 import offload_pb2, offload_pb2_grpc


def offload_offers(monitor: OffloadMonitor | None) -> tuple[Offer, ...]:
    """OffloadService; nothing where there is no switch."""
    if monitor is None:
        return ()
    return (Offer(offload_pb2, offload_pb2_grpc.add_OffloadServiceServicer_to_server, OffloadService(monitor)),)
