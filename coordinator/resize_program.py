"""Scaling of running pods as a part of the coordinator."""

from prometheus_client import CollectorRegistry

from coordinator.clients.kube import KubeApi
from coordinator.config import Config
from coordinator.controllers.cpu.wiring import CpuControllers
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.resize.wiring import Hosts, ResizeControllers


def resize_controllers(
    settings: Config,
    api: KubeApi,
    cpus: CpuControllers,
    hosts: Hosts,
    metrics: ControllerMetrics,
    registry: CollectorRegistry,
) -> ResizeControllers:
    """The controllers, over the clusters and the ledger of the CPU controllers."""
    clusters = cpus.context.clusters.apis().items()
    return ResizeControllers(
        cpus.context,
        (cpus.scheduler, cpus.nodes),
        api,
        {name: one for name, one in clusters if isinstance(one, KubeApi)},
        hosts,
        (metrics, registry),
        prometheus=settings.resize.prometheus,
    )
