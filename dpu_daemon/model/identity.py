"""Names and places that the host will see, chosen without asking anybody."""

import hashlib
import re
from collections.abc import Collection
from enum import Enum


class HandleKind(Enum):
    """First letter of a handle."""

    DISK = "d"
    SEED = "s"
    VOLUME = "v"
    OPI = "o"
    OPI_NETWORK = "n"


_DIGITS = 12
_OURS = re.compile(r"[ds][0-9a-f]{12}")
_OPI = re.compile(r"o[0-9a-f]{12}")


def handle_for(kind: HandleKind, subject: str, taken: Collection[str]) -> str:
    """A block-layer name for this id: the same at every call while `taken` is the same, and not in `taken`."""
    attempt = 0
    while True:
        text = subject if attempt == 0 else f"{subject}#{attempt}"
        handle = kind.value + hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
        if handle not in taken:
            return handle
        attempt += 1


def is_disk_handle(name: str) -> bool:
    """Whether a name in the block layer or on the bus is one that this daemon gives."""
    return _OURS.fullmatch(name) is not None


def is_opi_handle(name: str) -> bool:
    """Whether a name in the block layer is one that this daemon gives to objects of the OPI API."""
    return _OPI.fullmatch(name) is not None


def serial_for(handle: str) -> str:
    """What the host reads as serial number when the caller chose none; at most 20 ASCII characters."""
    return handle


def nguid_for(subject: str) -> str:
    """32 hex digits for an attachment whose caller chose none."""
    return hashlib.sha256(f"nguid/{subject}".encode()).hexdigest()[:32]


def free_slot(slots: int, taken: Collection[int], *, boots: bool) -> int | None:
    """The place of a new disk: the lowest free one; slot 0 is kept for a boot disk as long as others are free."""
    order = range(slots) if boots else (*range(1, slots), *range(min(slots, 1)))
    return next((slot for slot in order if slot not in taken), None)


def free_function(functions: int, taken: Collection[int]) -> int | None:
    """Index of the virtual function for a new port: the lowest free one."""
    return next((vf for vf in range(functions) if vf not in taken), None)
