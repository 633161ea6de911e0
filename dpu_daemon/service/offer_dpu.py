"""What a daemon serves on a DPU, and on a storage node."""

import grpc.aio

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.service.lifecycle import LifecycleService
from dpu_daemon.service.network import NetworkService
from dpu_daemon.service.offer import Offer
from dpu_daemon.service.offer_offload import offload_offers
from dpu_daemon.service.offer_pods import pod_offers
from dpu_daemon.service.opi.admission import opi_services
from dpu_daemon.service.opi.services import add_opi
from dpu_daemon.service.opi_network.services import add_opi_network
from dpu_daemon.service.storage import StorageService
from dpu_daemon.service.target import TargetService
from proto.dpu.v1 import (
    lifecycle_pb2,
    lifecycle_pb2_grpc,
    network_pb2,
    network_pb2_grpc,
    storage_pb2,
    storage_pb2_grpc,
    target_pb2,
    target_pb2_grpc,
)


def dpu_offers(engine: DpuEngine | StorageEngine) -> tuple[Offer, ...]:
    """Storage, network, pods' ports and lifecycle of a DPU's host; the target of a storage node."""
    if isinstance(engine, StorageEngine):
        return (Offer(target_pb2, target_pb2_grpc.add_TargetServiceServicer_to_server, TargetService(engine)),)
    disks = StorageService(engine.disks, engine.secrets)
    return (
        Offer(storage_pb2, storage_pb2_grpc.add_StorageServiceServicer_to_server, disks),
        Offer(network_pb2, network_pb2_grpc.add_NetworkServiceServicer_to_server, NetworkService(engine.ports)),
        Offer(lifecycle_pb2, lifecycle_pb2_grpc.add_LifecycleServiceServicer_to_server, LifecycleService(engine)),
        *pod_offers(engine.pods, for_host=True),
        *offload_offers(engine.offload),
    )


def add_opi_services(engine: DpuEngine | StorageEngine, server: grpc.aio.Server) -> tuple[str, ...]:
    """Serve the OPI APIs of a DPU beside our own; returns the names of their services."""
    if isinstance(engine, StorageEngine):
        return ()
    add_opi(server, engine.opi, "the block layer of this DPU")
    add_opi_network(server, engine.opi_network)
    return tuple(opi_services())
