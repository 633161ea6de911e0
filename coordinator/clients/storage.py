"""What backends and the controllers tell each other: volumes, snapshots, exports, secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.core.objects.meta import SecretRef
from coordinator.core.storage.abilities import Abilities
from coordinator.core.storage.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPath:
    """Another address of the same export."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAddress:
    """Where a volume is reached on the storage network.

    Attributes:
        transport: nbd+tcp, nvme+tcp, nvme+rdma or rbd.
        export: NBD export name, NVMe subsystem NQN, or POOL/IMAGE of rbd.
        credentials: name of the set to authenticate with; empty for none.
        nsid: namespace of the subsystem; 0 for its only one.
    """

    transport: str
    host: str
    port: int
    export: str
    credentials: str = ""
    paths: tuple[TargetPath, ...] = ()
    nsid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeWish:
    """A volume as asked of a backend.

    Attributes:
        volume_id: UID of the Volume; a backend that gives ids of its own takes it for the name.
        taken: handles that other Volumes have at this backend.
    """

    volume_id: str
    size_bytes: int
    source: Source | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotWish:
    """A snapshot as asked of a backend; `volume` is the handle of its volume."""

    snapshot_id: str
    volume: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """An image at its backend."""

    image_id: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeInfo:
    """A volume at its backend.

    Attributes:
        volume_id: its id there: the handle.
        context: what the backend wants to be told again when the volume is exported.
    """

    volume_id: str
    size_bytes: int
    allocated_bytes: int = 0
    exported: bool = False
    export_generation: int = 0
    message: str = ""
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """A snapshot at its backend; `snapshot_id` is as asked for, `handle` its id there."""

    snapshot_id: str
    handle: str
    volume: str
    size_bytes: int
    created_unix_ms: int
    ready: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWish:
    """Access to a volume for one generation.

    Attributes:
        dpu: name of the DPU that may connect.
        host_nqn: NQN that it shows to NVMe targets.
        credentials: name of the set that it authenticates with; empty for an unguarded export.
        context: as the backend gave it with the volume.
    """

    volume: str
    dpu: str
    generation: int
    read_only: bool = False
    host_nqn: str = ""
    credentials: str = ""
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Space of a backend; None where it does not tell."""

    total_bytes: int | None = None
    available_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSecrets:
    """A set of secrets under a name, for a daemon; never printed.

    Attributes:
        name: [a-z0-9.-], at most 63 characters.
        tls_psk: of NVMe/TCP as NVMeTLSkey-1:..., of NBD as hex digits.
        volume_key: AES-XTS, both halves.
    """

    name: str
    dhchap_key: str = field(default="", repr=False)
    dhchap_controller_key: str = field(default="", repr=False)
    tls_psk: str = field(default="", repr=False)
    volume_key: bytes = field(default=b"", repr=False)
    cephx_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a backend is, as far as the controllers must know.

    Attributes:
        transport: of its exports.
        tls: whether exports over NVMe are encrypted, besides the clients being authenticated.
        own_ids: whether it gives ids of its own, so that a create that was not heard of must be looked for.
        secret: Secret with the credentials of its clients, where somebody else decides them; None where we do, or none
            are used.
        authenticates: whether we make credentials for each DPU, which both sides must know before an export.
    """

    abilities: Abilities
    transport: str
    authenticates: bool = False
    tls: bool = True
    own_ids: bool = False
    secret: SecretRef | None = None
