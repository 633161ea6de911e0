"""What a volume is made from: which object its spec names, and whether that can be cloned now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from coordinator.core.objects.storage import (
    Image,
    ImagePhase,
    Snapshot,
    SnapshotPhase,
    Volume,
    VolumePhase,
)
from coordinator.core.storage.size import MIB, spell_size
from proto.errors import DpuError
from proto.reasons import Reason


class SourceKind(Enum):
    """What a volume can be cloned from."""

    IMAGE = "image"
    SNAPSHOT = "snapshot"
    VOLUME = "volume"


FIELD = {SourceKind.IMAGE: "imageRef", SourceKind.SNAPSHOT: "snapshotRef", SourceKind.VOLUME: "volumeRef"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A clone's source; `handle` is its id at the backend."""

    kind: SourceKind
    handle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """The objects that sources name, by name; those of the volume's own namespace, and the images."""

    images: Mapping[str, Image] = field(default_factory=dict)
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    volumes: Mapping[str, Volume] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A source that can be cloned; or, with an empty handle, one to wait for. `why` says what it is, or why to wait."""

    why: str
    source: Source | None = None


def named_source(volume: Volume) -> tuple[SourceKind, str] | None:
    """Kind and name of what the spec says; None for a blank disk.

    Raises:
        DpuError: INVALID; it names more than one.
    """
    wanted = volume.spec.source
    refs = (
        (SourceKind.IMAGE, wanted.image_ref),
        (SourceKind.SNAPSHOT, wanted.snapshot_ref),
        (SourceKind.VOLUME, wanted.volume_ref),
    )
    given = [(kind, ref.name) for kind, ref in refs if ref is not None]
    if len(given) > 1:
        names = " and ".join(FIELD[kind] for kind, _ in given)
        raise DpuError(
            Reason.INVALID, f"a volume has one source, not {names}", field="spec.source", remedy="leave one of them"
        )
    return given[0] if given else None


def find_source(volume: Volume, size_bytes: int, origins: Origins) -> Found | None:
    """What to clone a volume of `size_bytes` from; None for a blank disk.

    Raises:
        DpuError: it cannot be made from what it names; tells the field and the remedy.
    """
    named = named_source(volume)
    if named is None:
        return None
    kind, name = named
    match kind:
        case SourceKind.IMAGE:
            return _image(volume, size_bytes, name, origins.images.get(name))
        case SourceKind.SNAPSHOT:
            return _snapshot(volume, size_bytes, name, origins)
        case SourceKind.VOLUME:
            return _volume(volume, size_bytes, name, origins)


def _image(volume: Volume, size_bytes: int, name: str, image: Image | None) -> Found:
    if image is None:
        raise _missing(SourceKind.IMAGE, name)
    if image.status.phase is ImagePhase.FAILED:
        raise _unusable(SourceKind.IMAGE, name)
    if image.status.phase is not ImagePhase.READY:
        return Found(why=f"image {name} is not ready yet")
    _same_backend(volume, SourceKind.IMAGE, name, image.spec.backend)
    _large_enough(size_bytes, SourceKind.IMAGE, name, image.status.size_bytes)
    return _clone(SourceKind.IMAGE, name, image.metadata.uid, size_bytes)


def _snapshot(volume: Volume, size_bytes: int, name: str, origins: Origins) -> Found:
    snapshot = origins.snapshots.get(name)
    if snapshot is None:
        raise _missing(SourceKind.SNAPSHOT, name)
    if snapshot.metadata.deleting:
        raise _leaving(SourceKind.SNAPSHOT, name)
    if snapshot.status.phase is SnapshotPhase.FAILED:
        raise _unusable(SourceKind.SNAPSHOT, name)
    if not snapshot.cut or not snapshot.status.ready_to_use:
        _refuse_circle(volume, origins)
        return Found(why=f"snapshot {name} is not ready yet")
    _same_backend(volume, SourceKind.SNAPSHOT, name, snapshot.status.backend)
    _same_key(volume, SourceKind.SNAPSHOT, name, snapshot.status.encryption_secret)
    _large_enough(size_bytes, SourceKind.SNAPSHOT, name, snapshot.status.size_bytes)
    return _clone(SourceKind.SNAPSHOT, name, snapshot.status.handle, size_bytes)


def _volume(volume: Volume, size_bytes: int, name: str, origins: Origins) -> Found:
    origin = origins.volumes.get(name)
    if origin is None:
        raise _missing(SourceKind.VOLUME, name)
    if name != volume.metadata.name and origin.metadata.deleting and not origin.usable:
        raise _leaving(SourceKind.VOLUME, name)
    if not origin.usable:
        _refuse_circle(volume, origins)
        if origin.status.phase is VolumePhase.FAILED:
            raise _unusable(SourceKind.VOLUME, name)
        return Found(why=f"volume {name} is not there yet")
    _same_backend(volume, SourceKind.VOLUME, name, origin.spec.backend)
    _same_key(volume, SourceKind.VOLUME, name, origin.spec.secret)
    _large_enough(size_bytes, SourceKind.VOLUME, name, origin.status.size_bytes)
    return _clone(SourceKind.VOLUME, name, origin.status.handle, size_bytes)


def _refuse_circle(volume: Volume, origins: Origins) -> None:
    """Follow the sources of what is not there yet: whoever comes back to the volume would wait for itself.

    Raises:
        DpuError: INVALID.
    """
    path: list[str] = []
    at: Volume | None = volume
    while at is not None and not at.usable and at.metadata.name not in path:
        path.append(at.metadata.name)
        at = origins.volumes.get(_upstream(at, origins))
    if at is not None and at.metadata.name in path:
        way = " -> ".join([*path, at.metadata.name])
        raise DpuError(
            Reason.INVALID,
            f"each of these volumes waits for the next: {way}",
            field="spec.source",
            remedy="delete one of them and create it from something that exists",
        )


def _upstream(volume: Volume, origins: Origins) -> str:
    """Name of the volume that the source of another one comes from; empty when it comes from none."""
    source = volume.spec.source
    if source.volume_ref is not None:
        return source.volume_ref.name
    snapshot = origins.snapshots.get(source.snapshot_ref.name) if source.snapshot_ref else None
    return snapshot.spec.volume_ref.name if snapshot is not None and not snapshot.cut else ""


def _clone(kind: SourceKind, name: str, handle: str, size_bytes: int) -> Found:
    why = f"copy-on-write clone of {kind.value} {name}, {spell_size(size_bytes)}"
    return Found(why=why, source=Source(kind=kind, handle=handle))


def _path(kind: SourceKind) -> str:
    return f"spec.source.{FIELD[kind]}.name"


def _missing(kind: SourceKind, name: str) -> DpuError:
    word = kind.value
    remedy = f"create the {word.capitalize()}, or name one that `kubectl get {word}s` shows"
    return DpuError(Reason.NOT_FOUND, f"{word} {name} does not exist", field=_path(kind), remedy=remedy)


def _unusable(kind: SourceKind, name: str) -> DpuError:
    remedy = f"`kubectl describe {kind.value} {name}` says why"
    return DpuError(Reason.WRONG_STATE, f"{kind.value} {name} cannot be used", field=_path(kind), remedy=remedy)


def _leaving(kind: SourceKind, name: str) -> DpuError:
    return DpuError(
        Reason.WRONG_STATE,
        f"{kind.value} {name} is being deleted",
        field=_path(kind),
        remedy=f"delete this volume, or name another {kind.value}",
    )


def _same_backend(volume: Volume, kind: SourceKind, name: str, backend: str) -> None:
    if backend != volume.spec.backend:
        raise DpuError(
            Reason.INVALID,
            f"{kind.value} {name} is at backend {backend}, the volume at {volume.spec.backend}",
            field="spec.backend",
            remedy=f"write {backend}",
        )


def _same_key(volume: Volume, kind: SourceKind, name: str, secret: str) -> None:
    """A clone has the cipher text of its source, which no other key reads."""
    if secret == volume.spec.secret:
        return
    remedy = f"write spec.encryption.secretRef.name: {secret}" if secret else "leave spec.encryption out"
    words = f"encrypted with Secret {secret}" if secret else "not encrypted"
    raise DpuError(
        Reason.INVALID,
        f"{kind.value} {name} is {words}, and a clone reads the same bytes",
        field="spec.encryption.secretRef.name",
        remedy=remedy,
    )


def _large_enough(size_bytes: int, kind: SourceKind, name: str, source_bytes: int) -> None:
    least = -(-source_bytes // MIB) * MIB
    if size_bytes < least:
        raise DpuError(
            Reason.INVALID,
            f"{spell_size(size_bytes)} is smaller than {kind.value} {name}, which has {spell_size(least)}",
            field="spec.size",
            remedy=f"write at least {spell_size(least)}",
        )
