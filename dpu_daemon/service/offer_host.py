"""What a daemon in mode host serves."""

from dpu_daemon.engine.host import HostEngine
from dpu_daemon.service.cpu import CpuService
from dpu_daemon.service.offer import Offer
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc


def host_offers(engine: HostEngine) -> tuple[Offer, ...]:
    """CpuService."""
    return (Offer(cpu_pb2, cpu_pb2_grpc.add_CpuServiceServicer_to_server, CpuService(engine)),)
