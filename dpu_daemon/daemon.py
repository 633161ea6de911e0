"""A daemon put together from its settings: drivers, journal, engine, server, and how they start and stop."""

import asyncio
import gc
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog

from dpu_daemon.config import Config, DpuConfig, StorageConfig, endpoint
from dpu_daemon.config_host import HostConfig
from dpu_daemon.drivers.keeper import LOST as CONNECTIONS_LOST
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.journal import Journal
from dpu_daemon.sections import TlsSection
from dpu_daemon.service.host import About
from dpu_daemon.service.metrics import Metrics
from dpu_daemon.service.server import DaemonServer, Identity
from proto.errors import DpuError
from proto.supervision import notify, watchdog_pause_s

if TYPE_CHECKING:
    from dpu_daemon.engine.dpu import DpuDrivers, DpuEngine
    from dpu_daemon.engine.host import HostDrivers, HostEngine
    from dpu_daemon.engine.protocols import TargetDriver
    from dpu_daemon.engine.storage import StorageEngine
    from dpu_daemon.service.cni.server import CniServer
    from dpu_daemon.service.kubelet import DevicePluginServer

    Engine = DpuEngine | StorageEngine | HostEngine

GRACE_S = 2.0
"""For calls that only wait (event streams, probes) once running operations are done."""
READ_AGAIN_S = 5.0

_log = structlog.get_logger("dpu_daemon")


class Certificates:
    """The TLS files, read again when told to.

    Args:
        files: where they are.
    """

    def __init__(self, files: TlsSection) -> None:
        self._files = files
        self._identity = self._read()

    def _read(self) -> Identity:
        files = self._files
        return Identity(files.ca.read_bytes(), files.cert.read_bytes(), files.key.read_bytes())

    def identity(self) -> Identity:
        """What new connections are served with."""
        return self._identity

    def reload(self) -> None:
        """Read the files again; while they cannot be read the old ones serve."""
        try:
            self._identity = self._read()
        except OSError as error:
            _log.error(f"certificates stay as they were: {error}")
        else:
            _log.info("certificates read again")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a test puts in the place of real drivers; None for the real ones of that mode."""

    dpu: "Callable[[DpuConfig], DpuDrivers] | None" = None
    target: "Callable[[StorageConfig], TargetDriver] | None" = None
    host: "Callable[[HostConfig], HostDrivers] | None" = None


async def run(config: Config, path: Path, parts: Parts | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        config: the settings.
        path: of the file they came from, for errors.
        parts: makes other drivers than the real ones.

    Raises:
        DpuError: the journal or an address cannot be used, or a driver that came late cannot be started.
    """
    _raise_open_files()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    certificates = Certificates(config.tls) if config.tls is not None else None
    if certificates is not None:
        loop.add_signal_handler(signal.SIGHUP, certificates.reload)
    journal = Journal(config.journal)
    engine = await _engine(config, journal, parts or Parts())
    metrics = Metrics()
    metrics.registry.register(CONNECTIONS_LOST)
    about = About(
        name=config.name,
        version=metadata.version("dpupool"),
        mode=config.mode.value,
        journal=config.journal,
        host_nqn=_nvme_host(config),
    )
    server = DaemonServer(about, engine, metrics, certificates.identity if certificates else None)
    _observe(engine, metrics)
    await server.start(config.listen)
    stop_metrics = _serve_metrics(config, path, metrics)
    await engine.core.start()
    plugin = _serve_kubelet(config, engine, metrics)
    cni = await _serve_cni(config, engine, metrics)
    # What is there now stays; to look at it again at each full collection would take 17 ms in the middle of a call.
    gc.collect()
    gc.freeze()
    notify("READY=1", "STATUS=answering, not converged yet")
    _log.info("serving", name=config.name, mode=config.mode.value, listen=config.listen)
    beating = asyncio.create_task(_beat(engine))
    fault = await _until(stop, engine.core.fault)
    notify("STOPPING=1", "STATUS=finishing what is running")
    beating.cancel()
    await server.drain()
    if plugin is not None:
        await plugin.stop()
    if cni is not None:
        await cni.stop(config.times.drain_s)
    await engine.core.operations.stop(config.times.drain_s)
    await server.stop(GRACE_S)
    await engine.core.stop(0.0)
    stop_metrics()
    _log.info("stopped", name=config.name)
    if fault is not None:
        raise fault


def _observe(engine: "Engine", metrics: Metrics) -> None:
    """Have the metrics show what this daemon has."""
    metrics.observe(engine.core, engine.slots, engine.census)
    _observe_host(engine, metrics)
    _observe_offload(engine, metrics)
    _observe_pods(engine, metrics)


async def _until(stop: asyncio.Event, fault: "asyncio.Future[DpuError]") -> DpuError | None:
    """Until somebody ends this daemon, or it has to end by itself: then why."""
    stopping = asyncio.ensure_future(stop.wait())
    ends: set[asyncio.Future[Any]] = {stopping, fault}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    return fault.result() if fault.done() else None


