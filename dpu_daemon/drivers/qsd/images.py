"""Image files: where they may lie, what they must be, and what their nodes are called."""

import base64
import hashlib
import re
import struct
import uuid
from pathlib import Path

from dpu_daemon.drivers.qsd.header import FIXED_BYTES, QCOW2_MAGIC
from dpu_daemon.model.volume import ImageFormat
from proto.errors import DpuError
from proto.reasons import Reason

EXTERNAL_DATA_FILE = 1 << 2
"""Incompatible feature bit. Source: docs/interop/qcow2.txt of QEMU."""

PLAIN = re.compile(r"[A-Za-z0-9._-]{1,29}")

IMAGE_NODE = re.compile(r"[iuh]\..+")
"""Nodes of images: ``i.`` with the id, ``u.`` with a UUID in base64, ``h.`` with a digest. At most 31 characters."""


def node_name(image_id: str) -> str:
    """Name of an image's node, from which the id can be read back unless it is long and no UUID."""
    if PLAIN.fullmatch(image_id):
        return f"i.{image_id}"
    number = _uuid(image_id)
    if number is not None:
        return "u." + base64.urlsafe_b64encode(number.bytes).rstrip(b"=").decode()
    return "h." + hashlib.sha256(image_id.encode()).hexdigest()[:29]


def image_id_of(node: str) -> str | None:
    """The id in a node's name; None for a digest."""
    kind, _, rest = node.partition(".")
    if kind == "i":
        return rest
    if kind == "u" and len(rest) == 22:
        return str(uuid.UUID(bytes=base64.urlsafe_b64decode(rest + "==")))
    return None


def _uuid(text: str) -> uuid.UUID | None:
    """Only the canonical spelling, as only that one comes back."""
    try:
        number = uuid.UUID(text)
    except ValueError:
        return None
    return number if str(number) == text else None


def locate(directory: Path, source: str) -> Path:
    """The image's file.

    Raises:
        DpuError: INVALID for a name that is a path or leads out of the directory, and when there is no such file.
    """
    if not source or Path(source).name != source or source.startswith(".") or "\0" in source:
        message = f"{source!r} is not the name of a file in the image directory"
        raise DpuError(Reason.INVALID, message, field="source", remedy="give a bare file name")
    path = directory / source
    if not path.exists():
        remedy = f"copy it to {directory} on the storage node"
        raise DpuError(Reason.INVALID, f"there is no image file {source}", field="source", remedy=remedy)
    if path.resolve().parent != directory.resolve() or not path.is_file():
        message = f"{source} is no regular file of the image directory"
        raise DpuError(Reason.INVALID, message, field="source", remedy="copy the image there instead of linking it")
    return path


def virtual_size(path: Path, image_format: ImageFormat) -> int:
    """Bytes that a disk of this image has.

    Raises:
        DpuError: INVALID for a file that is not of this format, or one that leads to other files.
    """
    with path.open("rb") as file:
        header = file.read(FIXED_BYTES)
    is_qcow2 = header.startswith(QCOW2_MAGIC)
    if is_qcow2 != (image_format is ImageFormat.QCOW2):
        found = ImageFormat.QCOW2 if is_qcow2 else ImageFormat.RAW
        message = f"{path.name} is not of format {image_format.value}"
        raise DpuError(Reason.INVALID, message, field="format", remedy=f"import it as {found.value}")
    if is_qcow2:
        return _qcow2_size(path.name, header)
    size_bytes = path.stat().st_size
    if size_bytes == 0 or size_bytes % 512:
        message = f"{path.name} has {size_bytes} bytes, which is no whole number of sectors"
        raise DpuError(Reason.INVALID, message, field="source", remedy="copy the image again; it looks cut short")
    return size_bytes


def _qcow2_size(name: str, header: bytes) -> int:
    if len(header) < FIXED_BYTES:
        raise DpuError(Reason.INVALID, f"{name} is cut short", field="source", remedy="copy the image again")
    version, backing_offset = struct.unpack_from(">IQ", header, 4)
    size_bytes, encryption = struct.unpack_from(">QI", header, 24)
    features = struct.unpack_from(">Q", header, 72)[0] if version >= 3 else 0
    # Such a name is chosen by whoever made the image, and the storage node would read whatever file it says.
    if backing_offset or features & EXTERNAL_DATA_FILE:
        message = f"{name} refers to another file"
        raise DpuError(Reason.INVALID, message, field="source", remedy="flatten it with qemu-img convert")
    if version not in (2, 3) or encryption:
        message = f"{name} is an encrypted qcow2 file, or one of version {version}"
        raise DpuError(Reason.INVALID, message, field="source", remedy="convert it with qemu-img convert -O qcow2")
    return int(size_bytes)
