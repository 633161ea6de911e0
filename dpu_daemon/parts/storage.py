"""A storage node's driver, and the engine over it."""

from pathlib import Path

from dpu_daemon.config import LvolSection, StorageConfig, TargetKind, credentials_dir, endpoint
from dpu_daemon.drivers.credentials import FileCredentials
from dpu_daemon.drivers.lvol import Portal, SpdkTarget, StoreSettings
from dpu_daemon.drivers.qsd import QsdTarget
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.audit import AuditTimes
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.protocols import TargetDriver
from dpu_daemon.engine.storage import StorageEngine


async def open_storage(
    config: StorageConfig, journal: Journal, times: AuditTimes, target: TargetDriver
) -> StorageEngine:
    """The engine of a storage node, its journal read."""
    return await StorageEngine.open(journal, target, times, FileCredentials(credentials_dir(config)))


def target_driver(config: StorageConfig) -> TargetDriver:
    """The real driver of a storage node."""
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
