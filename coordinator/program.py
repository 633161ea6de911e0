"""The coordinator as a process: parts put together, started in order, drained at SIGTERM."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import structlog
from lightkube.config.kubeconfig import KubeConfig
from prometheus_client import REGISTRY, start_http_server

from coordinator import config
from coordinator.api.routes import RouteGroup
from coordinator.clients.channel import ClientTls
from coordinator.clients.kube import KubeApi
from coordinator.clients.outside import RealOutside
from coordinator.config import Config
from coordinator.controllers.context import Caches, Context, Timing
from coordinator.controllers.cpu.context import Store
from coordinator.controllers.cpu.wiring import CpuControllers
from coordinator.controllers.events import Recorder
from coordinator.controllers.metrics import ControllerMetrics
from coordinator.controllers.net.wiring import NetControllers
from coordinator.controllers.pool.loop import PoolLoop
from coordinator.controllers.pool.records import Records
from coordinator.controllers.resize.wiring import ResizeControllers
from coordinator.controllers.storage_metrics import StorageMetrics
from coordinator.controllers.wiring import Controllers
from coordinator.core.machine.deadlines import Deadlines
from coordinator.cpu_program import cpu_controllers, serve_placement
from coordinator.direct import DirectApi
from coordinator.embedded import Embedded
from coordinator.endpoints.autoscaler.server import AutoscalerServers, ServerTls
from coordinator.endpoints.cpu.calls import PlacementCalls
from coordinator.endpoints.csi.server import CsiServer, CsiServices, CsiSettings, Surroundings
from coordinator.endpoints.csi.sockets import socket_path
from coordinator.endpoints.csi.volumes import Place
from coordinator.endpoints.health import Checks
from coordinator.endpoints.objects import ApiObjects
from coordinator.endpoints.service import BmApi
from coordinator.extensions import aggregated_server, bm_api_group, operation_paths
from coordinator.net_program import net_controllers
from coordinator.placement_routes import placement_group
from coordinator.resize_program import resize_controllers
from proto.supervision import notify, watchdog_pause_s

log = structlog.get_logger(__name__)

DRAIN_S = 5.0
POOL_LOOPS = "pool-loops"


async def run(settings: Config, extra: Iterable[RouteGroup] = ()) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        extra: what the API server serves besides objects.

    Raises:
        DpuError: it cannot start; the message names the key of the configuration.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as parts:
        checks, objects = Checks(), ApiObjects()
        outside = _outside(settings)
        parts.push_async_callback(outside.close)
        bm_api = BmApi(objects, outside)
        placement = PlacementCalls()
        groups = (bm_api_group(bm_api), placement_group(placement), operation_paths(checks), *extra)
        api, door = await _api(settings, groups, parts)
        objects.connect(api)
        parts.push_async_callback(bm_api.close)
        context = _context(settings, api, outside)
        metrics = ControllerMetrics(REGISTRY)
        controllers = Controllers(context, metrics)
        REGISTRY.register(StorageMetrics(context.caches, settings.storage, _now))
        cpus = await cpu_controllers(settings, api, door, outside, context.events, metrics, _now, parts)
        placement.connect(cpus.scheduler)
        resizes = resize_controllers(settings, api, cpus, outside, metrics, REGISTRY)
        nets = net_controllers(settings, api, door, (context, controllers), outside, (metrics, REGISTRY), _now)
        checks.add("controllers", lambda: "" if controllers.synced else "not every kind has been listed yet")
        await _serve_behind(settings.api, bm_api, checks, parts)
        _serve_metrics(settings.metrics.listen, parts)
        await _serve_autoscaler(settings, api, parts)
        await serve_placement(settings, placement, parts)
        await _serve_csi(settings.csi, api, context, controllers, parts)
        pools = _pools(settings, api)
        serving = asyncio.create_task(_serve(controllers, pools, cpus, resizes, nets), name="controllers")
        parts.push_async_callback(_end, serving)
        await _announce(controllers, serving, stop)
        notify("STOPPING=1", "STATUS=draining")
        log.info("draining")


async def _api(
    settings: Config, extra: Iterable[RouteGroup], parts: contextlib.AsyncExitStack
) -> tuple[KubeApi, Store]:
    """A client of the API, and the shortest way to its placements."""
    door: Store
    if settings.api.kubeconfig:
        api = door = KubeApi.by_kubeconfig(settings.api.kubeconfig)
    else:
        embedded = Embedded(settings.api, settings.state, extra)
        parts.push_async_callback(embedded.close)
        await embedded.start()
        api = KubeApi.by_door(embedded.door)
        door = DirectApi(embedded.writes, api)
    parts.push_async_callback(api.close)
    return api, door


async def _serve_behind(settings: config.Api, bm_api: BmApi, checks: Checks, parts: contextlib.AsyncExitStack) -> None:
    """bm-api behind the aggregation layer of a real API server, when there is a certificate to serve it with."""
    if not settings.kubeconfig:
        return
    if not settings.tls_cert:
        log.warning("bm-api is not served: no consoles", remedy="write api.tls_cert, api.tls_key and api.listen")
        return
    cluster = KubeConfig.from_file(settings.kubeconfig)
    listener = parts.enter_context(socket.create_server(config.split_listen(settings.listen[0])))
    files = Path(settings.tls_cert), Path(settings.tls_key)
    await parts.enter_async_context(aggregated_server(cluster, bm_api, checks, listener, *files))


def _outside(settings: Config) -> RealOutside:
    client = settings.client
    tls = ClientTls(ca=Path(client.ca), cert=Path(client.cert), key=Path(client.key)) if client else None
    return RealOutside(tls, settings.storage)


def _context(settings: Config, api: KubeApi, outside: RealOutside) -> Context:
    timing = settings.timing
    deadlines = Deadlines(work_s=timing.work_s, power_s=timing.power_s, boot_s=timing.boot_s, stop_s=timing.stop_s)
    return Context(
        api=api,
        outside=outside,
        caches=Caches(),
        secrets_namespace=settings.secrets_namespace,
        events=Recorder(api, _now),
        clock=_now,
        timing=Timing(
            host_poll_s=timing.host_poll_s,
            dpu_poll_s=timing.dpu_poll_s,
            offline_after_s=timing.offline_after_s,
            deadlines=deadlines,
        ),
    )


def _pools(settings: Config, api: KubeApi) -> PoolLoop:
    """The loop of the pools, which is idle while there is no ServerPool; its records lie beside the state."""
    state = Path(settings.state).parent if settings.state else Path(os.environ.get("STATE_DIRECTORY", ""))
    records = Records(state / POOL_LOOPS, settings.pools.bounds()) if state != Path() else None
    if records is None:
        log.warning("loops of the pools are not recorded", remedy="write state, or set STATE_DIRECTORY")
    identity = f"{socket.gethostname()}_{uuid4()}"
    return PoolLoop(api, settings.pools.loop(identity), clock=_now, monotonic=time.monotonic, records=records)


async def _serve(
    controllers: Controllers, pools: PoolLoop, cpus: CpuControllers, resizes: ResizeControllers, nets: NetControllers
) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(controllers.run(), name="controllers")
        tasks.create_task(pools.run(), name="pools")
        tasks.create_task(cpus.run(), name="cpus")
        tasks.create_task(resizes.run(), name="resizes")
        tasks.create_task(nets.run(), name="networks")


def _serve_metrics(listen: str, parts: contextlib.AsyncExitStack) -> None:
    if not listen:
        return
    host, port = config.split_listen(listen)
    server, thread = start_http_server(port, host)
    parts.callback(thread.join)
    parts.callback(server.server_close)
    parts.callback(server.shutdown)


async def _serve_autoscaler(settings: Config, api: KubeApi, parts: contextlib.AsyncExitStack) -> None:
    asked, ours = settings.autoscaler, settings.api
    servers = AutoscalerServers(api, _now)
    parts.push_async_callback(servers.close)
    tls = ServerTls(
        cert=Path(asked.tls_cert or ours.tls_cert),
        key=Path(asked.tls_key or ours.tls_key),
        client_ca=Path(asked.client_ca or ours.client_ca),
    )
    if asked.listen:
        await servers.serve_provider(asked.listen, tls)
    if asked.expander_listen:
        await servers.serve_expander(asked.expander_listen, tls)


async def _serve_csi(
    asked: config.Csi, api: KubeApi, context: Context, controllers: Controllers, parts: contextlib.AsyncExitStack
) -> None:
    """CSI on its socket, when one is configured."""
    if not asked.listen:
        return

    async def measure(backend: str) -> int | None:
        return (await context.outside.backend(backend).capacity()).available_bytes

    around = Surroundings(
        api=api,
        views=context.caches.by_kind,
        synced=lambda: controllers.synced,
        events=context.events,
        measure=measure,
    )
    place = Place(backend=asked.backend, backends=context.outside.backends(), pools=asked.pools)
    settings = CsiSettings(name=asked.name, namespace=asked.namespace, place=place)
    server = CsiServer(CsiServices(settings, around), socket_path(asked.listen))
    parts.push_async_callback(server.close)
    await server.start()


async def _announce(controllers: Controllers, serving: asyncio.Task[None], stop: asyncio.Event) -> None:
    """Say READY when every cache is filled, keep the watchdog quiet, and wait for the end."""
    stopped = asyncio.create_task(stop.wait(), name="stop")
    synced = asyncio.create_task(controllers.wait_synced(), name="synced")
    try:
        await asyncio.wait({stopped, serving, synced}, return_when=asyncio.FIRST_COMPLETED)
        if synced.done() and not stop.is_set():
            notify("READY=1", "STATUS=serving")
            log.info("ready")
        while not stop.is_set() and not serving.done():
            notify("WATCHDOG=1")
            await asyncio.wait({stopped, serving}, timeout=watchdog_pause_s(), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopped, synced):
            task.cancel()
    if serving.done():
        await serving


async def _end(serving: asyncio.Task[None]) -> None:
    serving.cancel()
    await asyncio.wait({serving}, timeout=DRAIN_S)


def _now() -> datetime:
    return datetime.now(UTC)
