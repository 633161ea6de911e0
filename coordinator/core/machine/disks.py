"""A machine's disks: the volumes and attachments that it should have, and how they stand."""

from collections.abc import Iterator
from dataclasses import dataclass

from coordinator.core.machine.names import LABEL, ROOT, UID_LABEL, count, is_label, owned_name
from coordinator.core.machine.seen import Amend, Area, Change, Create, Delete, Seen
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import API_VERSION, Json, Metadata
from coordinator.core.objects.storage import (
    Attachment,
    AttachmentPhase,
    DeletionPolicy,
    DiskProtocol,
    Image,
    Qos,
    Volume,
)
from coordinator.core.storage.size import parse_size, root_size, spell_size
from proto.errors import DpuError
from proto.reasons import Reason

UNLIMITED = Qos()


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDisk:
    """A disk as the spec asks for it.

    Attributes:
        field: where in the spec.
        size_bytes: of the machine's own volume; 0 for a volume that exists by itself.
    """

    name: str
    field: str
    volume: str
    size_bytes: int
    image: str = ""
    backend: str = ""
    policy: DeletionPolicy = DeletionPolicy.DELETE
    protocol: DiskProtocol | None = None
    read_only: bool = False
    boot_order: int = 0
    qos: Qos = UNLIMITED

    @property
    def owned(self) -> bool:
        """Whether its volume lives and dies with the machine."""
        return self.size_bytes > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the system disk stands on: its image, or itself once it is made.

    Attributes:
        least_bytes: of the image; a disk that is made keeps its size when the spec gives none.
    """

    backend: str
    least_bytes: int


def origin_of(image: Image) -> Origin:
    """The origin that an image is."""
    return Origin(backend=image.spec.backend, least_bytes=image.status.size_bytes)


def made_origin(machine: Machine, volume: Volume | None) -> Origin | None:
    """The origin that the system disk is to itself; None before it is made."""
    if volume is None or not volume.usable or not is_own(machine, volume.metadata):
        return None
    given = machine.spec.root_disk.size != ""
    return Origin(backend=volume.spec.backend, least_bytes=0 if given else volume.status.size_bytes)


def wanted_disks(machine: Machine, origin: Origin) -> list[WantedDisk]:
    """The disks of a machine, the system disk first.

    Raises:
        DpuError: INVALID; a disk cannot be as asked for; names the field.
    """
    spec = machine.spec.root_disk
    root = WantedDisk(
        name=ROOT,
        field="spec.rootDisk",
        volume=owned_name(machine, ROOT),
        size_bytes=root_size(spec.size, origin.least_bytes, machine.spec.image),
        image=machine.spec.image,
        backend=origin.backend,
        policy=spec.deletion_policy,
        protocol=spec.protocol,
        boot_order=1,
        qos=spec.qos,
    )
    return [root, *_data_disks(machine, origin)]


def _data_disks(machine: Machine, origin: Origin) -> Iterator[WantedDisk]:
    for index, disk in enumerate(machine.spec.disks):
        field = f"spec.disks[{index}]"
        if disk.name == ROOT:
            raise DpuError(
                Reason.INVALID, f"{ROOT} is the system disk", field=f"{field}.name", remedy="choose another name"
            )
        if (disk.volume_ref is None) == (disk.size == ""):
            raise DpuError(
                Reason.INVALID,
                f"disk {disk.name} needs either size or volumeRef",
                field=field,
                remedy="write size for a new volume, volumeRef for an existing one",
            )
        yield WantedDisk(
            name=disk.name,
            field=field,
            volume=disk.volume_ref.name if disk.volume_ref else owned_name(machine, disk.name),
            size_bytes=0 if disk.volume_ref else parse_size(disk.size, f"{field}.size"),
            backend=origin.backend,
            protocol=disk.protocol,
            read_only=disk.read_only,
            qos=disk.qos,
        )


def clone_area(seen: Seen, disks: list[WantedDisk]) -> Area:
    """How the volumes stand: each one created, grown when asked for."""
    changes: list[Change] = []
    waiting: list[str] = []
    for disk in disks:
        volume = seen.volumes.get(disk.volume)
        if volume is None:
            if not disk.owned:
                return Area(ready=False, says="", changes=tuple(changes), problem=_no_volume(disk))
            changes.append(Create(kind=Kind.VOLUME, body=_volume_body(seen.machine, disk)))
            waiting.append(disk.volume)
            continue
        if disk.owned:
            if not is_own(seen.machine, volume.metadata):
                return Area(ready=False, says="", changes=tuple(changes), problem=_not_ours(disk))
            changes += _growth(disk, volume)
        if not volume.usable:
            problem = _trouble(volume, disk)
            if problem:
                return Area(ready=False, says="", changes=tuple(changes), problem=problem)
            waiting.append(disk.volume)
    if waiting:
        return Area(ready=False, says=f"volume {', '.join(waiting)} is being made", changes=tuple(changes))
    return Area(ready=True, says=f"{count(len(disks), 'volume')} made", changes=tuple(changes))


def attach_area(seen: Seen, disks: list[WantedDisk]) -> Area:
    """How the attachments stand: one for each disk, none for a disk that is no longer wanted."""
    changes: list[Change] = []
    waiting: list[str] = []
    problem: DpuError | None = None
    wanted = {owned_name(seen.machine, disk.name): disk for disk in disks}
    for name, disk in wanted.items():
        attachment = seen.attachments.get(name)
        if attachment is None:
            if disk.volume in seen.volumes or disk.owned:
                changes.append(Create(kind=Kind.ATTACHMENT, body=_attachment_body(seen, disk)))
            waiting.append(disk.name)
        elif attachment.metadata.deleting or not is_own(seen.machine, attachment.metadata):
            waiting.append(disk.name)
        else:
            changes += _correction(disk, attachment)
            if not attachment.ready:
                waiting.append(disk.name)
                problem = problem or _refused(attachment, disk)
    leaving = [
        name for name, one in seen.attachments.items() if name not in wanted and is_own(seen.machine, one.metadata)
    ]
    changes += [Delete(kind=Kind.ATTACHMENT, name=n) for n in leaving if not seen.attachments[n].metadata.deleting]
    changes += _unwanted_volumes(seen, disks)
    if waiting:
        says = f"disk {', '.join(waiting)} is being attached"
        return Area(ready=False, says=says, changes=tuple(changes), problem=problem)
    return Area(ready=True, says=f"{count(len(disks), 'disk')} attached", changes=tuple(changes))


def is_own(machine: Machine, meta: Metadata) -> bool:
    """Whether an object was made for this very machine."""
    return meta.labels.get(UID_LABEL) == machine.metadata.uid


def _unwanted_volumes(seen: Seen, disks: list[WantedDisk]) -> Iterator[Change]:
    """Own volumes of disks that left the spec go after their attachments."""
    wanted = {disk.volume for disk in disks}
    used = {attachment.spec.volume_ref.name for attachment in seen.attachments.values()}
    for name, volume in seen.volumes.items():
        gone = name not in wanted and name not in used and is_own(seen.machine, volume.metadata)
        if gone and not volume.metadata.deleting and volume.spec.deletion_policy is not DeletionPolicy.RETAIN:
            yield Delete(kind=Kind.VOLUME, name=name)


def _growth(disk: WantedDisk, volume: Volume) -> Iterator[Change]:
    have = parse_size(volume.spec.size, "spec.size")
    if disk.size_bytes > have:
        yield Amend(kind=Kind.VOLUME, name=disk.volume, body={"spec": {"size": spell_size(disk.size_bytes)}})
    elif disk.size_bytes < have:
        raise DpuError(
            Reason.INVALID,
            f"a disk cannot shrink: {spell_size(disk.size_bytes)} is less than the {spell_size(have)} that it has",
            field=f"{disk.field}.size",
            remedy=f"write at least {spell_size(have)}",
        )


def _correction(disk: WantedDisk, attachment: Attachment) -> Iterator[Change]:
    if attachment.spec.qos != disk.qos:
        limits = dict.fromkeys(attachment.spec.qos.json()) | disk.qos.json()
        yield Amend(kind=Kind.ATTACHMENT, name=attachment.metadata.name, body={"spec": {"qos": limits}})


def _volume_body(machine: Machine, disk: WantedDisk) -> Json:
    spec: Json = {"size": spell_size(disk.size_bytes).removesuffix(" bytes"), "deletionPolicy": disk.policy.value}
    spec["backend"] = disk.backend
    if disk.image:
        spec["source"] = {"imageRef": {"name": disk.image}}
    kept = disk.policy is DeletionPolicy.RETAIN
    metadata = _metadata(machine, disk.volume, finalizer="dpupool.io/volume", owned=not kept)
    return {"apiVersion": API_VERSION, "kind": Kind.VOLUME.value, "metadata": metadata, "spec": spec}


def _attachment_body(seen: Seen, disk: WantedDisk) -> Json:
    machine = seen.machine
    spec: Json = {
        "volumeRef": {"name": disk.volume},
        "hostRef": {"name": seen.host.metadata.name if seen.host else ""},
        "readOnly": disk.read_only,
        "bootOrder": disk.boot_order,
        "machineRef": {"name": machine.metadata.name, "uid": machine.metadata.uid},
    }
    if disk.protocol:
        spec["protocol"] = disk.protocol.value
    if limits := disk.qos.json():
        spec["qos"] = limits
    name = owned_name(machine, disk.name)
    metadata = _metadata(machine, name, finalizer="dpupool.io/attachment", owned=True)
    return {"apiVersion": API_VERSION, "kind": Kind.ATTACHMENT.value, "metadata": metadata, "spec": spec}


def _metadata(machine: Machine, name: str, *, finalizer: str, owned: bool) -> Json:
    labels = {UID_LABEL: machine.metadata.uid}
    if is_label(machine.metadata.name):
        labels[LABEL] = machine.metadata.name
    metadata: Json = {
        "name": name,
        "namespace": machine.metadata.namespace,
        "labels": labels,
        "finalizers": [finalizer],
    }
    if owned:
        metadata["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": Kind.MACHINE.value,
                "name": machine.metadata.name,
                "uid": machine.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return metadata


def _no_volume(disk: WantedDisk) -> DpuError:
    return DpuError(
        Reason.NOT_FOUND,
        f"volume {disk.volume} does not exist in the machine's namespace",
        field=f"{disk.field}.volumeRef.name",
        remedy="create the Volume, or name one that `kubectl get volumes` shows",
    )


def _not_ours(disk: WantedDisk) -> DpuError:
    return DpuError(
        Reason.ALREADY_EXISTS,
        f"volume {disk.volume} exists and was not made for this machine",
        field=disk.field,
        remedy=f"delete volume {disk.volume}, or give the machine or the disk another name",
    )


def _trouble(volume: Volume, disk: WantedDisk) -> DpuError | None:
    """The complaint of a volume that cannot be made."""
    from_status = [entry for entry in volume.status.conditions if entry.type == "Ready" and entry.status == "False"]
    if volume.status.phase.value != "Failed" or not from_status:
        return None
    return DpuError(
        Reason.WRONG_STATE,
        f"volume {volume.metadata.name}: {from_status[0].message}",
        field=disk.field,
        remedy=f"`kubectl describe volume {volume.metadata.name}` says more",
    )


def _refused(attachment: Attachment, disk: WantedDisk) -> DpuError | None:
    """The complaint of an attachment; one that may pass by itself can be tried again."""
    complaint = next((e for e in attachment.status.conditions if e.type == "Ready" and e.status == "False"), None)
    if complaint is None or not complaint.message:
        return None
    final = attachment.status.phase is AttachmentPhase.FAILED
    return DpuError(
        Reason.WRONG_STATE,
        f"disk {disk.name}: {complaint.message}",
        field=disk.field,
        remedy=f"`kubectl describe volumeattachment {attachment.metadata.name}` says more",
        retry=not final,
    )
