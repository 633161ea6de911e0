"""The dpu-daemon program: `dpu-daemon --config F` serves, `dpu-daemon check --config F` looks at the machine."""

import asyncio
import logging
import sys
from pathlib import Path

import click
import structlog

from dpu_daemon.check import CheckFormat, examine, render
from dpu_daemon.config import (
    BlockKind,
    BusKind,
    Config,
    DpuConfig,
    LvolSection,
    StorageConfig,
    TargetKind,
    credentials_dir,
    endpoint,
    load,
)
from dpu_daemon.daemon import Parts, nvme_host, run
from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.fusebus import FuseBus
from dpu_daemon.drivers.hostbus import LabBus
from dpu_daemon.drivers.lvol import Portal, SpdkTarget, StoreSettings
from dpu_daemon.drivers.netlink import NetlinkLinks
from dpu_daemon.drivers.opi import OpiBlock, OpiBus, OpiServer, OpiTls
from dpu_daemon.drivers.ovsdb import OvsdbSwitch
from dpu_daemon.drivers.probe import FrameProber
from dpu_daemon.drivers.qsd import QsdBlock, QsdTarget
from dpu_daemon.drivers.seed import IsoSeedWriter
from dpu_daemon.drivers.spdk.block import SpdkBlock
from dpu_daemon.drivers.spdk.bus import SpdkBus
from dpu_daemon.drivers.spdk.emulation import SocketEmulation
from dpu_daemon.drivers.spdk.opi import SpdkOpi
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.dpu import DpuDrivers
from dpu_daemon.engine.opi.objects import OpiLayer
from dpu_daemon.engine.protocols import BlockDriver, HostBus, TargetDriver
from proto.errors import DpuError
from proto.reasons import Reason

EXIT_MISSING = 1
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a restart does not help."""
EXIT_UNUSABLE = 74
"""EX_IOERR of sysexits.h: the journal or an address cannot be used now; a restart may help."""
EXIT_CORRUPT = 65
"""EX_DATAERR of sysexits.h: the journal is damaged; a person has to decide."""


@click.group(invoke_without_command=True)
@click.option("--config", type=click.Path(path_type=Path), default=None, help="The settings, a TOML file.")
@click.option("--log", type=click.Choice(["json", "text"]), default="json", help="Form of the log on standard error.")
@click.version_option(package_name="dpupool")
@click.pass_context
def main(context: click.Context, config: Path | None, log: str) -> None:
    """Own the storage, network and lifecycle of this DPU's host, or the volumes of this storage node."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise click.UsageError("give the settings with --config")
    log_to_stderr(log)
    settings = _settings(config)
    try:
        asyncio.run(run(settings, config, Parts(dpu=dpu_drivers, target=target_driver)))
    except DpuError as error:
        structlog.get_logger("dpu_daemon").error(str(error), reason=error.reason.value)
        sys.exit(EXIT_CORRUPT if error.reason is Reason.CORRUPT else EXIT_UNUSABLE)


