"""Names that a storage node gives in SPDK; whatever is called otherwise is somebody else's and is left alone.

Volume ``H`` is lvol ``H``; its snapshot number N is lvol ``H.N``; its export for generation G is the subsystem
``EXPORT_PREFIX + H-gG``, with ``-ro`` behind it when it is only to be read.
"""

import re
import uuid
from dataclasses import dataclass

EXPORT_PREFIX = "nqn.2025-01.io.dpupool:volume:"
STORE_BDEV = "dpupool.store"
MODEL = "dpupool volume"
NSID = 1

_HANDLE = r"[A-Za-z][A-Za-z0-9_-]{0,19}"
_LVOL = re.compile(rf"({_HANDLE})(\.[1-9][0-9]*)?")
_EXPORT = re.compile(rf"({_HANDLE})-g([0-9]+)(-ro)?")
_NAMESPACE = uuid.UUID("0b9fb1d2-54c3-4c1b-8a83-0d3c1d6a7a55")


@dataclass(frozen=True, slots=True)
class ExportName:
    """What a subsystem's name says."""

    handle: str
    generation: int
    read_only: bool

    @property
    def nqn(self) -> str:
        return f"{EXPORT_PREFIX}{self.handle}-g{self.generation}" + ("-ro" if self.read_only else "")


def export_of(nqn: str) -> ExportName | None:
    """None for a subsystem that is not ours."""
    found = _EXPORT.fullmatch(nqn.removeprefix(EXPORT_PREFIX)) if nqn.startswith(EXPORT_PREFIX) else None
    return ExportName(found[1], int(found[2]), found[3] is not None) if found else None


def is_volume(lvol: str) -> bool:
    """Whether an lvol is called like a volume of ours."""
    return _LVOL.fullmatch(lvol) is not None and "." not in lvol


def is_snapshot(lvol: str) -> bool:
    """Whether an lvol is called like a snapshot of ours."""
    return _LVOL.fullmatch(lvol) is not None and "." in lvol


def image_uuid(image_id: str) -> str:
    """UUID of an image's bdev: clones find what they stand on by it, so it is the same for ever."""
    return str(uuid.uuid5(_NAMESPACE, image_id))


def volume_uuid(handle: str) -> str:
    """UUID of a volume's namespace: the same for every generation."""
    return str(uuid.uuid5(_NAMESPACE, f"volume/{handle}"))


def nguid_of(handle: str) -> str:
    """NGUID of a volume's namespace: the same for every generation."""
    return uuid.UUID(volume_uuid(handle)).hex.upper()
