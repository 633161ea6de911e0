"""Objects of the OPI storage API: what a client wants of each. Fields are called as on the wire."""

from dataclasses import dataclass
from enum import Enum


class OpiKind(Enum):
    """Collections; the value is the collection's part of a resource name."""

    NULL_VOLUME = "nullVolumes"
    MALLOC_VOLUME = "mallocVolumes"
    AIO_VOLUME = "aioVolumes"
    REMOTE_CONTROLLER = "nvmeRemoteControllers"
    PATH = "nvmePaths"
    ENCRYPTED_VOLUME = "encryptedVolumes"
    QOS_VOLUME = "qosVolumes"
    SUBSYSTEM = "nvmeSubsystems"
    CONTROLLER = "nvmeControllers"
    NAMESPACE = "nvmeNamespaces"
    VIRTIO_BLK = "virtioBlks"


REMOTE_NAMESPACES = "nvmeRemoteNamespaces"
"""A collection that nobody creates in: its members come and go with the remote subsystem."""


class Transport(Enum):
    """How an NVMe subsystem is reached."""

    PCIE = "pcie"
    RDMA = "rdma"
    TCP = "tcp"


class AddressFamily(Enum):
    """Of a fabrics address."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Multipath(Enum):
    """What several paths of a remote controller are for."""

    DISABLE = "disable"
    FAILOVER = "failover"
    MULTIPATH = "multipath"


class Cipher(Enum):
    """Ciphers of volumes; the number is bits of one of the two XTS keys."""

    AES_XTS_128 = "aes-xts-128"
    AES_XTS_256 = "aes-xts-256"

    @property
    def key_bytes(self) -> int:
        """Both XTS keys together."""
        return 32 if self is Cipher.AES_XTS_128 else 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a volume as SPDK can hold them; 0 is unlimited. One kiops is 1000 operations per second."""

    rw_iops_kiops: int = 0
    rw_bandwidth_mbs: int = 0
    rd_bandwidth_mbs: int = 0
    wr_bandwidth_mbs: int = 0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class PciFunction:
    """A PCIe function of the DPU as the host enumerates it."""

    port_id: int
    physical_function: int
    virtual_function: int

    def __str__(self) -> str:
        return f"port {self.port_id}, function {self.physical_function}.{self.virtual_function}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A fabrics address to listen on."""

    traddr: str
    trsvcid: str
    adrfam: AddressFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class NullVolume:
    block_size: int
    blocks_count: int
    uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MallocVolume:
    block_size: int
    blocks_count: int
    metadata_size: int = 0
    uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AioVolume:
    """A file or block device of the DPU; 0 blocks are as many as it has."""

    filename: str
    block_size: int
    blocks_count: int = 0
    uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteController:
    """A remote subsystem; `psk` names the credentials with its key, empty for none."""

    multipath: Multipath
    io_queues_count: int = 0
    queue_size: int = 0
    hdgst: bool = False
    ddgst: bool = False
    psk: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePath:
    """One way to a remote subsystem."""

    trtype: Transport
    traddr: str
    trsvcid: int = 0
    subnqn: str = ""
    adrfam: AddressFamily = AddressFamily.IPV4
    source_traddr: str = ""
    source_trsvcid: int = 0
    hostnqn: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedVolume:
    """`key` names the credentials with the volume's key."""

    volume_name_ref: str
    cipher: Cipher
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QosVolume:
    volume_name_ref: str
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Subsystem:
    """`hostnqn` empty lets any host connect; `psk` names the credentials with that host's key."""

    nqn: str
    serial_number: str = ""
    model_number: str = ""
    max_namespaces: int = 0
    hostnqn: str = ""
    psk: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """Where a subsystem is shown: a PCIe function or a fabrics address, exactly one; the rest is kept and told."""

    trtype: Transport
    pcie_id: PciFunction | None = None
    fabrics_id: Endpoint | None = None
    nvme_controller_id: int | None = None
    max_nsq: int = 0
    max_ncq: int = 0
    sqes: int = 0
    cqes: int = 0
    max_namespaces: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    volume_name_ref: str
    host_nsid: int = 0
    nguid: str = ""
    eui64: int = 0
    uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtioBlk:
    pcie_id: PciFunction
    volume_name_ref: str
    max_io_qps: int = 0
    max_limit: Limits = NO_LIMITS


BackVolume = NullVolume | MallocVolume | AioVolume
OpiSpec = (
    BackVolume
    | RemoteController
    | RemotePath
    | EncryptedVolume
    | QosVolume
    | Subsystem
    | Controller
    | Namespace
    | VirtioBlk
)

SPECS: dict[OpiKind, type[OpiSpec]] = {
    OpiKind.NULL_VOLUME: NullVolume,
    OpiKind.MALLOC_VOLUME: MallocVolume,
    OpiKind.AIO_VOLUME: AioVolume,
    OpiKind.REMOTE_CONTROLLER: RemoteController,
    OpiKind.PATH: RemotePath,
    OpiKind.ENCRYPTED_VOLUME: EncryptedVolume,
    OpiKind.QOS_VOLUME: QosVolume,
    OpiKind.SUBSYSTEM: Subsystem,
    OpiKind.CONTROLLER: Controller,
    OpiKind.NAMESPACE: Namespace,
    OpiKind.VIRTIO_BLK: VirtioBlk,
}

RANKS: tuple[frozenset[OpiKind], ...] = (
    frozenset({OpiKind.NULL_VOLUME, OpiKind.MALLOC_VOLUME, OpiKind.AIO_VOLUME, OpiKind.REMOTE_CONTROLLER}),
    frozenset({OpiKind.PATH, OpiKind.SUBSYSTEM}),
    frozenset({OpiKind.ENCRYPTED_VOLUME}),
    frozenset({OpiKind.NAMESPACE}),
    frozenset({OpiKind.CONTROLLER, OpiKind.VIRTIO_BLK}),
    frozenset({OpiKind.QOS_VOLUME}),
)
"""Each rank stands on those before it. Controllers come after namespaces: a host that finds one finds its disks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpiObject:
    """An object as journalled before its first step.

    Attributes:
        name: resource name.
        kind: its collection.
        handle: its name in the block layer.
        generation: grows with each update.
        spec: with everything that the server chose filled in.
        wanted: False once its deletion is journalled.
        established: was whole once.
    """

    name: str
    kind: OpiKind
    handle: str
    generation: int
    spec: OpiSpec
    wanted: bool = True
    established: bool = False

    @property
    def parent(self) -> str:
        """Resource name of the object that this one lives in; empty for none."""
        return self.name.rpartition("/")[0].rpartition("/")[0]

    @property
    def secret(self) -> str:
        """Name of the credentials that this object brought along; empty for none."""
        match self.spec:
            case RemoteController(psk=secret) | Subsystem(psk=secret) | EncryptedVolume(key=secret):
                return secret
            case _:
                return ""
