"""What a new volume starts from."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from coordinator.core.csi.names import check_text
from coordinator.core.objects.meta import Json
from coordinator.core.objects.storage import Image, Snapshot, Volume
from proto.errors import DpuError
from proto.reasons import Reason


class SourceKind(Enum):
    """Kinds of sources by the field of a Volume that names them."""

    NONE = ""
    IMAGE = "imageRef"
    SNAPSHOT = "snapshotRef"
    VOLUME = "volumeRef"


_FIELDS = {
    SourceKind.IMAGE: "parameters[image]",
    SourceKind.SNAPSHOT: "volume_content_source.snapshot.snapshot_id",
    SourceKind.VOLUME: "volume_content_source.volume.volume_id",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A source by kind and name; the name is empty for a blank disk."""

    kind: SourceKind = SourceKind.NONE
    name: str = ""

    def json(self) -> Json:
        """``spec.source`` of a Volume."""
        return {self.kind.value: {"name": self.name}} if self.kind is not SourceKind.NONE else {}

    @property
    def field(self) -> str:
        """Where a request names it."""
        return _FIELDS[self.kind]


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a source that is there: its size, and the backend that has it."""

    size_bytes: int = 0
    backend: str = ""


def choose_source(content: Source, image: str) -> Source:
    """The one source that a request names: its content source, or the image of its class.

    Raises:
        DpuError: INVALID; both are named, or the content source has no id.
    """
    if content.kind is SourceKind.NONE:
        return Source(SourceKind.IMAGE, image) if image else content
    check_text(content.name, content.field)
    if image:
        raise DpuError(
            Reason.INVALID,
            "a volume starts from an image or from a content source, not from both",
            field=content.field,
            remedy="leave the image out of the class",
        )
    return content


def origin_of(source: Source, find: Callable[[Source], Image | Snapshot | Volume | None]) -> Origin:
    """What a source is.

    Raises:
        DpuError: NOT_FOUND; it is not there, or on its way out. CONFLICT; it is not ready yet.
    """
    if source.kind is SourceKind.NONE:
        return Origin()
    found = find(source)
    if found is None or (found.metadata.deleting and not isinstance(found, Image)):
        remedy = "name one that exists"
        raise DpuError(Reason.NOT_FOUND, f"there is no {source.name}", field=source.field, remedy=remedy)
    backend = found.status.backend if isinstance(found, Snapshot) else found.spec.backend
    if not found.status.size_bytes:
        raise DpuError(Reason.CONFLICT, f"{source.name} is not ready yet", field=source.field, remedy="repeat the call")
    return Origin(size_bytes=found.status.size_bytes, backend=backend)
