"""Names: from those that a container orchestrator invents to those of objects, so that a repeat finds its object."""

import re
from hashlib import sha256

from proto.errors import DpuError
from proto.reasons import Reason

LONGEST_BYTES = 128
LONGEST_NODE_BYTES = 256
DERIVED = "csi-"
"""Begins names that were made from others; a name that begins so itself is made anew too, so that none is met twice."""

_PLAIN = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def check_text(text: str, field: str, longest_bytes: int = LONGEST_BYTES) -> None:
    """Refuse what can be no name or id.

    Source: CSI specification, size limits and characters of names.

    Raises:
        DpuError: INVALID.
    """
    if not text:
        raise DpuError(Reason.INVALID, f"{field} is missing", field=field, remedy=f"give {field}")
    if len(text.encode()) > longest_bytes:
        raise DpuError(
            Reason.INVALID, f"{field} has more than {longest_bytes} bytes", field=field, remedy="use a shorter one"
        )
    if _CONTROL.search(text):
        raise DpuError(Reason.INVALID, f"{field} has control characters", field=field, remedy="leave them out")


def is_object_name(text: str) -> bool:
    """Whether an object of ours can have this name; an id that cannot be one belongs to nothing."""
    return re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", text) is not None


def object_name(name: str) -> str:
    """The object that a name stands for: the name itself where it can be one, else a digest of it."""
    if _PLAIN.fullmatch(name) and not name.startswith(DERIVED):
        return name
    return f"{DERIVED}{digest(name, 40)}"


def attachment_name(volume: str, node: str) -> str:
    """The object by which a volume is shown to a node."""
    return f"{volume}-{digest(node, 10)}"


def member_name(group: str, volume: str) -> str:
    """The snapshot of one volume in a group."""
    return f"{group}-{digest(volume, 10)}"


def digest(text: str, length: int) -> str:
    """So many hexadecimal digits that stand for a text."""
    return sha256(text.encode()).hexdigest()[:length]
