"""What a daemon in mode host serves."""

from dpu_daemon.engine.host import HostEngine
from dpu_daemon.service.cpu import CpuService
from dpu_daemon.service.offer import Offer
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc


def host_offers(engine: HostEngine) -> tuple[Offer, ...]:
    """CpuService; AssignmentService where pods' ports are on a switch of the host's own."""
    cpus = Offer(cpu_pb2, cpu_pb2_grpc.add_CpuServiceServicer_to_server, CpuService(engine))
    if engine.network is None or engine.network.pods is None:
        return (cpus,)
    from dpu_daemon.service.offer_pods import pod_offers  # noqa: PLC0415  (without a switch it is not even loaded)

    return (cpus, *pod_offers(engine.network.pods))
