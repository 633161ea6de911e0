"""How a volume is to be used: access modes and types, which of them there are, and which go together."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from proto.errors import DpuError
from proto.reasons import Reason


class AccessMode(Enum):
    """Access modes by their names in CSI."""

    UNKNOWN = "UNKNOWN"
    SINGLE_NODE_WRITER = "SINGLE_NODE_WRITER"
    SINGLE_NODE_READER_ONLY = "SINGLE_NODE_READER_ONLY"
    MULTI_NODE_READER_ONLY = "MULTI_NODE_READER_ONLY"
    MULTI_NODE_SINGLE_WRITER = "MULTI_NODE_SINGLE_WRITER"
    MULTI_NODE_MULTI_WRITER = "MULTI_NODE_MULTI_WRITER"
    SINGLE_NODE_SINGLE_WRITER = "SINGLE_NODE_SINGLE_WRITER"
    SINGLE_NODE_MULTI_WRITER = "SINGLE_NODE_MULTI_WRITER"


class AccessType(Enum):
    """What a pod sees."""

    NONE = "none"
    BLOCK = "block"
    MOUNT = "mount"


SUPPORTED = frozenset(
    {
        AccessMode.SINGLE_NODE_WRITER,
        AccessMode.SINGLE_NODE_READER_ONLY,
        AccessMode.MULTI_NODE_READER_ONLY,
        AccessMode.SINGLE_NODE_SINGLE_WRITER,
        AccessMode.SINGLE_NODE_MULTI_WRITER,
    }
)
READERS = frozenset({AccessMode.SINGLE_NODE_READER_ONLY, AccessMode.MULTI_NODE_READER_ONLY})
FILE_SYSTEMS = ("ext4", "xfs")
FIELD = "volume_capability"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One way to use a volume. `fs_type` is empty for whatever the node likes."""

    mode: AccessMode
    type: AccessType
    fs_type: str = ""

    @property
    def reads_only(self) -> bool:
        """Whether nobody may write."""
        return self.mode in READERS

    @property
    def shared(self) -> bool:
        """Whether several nodes may have the volume at a time."""
        return self.mode is AccessMode.MULTI_NODE_READER_ONLY

    def check(self, field: str = FIELD) -> None:
        """Refuse a way in which no volume can be used.

        Raises:
            DpuError: INVALID; names what is wrong and what there is instead.
        """
        if self.type is AccessType.NONE:
            raise DpuError(
                Reason.INVALID, "neither block nor mount is given", field=f"{field}.access_type", remedy="give one"
            )
        if self.mode not in SUPPORTED:
            raise DpuError(
                Reason.INVALID,
                f"access mode {self.mode.value} is not supported: a disk has one writer",
                field=f"{field}.access_mode",
                remedy=f"use one of {', '.join(sorted(mode.value for mode in SUPPORTED))}",
            )
        if self.fs_type.lower() not in {"", *FILE_SYSTEMS}:
            raise DpuError(
                Reason.INVALID,
                f"file system {self.fs_type!r} is not supported",
                field=f"{field}.mount.fs_type",
                remedy=f"use {' or '.join(FILE_SYSTEMS)}",
            )


def check_capabilities(asked: Sequence[Capability]) -> None:
    """Refuse a list that is empty or has a way in which no volume can be used.

    Raises:
        DpuError: INVALID.
    """
    field = "volume_capabilities"
    if not asked:
        raise DpuError(Reason.INVALID, f"{field} is missing", field=field, remedy="give at least one")
    for index, capability in enumerate(asked):
        capability.check(f"{field}[{index}]")


def spell_use(capability: Capability, *, read_only: bool) -> str:
    """How a volume is published, as it is remembered to be compared with a repeat."""
    return f"{capability.mode.value} {capability.type.value} {'ro' if read_only else 'rw'}"
