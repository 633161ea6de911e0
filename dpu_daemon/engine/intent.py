"""Intents: what a caller asks for becomes a record with every id that the host will see, or is refused by name."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from dpu_daemon.model.disk import Attachment, AttachmentSpec, DiskProtocol
from dpu_daemon.model.fence import Fence
from dpu_daemon.model.identity import HandleKind, free_function, free_slot, handle_for, nguid_for, serial_for
from dpu_daemon.model.port import Port, PortSpec
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedDisk:
    """An attachment as asked for; empty serial, empty NGUID and no protocol leave the choice to the DPU."""

    attachment_id: str
    generation: int
    spec: AttachmentSpec
    any_protocol: bool = False
    kind: HandleKind = HandleKind.DISK


def refuse_late(fence: Fence, generation: int, what: str) -> None:
    """Raise STALE_GENERATION when the fence refuses."""
    if fence.refuses(generation):
        end = "taken away" if fence.closed else "seen"
        message = f"{what}: generation {fence.generation} was already {end} here, {generation} comes too late"
        raise DpuError(Reason.STALE_GENERATION, message, field="generation", remedy="ask with a higher generation")


class Others:
    """The attachments of a DPU by what only one of them can have.

    Args:
        records: all of them.
    """

    def __init__(self, records: Iterable[Attachment] = ()) -> None:
        self.handles: set[str] = set()
        self.slots: set[int] = set()
        self.by_volume: dict[str, Attachment] = {}
        self.by_serial: dict[str, Attachment] = {}
        self.by_nguid: dict[str, Attachment] = {}
        self.by_boot_order: dict[int, Attachment] = {}
        for record in records:
            self.add(record)

    def __len__(self) -> int:
        return len(self.handles)

    def add(self, record: Attachment) -> None:
        """One more."""
        spec = record.spec
        self.handles.add(record.handle)
        self.slots.add(record.slot)
        self.by_serial[spec.serial] = record
        self.by_nguid[spec.nguid] = record
        if spec.volume_id:
            self.by_volume[spec.volume_id] = record
        if spec.boot_order:
            self.by_boot_order[spec.boot_order] = record


def intended_disk(
    asked: AskedDisk,
    others: Others,
    *,
    slots: int,
    foreign_slots: Collection[int],
    default: DiskProtocol,
    limits: Mapping[str, int] | None = None,
) -> Attachment:
    """The record of a new attachment.

    Args:
        asked: what the caller wants.
        others: every attachment of this DPU.
        slots: how many disk functions the host's bus has.
        foreign_slots: those held by functions that are not ours.
        default: protocol when the caller leaves it open.
        limits: how many disks the block layer can have, by the name of each limit.

    Raises:
        DpuError: ALREADY_EXISTS or IN_USE naming the field that another one has taken, EXHAUSTED naming the limit.
    """
    handle = handle_for(asked.kind, asked.attachment_id, others.handles)
    spec = replace(
        asked.spec,
        serial=asked.spec.serial or serial_for(handle),
        nguid=asked.spec.nguid or nguid_for(asked.attachment_id),
        protocol=default if asked.any_protocol else asked.spec.protocol,
    )
    _refuse_taken(spec, others)
    for name, most in (limits or {}).items():
        if len(others) >= most:
            message = f"this DPU has {len(others)} disks, as many as its {name} allow"
            raise DpuError(Reason.EXHAUSTED, message, field="attachment_id", remedy=f"detach a disk, or raise: {name}")
    taken = others.slots.union(foreign_slots)
    slot = free_slot(slots, taken, boots=spec.boot_order > 0)
    if slot is None:
        message = f"all {slots} disk slots of this DPU's host are taken"
        raise DpuError(Reason.EXHAUSTED, message, field="attachment_id", remedy="detach a disk first")
    return Attachment(
        attachment_id=asked.attachment_id, generation=asked.generation, spec=spec, handle=handle, slot=slot
    )


def _refuse_taken(spec: AttachmentSpec, others: Others) -> None:
    if spec.volume_id in others.by_volume:
        name = others.by_volume[spec.volume_id].attachment_id
        message = f"volume {spec.volume_id} is attached here as {name}"
        raise DpuError(Reason.IN_USE, message, field="spec.volume_id", remedy=f"detach {name} first")
    if spec.serial in others.by_serial:
        raise _taken("spec.serial", f"serial {spec.serial}", others.by_serial[spec.serial])
    if spec.nguid in others.by_nguid:
        raise _taken("spec.nguid", f"NGUID {spec.nguid}", others.by_nguid[spec.nguid])
    if spec.boot_order in others.by_boot_order:
        raise _taken("spec.boot_order", f"boot order {spec.boot_order}", others.by_boot_order[spec.boot_order])


def _taken(field: str, what: str, other: Attachment) -> DpuError:
    """Another disk has it; one that is being taken away gives it back by itself."""
    if other.wanted:
        message = f"{what} is that of {other.attachment_id}"
        return DpuError(Reason.ALREADY_EXISTS, message, field=field, remedy="choose another one")
    message = f"{what} is that of {other.attachment_id}, which is still being taken away"
    return DpuError(Reason.IN_FLIGHT, message, field=field, remedy="repeat the call")


def refuse_other_disk(asked: AskedDisk, record: Attachment) -> None:
    """Raise ALREADY_EXISTS when the same id was given another spec.

    A smaller size is the same spec: volumes only grow, and the call may be older than the last Resize. With a higher
    generation the volume may be reached elsewhere: its storage node cut off the older one.
    """
    want, has = asked.spec, record.spec
    moved = asked.generation > record.generation
    pairs: Iterable[tuple[str, object, object]] = (
        ("volume_id", want.volume_id, has.volume_id),
        ("target", has.source if moved else want.source, has.source),
        ("serial", want.serial or has.serial, has.serial),
        ("nguid", want.nguid or has.nguid, has.nguid),
        ("protocol", has.protocol if asked.any_protocol else want.protocol, has.protocol),
        ("read_only", want.read_only, has.read_only),
        ("boot_order", want.boot_order, has.boot_order),
        ("machine_id", want.machine_id, has.machine_id),
        ("encryption", want.encryption, has.encryption),
        ("size_bytes", max(want.size_bytes, has.size_bytes), has.size_bytes),
        ("qos", want.qos, has.qos),
    )
    remedies = {"size_bytes": "use Resize", "qos": "use SetQos"}
    for name, wants, hasnt in pairs:
        if wants != hasnt:
            message = f"attachment {asked.attachment_id} exists with {name} {hasnt}"
            remedy = remedies.get(name, "detach it first, or use an id of its own")
            raise DpuError(Reason.ALREADY_EXISTS, message, field=f"spec.{name}", remedy=remedy)


def intended_port(
    port_id: str,
    generation: int,
    spec: PortSpec,
    others: Collection[Port],
    functions: int,
    foreign: Collection[int],
    *,
    representor: Callable[[int], str],
) -> Port:
    """The record of a new port.

    Args:
        port_id: of the port.
        generation: of the port.
        spec: what the caller wants.
        others: every port of this DPU.
        functions: how many virtual functions there are.
        foreign: those that somebody else has.
        representor: netdev that stands for a function.

    Raises:
        DpuError: ALREADY_EXISTS naming the port with the same MAC, EXHAUSTED naming the limit.
    """
    for other in others:
        if other.spec.mac == spec.mac:
            message = f"MAC {spec.mac} is that of port {other.port_id}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="spec.mac", remedy="give the port a MAC of its own")
    vf = free_function(functions, {other.vf for other in others} | set(foreign))
    if vf is None:
        message = f"all {functions} virtual functions of this DPU are taken"
        raise DpuError(Reason.EXHAUSTED, message, field="port_id", remedy="unplug a port first")
    return Port(port_id=port_id, generation=generation, spec=spec, vf=vf, representor=representor(vf))


def refuse_other_port(port_id: str, spec: PortSpec, record: Port) -> None:
    """Raise ALREADY_EXISTS when the same id was given another spec."""
    for name in ("mac", "addresses", "network_id", "vlan", "mtu", "bridge", "machine_id"):
        if getattr(spec, name) != getattr(record.spec, name):
            message = f"port {port_id} exists with {name} {getattr(record.spec, name)}"
            remedy = "unplug it first, or use an id of its own"
            raise DpuError(Reason.ALREADY_EXISTS, message, field=f"spec.{name}", remedy=remedy)
