"""The headers of our own qcow2 files: how large the disk is, and what it stands on.

Source: docs/interop/qcow2.txt of QEMU. What a guest writes never reaches a header.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

QCOW2_MAGIC = b"QFI\xfb"
FIXED_BYTES = 104
LONGEST_NAME_BYTES = 1023


@dataclass(frozen=True, slots=True)
class Header:
    """Size in bytes, and the path of the backing file; empty for none."""

    size_bytes: int
    backing: str


NO_HEADER = Header(0, "")


def read_header(path: Path) -> Header:
    """The header of a file; of size 0 for one that cannot be read as qcow2."""
    try:
        with path.open("rb") as file:
            fixed = file.read(FIXED_BYTES)
            if len(fixed) < 32 or not fixed.startswith(QCOW2_MAGIC):
                return NO_HEADER
            offset, length, _, size_bytes = struct.unpack_from(">QIIQ", fixed, 8)
            if not offset or length > LONGEST_NAME_BYTES:
                return Header(size_bytes, "")
            file.seek(offset)
            return Header(size_bytes, file.read(length).decode(errors="replace"))
    except OSError:
        return NO_HEADER
