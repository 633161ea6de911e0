"""Sizes of disks: exact bytes from Kubernetes quantities."""

import re
from fractions import Fraction

from proto.errors import DpuError
from proto.reasons import Reason

MIB = 1 << 20
SUFFIXES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
}

QUANTITY = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)(?P<suffix>Ki|Mi|Gi|Ti|k|M|G|T|)")


def parse_size(text: str | int, field: str) -> int:
    """The bytes that a quantity means, rounded up to a whole MiB.

    Args:
        text: a quantity such as ``10Gi`` or ``1.5T``, or bytes.
        field: path of the field that it comes from, for the message.

    Raises:
        DpuError: INVALID; not a quantity, or not above zero.
    """
    found = QUANTITY.fullmatch(str(text))
    exact = Fraction(found["number"]) * SUFFIXES[found["suffix"]] if found else Fraction(0)
    if exact <= 0:
        raise DpuError(
            Reason.INVALID, f"{text!r} is not a size", field=field, remedy="write a quantity such as 10Gi or 512Mi"
        )
    return -(-exact // MIB) * MIB


def spell_size(size_bytes: int) -> str:
    """`size_bytes` for a person: the largest binary unit that shows it exactly, else bytes."""
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        if size_bytes and size_bytes % SUFFIXES[suffix] == 0:
            return f"{size_bytes // SUFFIXES[suffix]}{suffix}"
    return f"{size_bytes} bytes"


def root_size(wanted: str | int, image_bytes: int, image: str) -> int:
    """Bytes of a system disk cloned from an image: what is wanted, or the image's own size.

    Raises:
        DpuError: INVALID; smaller than the image. Both sizes are in the message.
    """
    whole = -(-image_bytes // MIB) * MIB
    if wanted == "":
        return whole
    size_bytes = parse_size(wanted, "spec.rootDisk.size")
    if size_bytes < whole:
        raise DpuError(
            Reason.INVALID,
            f"{spell_size(size_bytes)} is smaller than image {image}, which has {spell_size(whole)}",
            field="spec.rootDisk.size",
            remedy=f"write at least {spell_size(whole)}, or leave it out to take the image's size",
        )
    return size_bytes
