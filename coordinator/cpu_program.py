"""The placement of CPUs as a part of the coordinator: put together, served, ended."""

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from coordinator.clients.host_cpus import Hosts
from coordinator.clients.kube import KubeApi
from coordinator.config import Config
from coordinator.controllers.cpu.clusters import Clusters
from coordinator.controllers.cpu.context import CpuContext, Store
from coordinator.controllers.cpu.plugins import installed
from coordinator.controllers.cpu.wiring import CpuControllers
from coordinator.controllers.events import Recorder
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.core.objects.cpu import OWN_CLUSTER
from coordinator.endpoints.autoscaler.server import ServerTls
from coordinator.endpoints.cpu.calls import PlacementCalls
from coordinator.endpoints.cpu.server import PlacementServer


async def cpu_controllers(
    settings: Config,
    api: KubeApi,
    door: Store,
    hosts: Hosts,
    events: Recorder,
    metrics: ControllerMetrics,
    clock: Callable[[], datetime],
    parts: contextlib.AsyncExitStack,
) -> CpuControllers:
    """The controllers, over the API's own cluster and those that the settings name.

    Args:
        door: for placements: the API's store itself where it is in this process.
        parts: closes the clients of the further clusters.

    Raises:
        DpuError: a kubeconfig cannot be used.
    """
    clusters: dict[str, KubeApi] = {OWN_CLUSTER: api}
    for name, path in settings.cpu.clusters.items():
        clusters[name] = KubeApi.by_kubeconfig(path)
        parts.push_async_callback(clusters[name].close)
    context = CpuContext(
        api=door,
        hosts=hosts,
        clusters=Clusters(clusters),
        events=events,
        clock=clock,
        poll_s=settings.cpu.poll_s,
        parallel_hosts=settings.cpu.parallel_hosts,
    )
    return CpuControllers(context, api, metrics, installed())


async def serve_placement(settings: Config, calls: PlacementCalls, parts: contextlib.AsyncExitStack) -> None:
    """The gRPC service, when an address is configured."""
    asked = settings.cpu
    if not asked.listen:
        return
    files: Mapping[str, str] = {
        key: getattr(asked, key) or getattr(settings.api, key) for key in ("tls_cert", "tls_key", "client_ca")
    }
    tls = ServerTls(cert=Path(files["tls_cert"]), key=Path(files["tls_key"]), client_ca=Path(files["client_ca"]))
    server = PlacementServer(calls)
    parts.push_async_callback(server.close)
    await server.start(asked.listen, tls)
