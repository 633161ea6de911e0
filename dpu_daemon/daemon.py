"""A daemon put together from its settings: drivers, journal, engine, server, and how they start and stop."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import structlog

from dpu_daemon.config import Config, DpuConfig, TlsSection, credentials_dir, endpoint
from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.spdk.names import host_nqn_for
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.dpu import DpuDrivers, DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.network import NetworkSettings
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.notify import notify, watchdog_pause_s
from dpu_daemon.service.host import About
from dpu_daemon.service.metrics import Metrics
from dpu_daemon.service.server import DaemonServer, Identity

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
    """What only a program's entry chooses: real drivers, or a test's."""

    dpu: Callable[[DpuConfig], DpuDrivers]
    target: Callable[[Config], TargetDriver]


async def run(config: Config, path: Path, parts: Parts) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        config: the settings.
        path: of the file they came from, for errors.
        parts: makes the drivers.

    Raises:
        DpuError: the journal or an address cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    certificates = Certificates(config.tls) if config.tls is not None else None
    if certificates is not None:
        loop.add_signal_handler(signal.SIGHUP, certificates.reload)
    journal = Journal(config.journal)
    engine = await _engine(config, journal, parts)
    metrics = Metrics()
    about = About(
        name=config.name,
        version=metadata.version("dpupool"),
        mode=config.mode.value,
        journal=config.journal,
        host_nqn=nvme_host(config),
    )
    server = DaemonServer(about, engine, metrics, certificates.identity if certificates else None)
    metrics.observe(engine.core, engine.slots, engine.census)
    await server.start(config.listen)
    stop_metrics = _serve_metrics(config, path, metrics)
    await engine.core.start()
    notify("READY=1", "STATUS=answering, not converged yet")
    _log.info("serving", name=config.name, mode=config.mode.value, listen=config.listen)
    beating = asyncio.create_task(_beat(engine))
    await stop.wait()
    notify("STOPPING=1", "STATUS=finishing what is running")
    beating.cancel()
    await server.drain()
    await engine.core.operations.stop(config.times.drain_s)
    await server.stop(GRACE_S)
    await engine.core.stop(0.0)
    stop_metrics()
    _log.info("stopped", name=config.name)


def nvme_host(config: Config) -> str:
    """Who this DPU says it is to NVMe targets; empty for a storage node, which is none's client."""
    if not isinstance(config, DpuConfig):
        return ""
    return config.block.host_nqn or host_nqn_for(config.name)


async def _engine(config: Config, journal: Journal, parts: Parts) -> DpuEngine | StorageEngine:
    times = AuditTimes(period_s=config.times.audit_s)
    if not isinstance(config, DpuConfig):
        credentials = FileCredentials(credentials_dir(config))
        return await StorageEngine.open(journal, parts.target(config), times, credentials)
    network = NetworkSettings(
        bridge=config.switch.bridge,
        uplink=config.switch.uplink,
        vf_pattern=config.network.vf_pattern,
        vf_count=config.network.vf_count,
    )
    return await DpuEngine.open(journal, parts.dpu(config), network, times)


def _serve_metrics(config: Config, path: Path, metrics: Metrics) -> Callable[[], None]:
    if not config.metrics.listen:
        return lambda: None
    where = endpoint(config.metrics.listen, "metrics.listen", path)
    return metrics.serve(where.host, where.port)


async def _beat(engine: DpuEngine | StorageEngine) -> None:
    """Tell the supervisor how things stand; from the event loop, so that a stuck loop is noticed."""
    pause = watchdog_pause_s() or READ_AGAIN_S
    while True:
        state = "converged" if engine.core.ready() else "converging"
        trouble = engine.core.audit.message()
        notify("WATCHDOG=1", f"STATUS={state}" + (f"; {trouble[:200]}" if trouble else ""))
        await asyncio.sleep(pause)
