"""Who stands on whom among OPI objects: references, their block devices, and who would fall with an object."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dpu_daemon.model.opi import (
    NO_LIMITS,
    REMOTE_NAMESPACES,
    EncryptedVolume,
    Limits,
    Namespace,
    OpiKind,
    OpiObject,
    QosVolume,
    RemotePath,
    VirtioBlk,
)

Objects = Mapping[str, OpiObject]
"""By resource name."""

VOLUME_KINDS = frozenset({OpiKind.NULL_VOLUME, OpiKind.MALLOC_VOLUME, OpiKind.AIO_VOLUME, OpiKind.ENCRYPTED_VOLUME})


@dataclass(frozen=True, slots=True)
class Ground:
    """What a volume reference comes down to: the object that makes the block device, and the device's name."""

    maker: OpiObject
    bdev: str


def volume_of(thing: OpiObject) -> str:
    """The volume that an object refers to; empty for none."""
    match thing.spec:
        case (
            EncryptedVolume(volume_name_ref=name)
            | QosVolume(volume_name_ref=name)
            | Namespace(volume_name_ref=name)
            | VirtioBlk(volume_name_ref=name)
        ):
            return name
        case _:
            return ""


def remote_nsid(member: str) -> int:
    """The namespace id in the last part of a remote namespace's name, such as ``n1``; 0 when it is none."""
    digits = member.removeprefix("n")
    return int(digits) if member.startswith("n") and digits.isdecimal() and digits == str(int(digits)) else 0


def ground_of(reference: str, objects: Objects) -> Ground | None:
    """The block device behind a reference; None when nothing of that name makes one."""
    head, _, member = reference.rpartition("/")
    controller, _, collection = head.rpartition("/")
    if collection == REMOTE_NAMESPACES:
        maker = objects.get(controller)
        nsid = remote_nsid(member)
        return Ground(maker, f"{maker.handle}n{nsid}") if maker is not None and nsid else None
    maker = objects.get(reference)
    if maker is None:
        return None
    if isinstance(maker.spec, QosVolume):
        return ground_of(maker.spec.volume_name_ref, objects)
    return Ground(maker, maker.handle) if maker.kind in VOLUME_KINDS else None


def bdev_of(thing: OpiObject, objects: Objects) -> str:
    """Name of the block device that an object stands on; empty when there is none."""
    ground = ground_of(volume_of(thing), objects)
    return ground.bdev if ground else ""


def limits_by_bdev(objects: Objects) -> dict[str, Limits]:
    """What the wanted objects say about the limits of block devices; at most one of them speaks about each."""
    found: dict[str, Limits] = {}
    for thing in objects.values():
        match thing.spec:
            case QosVolume(limits=limits) if thing.wanted:
                found[bdev_of(thing, objects)] = limits
            case VirtioBlk(max_limit=limits) if thing.wanted and limits != NO_LIMITS:
                found[bdev_of(thing, objects)] = limits
            case _:
                continue
    return found


def referrers(thing: OpiObject, objects: Objects) -> Iterator[OpiObject]:
    """Objects that need this one, also those that are being taken away."""
    prefix = ""
    if thing.kind is OpiKind.REMOTE_CONTROLLER:
        prefix = f"{thing.name}/{REMOTE_NAMESPACES}/"
    elif _is_last_path(thing, objects):
        prefix = f"{thing.parent}/{REMOTE_NAMESPACES}/"
    for other in objects.values():
        reference = volume_of(other)
        if thing.name in {other.parent, reference} or (prefix and reference.startswith(prefix)):
            yield other


def _is_last_path(thing: OpiObject, objects: Objects) -> bool:
    if not isinstance(thing.spec, RemotePath):
        return False
    return not any(
        other.parent == thing.parent and other.wanted and other.name != thing.name and other.kind is OpiKind.PATH
        for other in objects.values()
    )
