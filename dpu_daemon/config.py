"""Settings of the daemon, read from one TOML file."""

import tomllib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

from dpu_daemon.config_host import HostConfig, check_host
from dpu_daemon.config_net import CniSection, OffloadSection, OvnSection
from dpu_daemon.config_offload import check_offload
from dpu_daemon.config_opi import OpiNetworkSection, opi_network_faults
from dpu_daemon.config_pods import check_pods
from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.model.volume import Clearing
from dpu_daemon.sections import MetricsSection, Mode, Section, TimesSection, TlsSection
from proto.errors import DpuError
from proto.reasons import Reason


class BlockKind(Enum):
    """Block layers that there is a driver for."""

    QSD = "qsd"
    SPDK = "spdk"
    OPI = "opi"


class TargetKind(Enum):
    """Block layers of a storage node that there is a driver for."""

    QSD = "qsd"
    LVOL = "lvol"


class BusKind(Enum):
    """Host buses that there is a driver for."""

    LAB = "lab"
    FUSE = "fuse"
    VFIO_USER = "vfio-user"
    OPI = "opi"


class DpuBlockSection(Section, frozen=True):
    """The DPU's block layer.

    Attributes:
        seed_dir: where seed files lie; mode 0700, because user data may hold secrets.
        qmp: qemu-storage-daemon's monitor socket; ``qsd`` needs it.
        nbd_socket: Unix socket on which that daemon offers disks to the host's bus; ``qsd`` needs it.
        socket: SPDK's RPC socket; ``spdk`` needs it.
        host_nqn: who this DPU says it is to NVMe targets; made of the DPU's name when empty.
        opi: ``address:port`` or ``unix:PATH`` of somebody else's OPI server; ``opi`` needs it.
        opi_tls: who this daemon is to that server; needed unless it is a Unix socket.
        driver: ``qsd``, ``spdk`` or ``opi``.
    """

    seed_dir: Path
    qmp: Path = Path()
    nbd_socket: Path = Path()
    socket: Path = Path()
    host_nqn: str = ""
    opi: str = ""
    opi_tls: TlsSection | None = None
    driver: BlockKind = BlockKind.QSD


class TargetBlockSection(Section, frozen=True):
    """A storage node's block layer.

    Attributes:
        image_dir: where image files lie; only read.
        qmp: qemu-storage-daemon's monitor socket; ``qsd`` needs it, as the next two.
        nbd_listen: ``address:port`` on the storage network.
        volume_dir: where volumes lie.
        guarded: exports are served over TLS alone, to clients with a pre-shared key; a daemon serves both or neither.
        driver: ``qsd`` for copy-on-write files, ``lvol`` for logical volumes of SPDK, which has a table of its own.
    """

    image_dir: Path
    qmp: Path = Path()
    nbd_listen: str = ""
    volume_dir: Path = Path()
    guarded: bool = False
    driver: TargetKind = TargetKind.QSD


class LvolSection(Section, frozen=True):
    """Logical volumes of SPDK.

    Attributes:
        socket: of SPDK's JSON-RPC.
        listen: ``address:port`` on the storage network, for NVMe over TCP.
        store: name of the lvstore.
        device: file or block device that it lies on; opened by the daemon after each start of SPDK.
        bdev: instead of `device`, one that SPDK has by its own configuration.
        tls_listen: ``address:port`` for exports whose credentials have a TLS key; another port than `listen`.
        make: make the store when the device is blank; one that is not blank is never overwritten.
        cluster_kib: of a store that is made; sizes of volumes are multiples of it and of 1 MiB.
        block_bytes: of the device, of images and of volumes; 512 for images with a partition table made for 512.
        clearing: ``unmap``, or ``write_zeroes`` so that blank volumes and clones of them can be shredded.
    """

    socket: Path
    listen: str
    store: str = "dpupool"
    device: str = ""
    bdev: str = ""
    tls_listen: str = ""
    make: bool = False
    cluster_kib: int = 1024
    block_bytes: int = 512
    clearing: Clearing = Clearing.UNMAP


