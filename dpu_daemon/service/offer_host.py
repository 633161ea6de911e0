"""What a daemon in mode host serves."""

from dpu_daemon.engine.host import HostEngine
from dpu_daemon.service.cpu import CpuService
from dpu_daemon.service.offer import Offer
from proto.dpu.v1 import cpu_pb2, cpu_pb2_grpc


def host_offers(engine: HostEngine) -> tuple[Offer, ...]:
    """CpuService; AssignmentService and OffloadService where pods' ports are on a switch of the host's own."""
    cpus = Offer(cpu_pb2, cpu_pb2_grpc.add_CpuServiceServicer_to_server, CpuService(engine))
    if engine.network is None or engine.network.pods is None:
        return (cpus,)
    # Without a switch these are not even loaded.
    from dpu_daemon.service.offer_offload import offload_offers  # noqa: PLC0415
    from dpu_daemon.service.offer_pods import pod_offers  # noqa: PLC0415

    return (cpus, *pod_offers(engine.network.pods), *offload_offers(engine.network.offload))