@main.command()
@click.option("--config", type=click.Path(path_type=Path), default=None, help="The settings, a TOML file.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="Form of the answer.")
@click.pass_obj
def check(outer: Path | None, config: Path | None, output: str) -> None:
    """Say what is missing on this machine, and how to get it. Exits with 1 when something is."""
    path = config or outer
    if path is None:
        raise click.UsageError("give the settings with --config")
    settings = _settings(path)
    findings = examine(settings)
    click.echo(render(findings, CheckFormat(output)))
    if not all(finding.passed for finding in findings):
        sys.exit(EXIT_MISSING)


def _settings(path: Path) -> Config:
    try:
        return load(path)
    except DpuError as error:
        click.echo(f"dpu-daemon: {error}", err=True)
        sys.exit(EXIT_CONFIG)


def log_to_stderr(form: str) -> None:
    """One line per event on standard error, JSON for machines or text for people."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if form == "text":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def dpu_drivers(config: DpuConfig) -> DpuDrivers:
    """The real drivers of a DPU."""
    switch = OvsdbSwitch(socket=str(config.switch.ovsdb), datapath=config.switch.datapath)
    block, bus, opi = storage_drivers(config)
    return DpuDrivers(
        block=block,
        bus=bus,
        switch=switch,
        links=NetlinkLinks(),
        prober=FrameProber(netdev=config.switch.probe_port, plug=switch.ensure_internal_port),
        seed_writer=IsoSeedWriter(directory=str(config.block.seed_dir)),
        credentials=FileCredentials(credentials_dir(config)),
        opi=opi,
    )


def storage_drivers(config: DpuConfig) -> tuple[BlockDriver, HostBus, OpiLayer | None]:
    """The real block layer, the link to the host that goes with it, and what OPI objects stand on."""
    if config.block.driver is BlockKind.QSD:
        files = FileCredentials(credentials_dir(config))
        qsd = QsdBlock(qmp=str(config.block.qmp), nbd_socket=str(config.block.nbd_socket), keys=files)
        return qsd, host_bus(config), None
    if config.block.driver is BlockKind.OPI:
        return *opi_drivers(config), None
    rpc = SpdkRpc(str(config.block.socket))
    emulation = SocketEmulation(directory=config.bus.directory, slots=config.bus.slots)
    host_nqn = nvme_host(config)
    keys = FileCredentials(credentials_dir(config))
    block = SpdkBlock(rpc, emulation=emulation, host_nqn=host_nqn, keys=keys)
    opi = OpiLayer(SpdkOpi(rpc, emulation=emulation, keys=keys), keys)
    return block, SpdkBus(rpc, emulation=emulation), opi


def opi_drivers(config: DpuConfig) -> tuple[OpiBlock, OpiBus]:
    """A block layer and a bus that are somebody else's OPI server."""
    files = config.block.opi_tls
    tls = OpiTls(files.ca.read_bytes(), files.cert.read_bytes(), files.key.read_bytes()) if files else None
    server = OpiServer(config.block.opi, tls)
    secrets = FileCredentials(credentials_dir(config))
    return OpiBlock(server, host_nqn=nvme_host(config), secrets=secrets), OpiBus(server, slots=config.bus.slots)


def host_bus(config: DpuConfig) -> HostBus:
    """The real link to the host."""
    nbd_socket = str(config.block.nbd_socket)
    if config.bus.driver is BusKind.LAB:
        return LabBus(socket=str(config.bus.socket), nbd_socket=nbd_socket)
    return FuseBus(
        directory=str(config.bus.directory), qmp=str(config.bus.host_qmp), nbd_socket=nbd_socket, slots=config.bus.slots
    )


def target_driver(config: Config) -> TargetDriver:
    """The real driver of a storage node."""
    if not isinstance(config, StorageConfig):
        raise TypeError(config.mode)
    if config.lvol is not None and config.block.driver is TargetKind.LVOL:
        return lvol_target(config, config.lvol)
    where = endpoint(config.block.nbd_listen, "block.nbd_listen", Path())
    return QsdTarget(
        qmp=str(config.block.qmp),
        nbd_host=where.host,
        nbd_port=where.port,
        volume_dir=str(config.block.volume_dir),
        image_dir=str(config.block.image_dir),
        keys=FileCredentials(credentials_dir(config)),
        guarded=config.block.guarded,
    )


def lvol_target(config: StorageConfig, lvol: LvolSection) -> SpdkTarget:
    """The real driver of a storage node on logical volumes."""
    portal = endpoint(lvol.listen, "lvol.listen", Path())
    tls = endpoint(lvol.tls_listen, "lvol.tls_listen", Path()) if lvol.tls_listen else None
    store = StoreSettings(
        name=lvol.store,
        device=lvol.device,
        bdev=lvol.bdev,
        make=lvol.make,
        cluster_bytes=lvol.cluster_kib << 10,
        block_bytes=lvol.block_bytes,
        clearing=lvol.clearing,
    )
    return SpdkTarget(
        rpc=SpdkRpc(str(lvol.socket)),
        store=store,
        keys=FileCredentials(credentials_dir(config)),
        image_dir=str(config.block.image_dir),
        portal=Portal(portal.host, portal.port),
        tls_portal=Portal(tls.host, tls.port) if tls is not None else None,
    )


if __name__ == "__main__":
    main()
