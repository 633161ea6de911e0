"""The disks that a machine's spec asks for, and the objects that give them to it."""

from collections.abc import Iterator
from dataclasses import dataclass

from coordinator.core.machine.names import LABEL, ROOT, UID_LABEL, is_label, owned_name
from coordinator.core.objects.kinds import Kind
from coordinator.core.objects.machine import Machine
from coordinator.core.objects.meta import API_VERSION, Json, Metadata
from coordinator.core.objects.storage import DeletionPolicy, DiskProtocol, Image, Qos, Volume
from coordinator.core.storage.size import parse_size, root_size, spell_size
from proto.errors import DpuError
from proto.reasons import Reason

UNLIMITED = Qos()

ASKED_SIZE = "dpupool.io/asked-size"
"""Annotation of a volume: the size that its machine's spec asked for last; somebody else may make it larger."""


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


def is_own(machine: Machine, meta: Metadata) -> bool:
    """Whether an object was made for this very machine."""
    return meta.labels.get(UID_LABEL) == machine.metadata.uid


def volume_body(machine: Machine, disk: WantedDisk) -> Json:
    """The Volume of a disk."""
    asked = asked_size(disk.size_bytes)
    spec: Json = asked["spec"] | {"deletionPolicy": disk.policy.value, "backend": disk.backend}
    if disk.image:
        spec["source"] = {"imageRef": {"name": disk.image}}
    kept = disk.policy is DeletionPolicy.RETAIN
    metadata = _metadata(machine, disk.volume, finalizer="dpupool.io/volume", owned=not kept)
    metadata |= asked["metadata"]
    return {"apiVersion": API_VERSION, "kind": Kind.VOLUME.value, "metadata": metadata, "spec": spec}


def asked_size(size_bytes: int) -> Json:
    """The part of a Volume that carries its size, and that it was the machine that asked for it."""
    size = spell_size(size_bytes).removesuffix(" bytes")
    return {"metadata": {"annotations": {ASKED_SIZE: size}}, "spec": {"size": size}}


def attachment_body(machine: Machine, host: str, disk: WantedDisk) -> Json:
    """The VolumeAttachment of a disk."""
    spec: Json = {
        "volumeRef": {"name": disk.volume},
        "hostRef": {"name": host},
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