class BusSection(Section, frozen=True):
    """The link to the host: an emulated PCIe bus, or a folder of this machine where disks appear as files.

    Attributes:
        socket: of the emulated PCIe link; ``lab`` needs it.
        directory: where disks appear, or the sockets of their functions; ``fuse`` and ``vfio-user`` need it.
        qmp: monitor socket of the qemu-storage-daemon that plays the host; ``.host.qmp`` in the folder when not given.
        slots: for disks; ``fuse`` and ``vfio-user`` have no bus that would tell.
        driver: ``lab`` or ``fuse``; the block layer ``spdk`` has ``vfio-user`` and no other, ``opi`` has ``opi``.
    """

    socket: Path = Path()
    directory: Path = Path()
    qmp: Path = Path()
    slots: int = 32
    driver: BusKind = BusKind.LAB

    @property
    def host_qmp(self) -> Path:
        """Where the daemon that plays the host is spoken to."""
        return self.qmp if self.qmp != Path() else self.directory / ".host.qmp"


class Discovery(Enum):
    """How the netdev that stands for a virtual function is found."""

    PATTERN = "pattern"
    DEVLINK = "devlink"


class NetworkSection(Section, frozen=True):
    """The host's virtual functions.

    Attributes:
        discovery: ``devlink`` asks the card's driver for the names of representors (and sysfs where it has no devlink);
            ``pattern`` goes by `vf_pattern` alone.
        pf: number of the physical function that the host's virtual ones are of, with ``devlink``.
        controller: whose functions, with ``devlink``; the host's when left out.
        host: the host that this DPU sits in, as its certificate says (CN); empty: no host may ask for ports of pods.
        vf_pattern: name of a representor; ``{n}`` stands for the index of its function.
        vf_count: how many functions this DPU has; 16 is what common cards are set up with.
    """

    vf_pattern: str = "pf0vf{n}"
    vf_count: int = 16
    host: str = ""
    discovery: Discovery = Discovery.PATTERN
    pf: int = 0
    controller: int | None = None


class DpuConfig(Section, frozen=True):
    """Settings of a daemon in mode dpu.

    Attributes:
        name: of the DPU, as the coordinator knows it.
        mode: ``dpu``.
        journal: the daemon's only memory; keep it on a disk that survives.
        listen: ``address:port`` on the management network, or ``unix:PATH``.
        tls: needed unless `listen` is a Unix socket.
        credentials_dir: where secrets of storage clients lie, mode 0700; ``credentials`` beside the journal when empty.
        cni: containers of the DPU itself get their network from this daemon.
    """

    name: str
    mode: Mode
    journal: Path
    listen: str
    block: DpuBlockSection
    bus: BusSection
    switch: SwitchSection
    network: NetworkSection = NetworkSection()
    cni: CniSection | None = None
    ovn: OvnSection | None = None
    offload: OffloadSection = OffloadSection()
    opi_network: OpiNetworkSection = OpiNetworkSection()
    metrics: MetricsSection = MetricsSection()
    times: TimesSection = TimesSection()
    tls: TlsSection | None = None
    credentials_dir: Path | None = None


class StorageConfig(Section, frozen=True):
    """Settings of a daemon in mode storage; see `DpuConfig` for what both have."""

    name: str
    mode: Mode
    journal: Path
    listen: str
    block: TargetBlockSection
    metrics: MetricsSection = MetricsSection()
    times: TimesSection = TimesSection()
    tls: TlsSection | None = None
    credentials_dir: Path | None = None
    lvol: LvolSection | None = None


Config = DpuConfig | StorageConfig | HostConfig
_OF_MODE: dict[Mode, type[Config]] = {Mode.DPU: DpuConfig, Mode.STORAGE: StorageConfig, Mode.HOST: HostConfig}


def credentials_dir(config: DpuConfig | StorageConfig) -> Path:
    """Where this daemon keeps the secrets of storage clients."""
    return config.credentials_dir or config.journal.parent / "credentials"


class _ModeOnly(msgspec.Struct):
    mode: Mode


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port."""

    host: str
    port: int


def load(path: Path) -> Config:
    """The settings of a file.

    Raises:
        DpuError: INVALID naming the file, the key and what is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(path, "", str(error)) from error
    try:
        mode = msgspec.convert(table, _ModeOnly).mode
        config = msgspec.convert(table, _OF_MODE[mode], dec_hook=_decode)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise _wrong(path, where.strip("`").lstrip("."), what) from error
    _check(path, config)
    return config


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected `str`, got `{type(value).__name__}`")


def _check(path: Path, config: Config) -> None:
    if config.tls is None and not config.listen.startswith("unix:"):
        raise _wrong(path, "tls", "every call on the network is mutually authenticated: give ca, cert and key")
    if not config.listen.startswith("unix:"):
        endpoint(config.listen, "listen", path)
    if config.metrics.listen:
        endpoint(config.metrics.listen, "metrics.listen", path)
    if isinstance(config, HostConfig):
        check_host(path, config)
        return
    if isinstance(config, DpuConfig):
        _check_dpu(path, config)
    if isinstance(config, StorageConfig):
        _check_target(path, config)
    elif "{n}" not in config.network.vf_pattern:
        raise _wrong(path, "network.vf_pattern", "has no {n} for the index of the function")
    elif len(config.switch.probe_port) > 15 or not config.switch.probe_port:
        raise _wrong(path, "switch.probe_port", "is not a device name of 1 to 15 characters")


