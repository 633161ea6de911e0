"""Rows of the journal: wanted things as JSON, and back."""

from enum import Enum

import msgspec

from dpu_daemon.model.assignment import NO_VF, Assignment, PodPort, Sandbox
from dpu_daemon.model.binding import HostBindings, SizeChange
from dpu_daemon.model.disk import Attachment, AttachmentSpec, DiskProtocol, Qos, SeedFile, TargetAddress
from dpu_daemon.model.opi import SPECS, OpiKind, OpiObject
from dpu_daemon.model.opi_network import NET_SPECS, NetKind, NetObject
from dpu_daemon.model.port import Port
from dpu_daemon.model.seed import Seed
from dpu_daemon.model.volume import Image, Snapshot, Volume

Record = (
    Attachment
    | Port
    | Seed
    | Image
    | Volume
    | Snapshot
    | OpiObject
    | NetObject
    | HostBindings
    | SizeChange
    | Assignment
    | PodPort
    | Sandbox
)
"""Everything that a daemon can be asked to keep."""


THE_HOST = "host"
"""Id of what there is one of on a host."""


class RecordKind(Enum):
    """Tables within the table of wanted things."""

    ATTACHMENT = "attachment"
    PORT = "port"
    SEED = "seed"
    IMAGE = "image"
    VOLUME = "volume"
    OPI = "opi"
    OPI_NETWORK = "opi_network"
    SNAPSHOT = "snapshot"
    BINDINGS = "bindings"
    SIZES = "sizes"
    ASSIGNMENT = "assignment"
    POD_PORT = "pod_port"
    SANDBOX = "sandbox"