def _raise_open_files() -> None:
    """As many open files as the system lets us: a host keeps two for each container."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _nvme_host(config: Config) -> str:
    """Who this DPU says it is to NVMe targets; empty for a daemon that is none's client."""
    if not isinstance(config, DpuConfig):
        return ""
    from dpu_daemon.parts.dpu import nvme_host  # noqa: PLC0415

    return nvme_host(config)


async def _engine(config: Config, journal: Journal, parts: Parts) -> "Engine":
    """The engine of this mode, over its drivers; what the other modes need is not even loaded."""
    times = AuditTimes(period_s=config.times.audit_s)
    if isinstance(config, HostConfig):
        from dpu_daemon.parts.host import host_drivers, open_host  # noqa: PLC0415

        return await open_host(journal, times, (parts.host or host_drivers)(config))
    if isinstance(config, DpuConfig):
        from dpu_daemon.parts.dpu import dpu_drivers, open_dpu  # noqa: PLC0415

        return await open_dpu(config, journal, times, (parts.dpu or dpu_drivers)(config))
    from dpu_daemon.parts.storage import open_storage, target_driver  # noqa: PLC0415

    return await open_storage(config, journal, times, (parts.target or target_driver)(config))


def _serve_metrics(config: Config, path: Path, metrics: Metrics) -> Callable[[], None]:
    if not config.metrics.listen:
        return lambda: None
    where = endpoint(config.metrics.listen, "metrics.listen", path)
    return metrics.serve(where.host, where.port)


def _observe_host(engine: "Engine", metrics: Metrics) -> None:
    from dpu_daemon.engine.host import HostEngine  # noqa: PLC0415
    from dpu_daemon.service.cpu_metrics import HostCollector  # noqa: PLC0415

    if isinstance(engine, HostEngine):
        metrics.registry.register(HostCollector(engine))


def _observe_pods(engine: "Engine", metrics: Metrics) -> None:
    """Ports of pods, where the engine has a switch."""
    from dpu_daemon.engine.dpu import DpuEngine  # noqa: PLC0415
    from dpu_daemon.engine.host import HostEngine  # noqa: PLC0415
    from dpu_daemon.service.pod_metrics import PodCollector  # noqa: PLC0415

    pods = engine.pods if isinstance(engine, DpuEngine) else None
    if isinstance(engine, HostEngine) and engine.network is not None:
        pods = engine.network.pods
    if pods is not None:
        metrics.registry.register(PodCollector(pods))


def _observe_offload(engine: "Engine", metrics: Metrics) -> None:
    """Flow offload, where the engine has a switch."""
    from dpu_daemon.engine.dpu import DpuEngine  # noqa: PLC0415
    from dpu_daemon.engine.host import HostEngine  # noqa: PLC0415
    from dpu_daemon.service.offload_metrics import OffloadCollector  # noqa: PLC0415

    offload = engine.offload if isinstance(engine, DpuEngine) else None
    if isinstance(engine, HostEngine) and engine.network is not None:
        offload = engine.network.offload
    if offload is not None:
        metrics.registry.register(OffloadCollector(offload))


def _serve_kubelet(config: Config, engine: "Engine", metrics: Metrics) -> "DevicePluginServer | None":
    """The device plug-in of a host that lets kubelet count its functions."""
    from dpu_daemon.engine.host import HostEngine  # noqa: PLC0415

    if not isinstance(config, HostConfig) or config.vfs is None:
        return None
    if not isinstance(engine, HostEngine) or engine.vfs is None:
        return None
    from dpu_daemon.parts.vfs import device_plugin  # noqa: PLC0415
    from dpu_daemon.service.vf_metrics import VfCollector  # noqa: PLC0415

    metrics.registry.register(VfCollector(engine.vfs))
    plugin = device_plugin(config.vfs, engine.vfs, metrics)
    if plugin is not None:
        plugin.start(engine.vfs.known)
    return plugin


async def _serve_cni(config: Config, engine: "Engine", metrics: Metrics) -> "CniServer | None":
    """The socket of a node whose pods get their network from this daemon."""
    if isinstance(config, StorageConfig) or config.cni is None:
        return None
    network = cast("DpuEngine | HostEngine", engine).network
    if network is None:
        return None
    from dpu_daemon.parts.cni import serve_cni  # noqa: PLC0415

    return await serve_cni(config.cni, network.cni, metrics)


async def _beat(engine: "Engine") -> None:
    """Tell the supervisor how things stand; from the event loop, so that a stuck loop is noticed."""
    pause = watchdog_pause_s() or READ_AGAIN_S
    while True:
        state = "converged" if engine.core.ready() else "converging"
        trouble = engine.core.audit.message()
        notify("WATCHDOG=1", f"STATUS={state}" + (f"; {trouble[:200]}" if trouble else ""))
        await asyncio.sleep(pause)