def _check_dpu(path: Path, config: DpuConfig) -> None:
    _check_block(path, config.block)
    _check_bus(path, config.bus)
    check_offload(path, config.offload, has_switch=True)
    check_pods(path, config.cni, config.ovn)
    for key, what in opi_network_faults(config.opi_network, config.switch):
        raise _wrong(path, key, what)
    own = _BUS_OF.get(config.block.driver)
    if own is not (config.bus.driver if config.bus.driver in _BUS_OF.values() else None):
        what = f"{config.bus.driver.value} does not go with the block layer {config.block.driver.value}"
        raise _wrong(path, "bus.driver", what)


_BUS_OF: dict[BlockKind, BusKind] = {BlockKind.SPDK: BusKind.VFIO_USER, BlockKind.OPI: BusKind.OPI}
"""Block layers that are seen through one bus alone."""
_NEEDED = {BlockKind.QSD: ("qmp", "nbd_socket"), BlockKind.SPDK: ("socket",), BlockKind.OPI: ("opi",)}


def _check_block(path: Path, block: DpuBlockSection) -> None:
    for key in _NEEDED[block.driver]:
        if getattr(block, key) in {Path(), ""}:
            raise _wrong(path, f"block.{key}", f"the driver {block.driver.value} needs it")
    if block.driver is BlockKind.OPI and not block.opi.startswith("unix:"):
        endpoint(block.opi, "block.opi", path)
        if block.opi_tls is None:
            raise _wrong(
                path, "block.opi_tls", "every call on the network is mutually authenticated: give ca, cert and key"
            )


def _check_target(path: Path, config: StorageConfig) -> None:
    if config.block.driver is TargetKind.QSD:
        endpoint(config.block.nbd_listen, "block.nbd_listen", path)
        for key in ("qmp", "volume_dir"):
            if getattr(config.block, key) == Path():
                raise _wrong(path, f"block.{key}", f"the driver {config.block.driver.value} needs it")
        return
    lvol = config.lvol
    if lvol is None:
        raise _wrong(path, "lvol", "the driver lvol needs this table")
    endpoint(lvol.listen, "lvol.listen", path)
    if lvol.tls_listen:
        endpoint(lvol.tls_listen, "lvol.tls_listen", path)
    if bool(lvol.device) == bool(lvol.bdev):
        raise _wrong(path, "lvol.device", "give either a device or a bdev for the store")
    if not 0 < len(lvol.store) < 64:
        raise _wrong(path, "lvol.store", "is not a name of 1 to 63 characters")
    if lvol.cluster_kib <= 0 or lvol.cluster_kib & (lvol.cluster_kib - 1):
        raise _wrong(path, "lvol.cluster_kib", f"{lvol.cluster_kib} is no power of two")
    if lvol.block_bytes not in (512, 4096):
        raise _wrong(path, "lvol.block_bytes", f"{lvol.block_bytes} is neither 512 nor 4096")


def _check_bus(path: Path, bus: BusSection) -> None:
    key = "socket" if bus.driver is BusKind.LAB else "directory"
    if bus.driver is not BusKind.OPI and getattr(bus, key) == Path():
        raise _wrong(path, f"bus.{key}", f"the driver {bus.driver.value} needs it")
    if bus.driver not in {BusKind.LAB, BusKind.OPI} and not bus.directory.is_absolute():
        raise _wrong(path, "bus.directory", f"{bus.directory} is not absolute")
    if not 0 < bus.slots <= 4096:
        raise _wrong(path, "bus.slots", f"{bus.slots} is not between 1 and 4096")


def endpoint(text: str, key: str, path: Path) -> Endpoint:
    """Address and port of ``address:port``; a v6 address stands in brackets.

    Raises:
        DpuError: INVALID naming the key.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise _wrong(path, key, f"{text!r} is not address:port")
    return Endpoint(host.strip("[]"), int(port))


def _wrong(path: Path, key: str, what: str) -> DpuError:
    return DpuError(Reason.INVALID, f"{path}: {what}", field=key, remedy=f"correct {key or 'the file'}")