class _AttachmentRow(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment, with its either-or source as two optional columns."""

    attachment_id: str
    generation: int
    handle: str
    slot: int
    wanted: bool
    force: bool
    established: bool
    shown_bytes: int
    volume_id: str
    size_bytes: int
    target: TargetAddress | None
    seed: SeedFile | None
    protocol: DiskProtocol
    serial: str
    nguid: str
    read_only: bool
    boot_order: int
    qos: Qos
    machine_id: str
    encryption: str = ""


class _OpiRow(msgspec.Struct, frozen=True, kw_only=True):
    """An object of the OPI API; which spec it has, its kind tells."""

    name: str
    kind: OpiKind
    handle: str
    generation: int
    spec: msgspec.Raw
    wanted: bool
    established: bool


class _NetRow(msgspec.Struct, frozen=True, kw_only=True):
    """An object of the OPI network API, likewise."""

    name: str
    kind: NetKind
    handle: str
    generation: int
    spec: msgspec.Raw
    wanted: bool
    established: bool


_KINDS: dict[type[Record], RecordKind] = {
    Attachment: RecordKind.ATTACHMENT,
    Port: RecordKind.PORT,
    Seed: RecordKind.SEED,
    Image: RecordKind.IMAGE,
    Volume: RecordKind.VOLUME,
    Snapshot: RecordKind.SNAPSHOT,
    OpiObject: RecordKind.OPI,
    NetObject: RecordKind.OPI_NETWORK,
    HostBindings: RecordKind.BINDINGS,
    SizeChange: RecordKind.SIZES,
    Assignment: RecordKind.ASSIGNMENT,
    PodPort: RecordKind.POD_PORT,
    Sandbox: RecordKind.SANDBOX,
}
_Plain = Port | Seed | Image | Volume | Snapshot | HostBindings | SizeChange | Assignment | PodPort | Sandbox
_AS_THEY_ARE: dict[RecordKind, type[_Plain]] = {
    RecordKind.PORT: Port,
    RecordKind.SEED: Seed,
    RecordKind.IMAGE: Image,
    RecordKind.VOLUME: Volume,
    RecordKind.SNAPSHOT: Snapshot,
    RecordKind.BINDINGS: HostBindings,
    RecordKind.SIZES: SizeChange,
    RecordKind.ASSIGNMENT: Assignment,
    RecordKind.POD_PORT: PodPort,
    RecordKind.SANDBOX: Sandbox,
}
"""Kinds whose body is their record's fields."""


def kind_of(record: Record) -> RecordKind:
    """Which kind of row keeps this record."""
    return _KINDS[type(record)]


_ID_FIELDS: dict[type[Record], str] = {
    Attachment: "attachment_id",
    Port: "port_id",
    Seed: "machine_id",
    Image: "image_id",
    Volume: "volume_id",
    Snapshot: "snapshot_id",
    OpiObject: "name",
    NetObject: "name",
    SizeChange: "request_id",
    Assignment: "port_id",
    PodPort: "port_id",
    Sandbox: "sandbox_id",
}


def id_of(record: Record) -> str:
    """The id under which callers know this record."""
    field = _ID_FIELDS.get(type(record))
    return str(getattr(record, field)) if field else THE_HOST


def place_of(record: Record) -> int | None:
    """The slot or virtual function that no second record of the kind may hold; None where there is no such thing."""
    match record:
        case Attachment():
            return record.slot
        case Port():
            return record.vf
        case PodPort():
            return record.vf if record.vf != NO_VF else None
        case _:
            return None


def to_body(record: Record) -> bytes:
    """The record as JSON."""
    return msgspec.json.encode(_attachment_row(record) if isinstance(record, Attachment) else record)


def from_body(kind: RecordKind, body: bytes) -> Record:
    """The record of a JSON body.

    Raises:
        msgspec.ValidationError: the body is not what this version or an older one wrote.
    """
    match kind:
        case RecordKind.ATTACHMENT:
            return _attachment(msgspec.json.decode(body, type=_AttachmentRow))
        case RecordKind.OPI:
            return _opi_object(msgspec.json.decode(body, type=_OpiRow))
        case RecordKind.OPI_NETWORK:
            return _net_object(msgspec.json.decode(body, type=_NetRow))
        case _:
            return msgspec.json.decode(body, type=_AS_THEY_ARE[kind])


def _opi_object(row: _OpiRow) -> OpiObject:
    return OpiObject(
        name=row.name,
        kind=row.kind,
        handle=row.handle,
        generation=row.generation,
        spec=msgspec.json.decode(row.spec, type=SPECS[row.kind]),
        wanted=row.wanted,
        established=row.established,
    )


def _net_object(row: _NetRow) -> NetObject:
    return NetObject(
        name=row.name,
        kind=row.kind,
        handle=row.handle,
        generation=row.generation,
        spec=msgspec.json.decode(row.spec, type=NET_SPECS[row.kind]),
        wanted=row.wanted,
        established=row.established,
    )


def _attachment_row(record: Attachment) -> _AttachmentRow:
    spec = record.spec
    return _AttachmentRow(
        attachment_id=record.attachment_id,
        generation=record.generation,
        handle=record.handle,
        slot=record.slot,
        wanted=record.wanted,
        force=record.force,
        established=record.established,
        shown_bytes=record.shown_bytes,
        volume_id=spec.volume_id,
        size_bytes=spec.size_bytes,
        target=spec.source if isinstance(spec.source, TargetAddress) else None,
        seed=spec.source if isinstance(spec.source, SeedFile) else None,
        protocol=spec.protocol,
        serial=spec.serial,
        nguid=spec.nguid,
        read_only=spec.read_only,
        boot_order=spec.boot_order,
        qos=spec.qos,
        machine_id=spec.machine_id,
        encryption=spec.encryption,
    )


def _attachment(row: _AttachmentRow) -> Attachment:
    source = row.target or row.seed
    if source is None:
        raise msgspec.ValidationError(f"attachment {row.attachment_id} has no source")
    spec = AttachmentSpec(
        volume_id=row.volume_id,
        size_bytes=row.size_bytes,
        source=source,
        protocol=row.protocol,
        serial=row.serial,
        nguid=row.nguid,
        read_only=row.read_only,
        boot_order=row.boot_order,
        qos=row.qos,
        machine_id=row.machine_id,
        encryption=row.encryption,
    )
    return Attachment(
        attachment_id=row.attachment_id,
        generation=row.generation,
        spec=spec,
        handle=row.handle,
        slot=row.slot,
        wanted=row.wanted,
        force=row.force,
        established=row.established,
        shown_bytes=row.shown_bytes,
    )
