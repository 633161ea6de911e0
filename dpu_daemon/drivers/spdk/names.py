"""Names that this daemon gives in SPDK; whatever is called otherwise is somebody else's and is left alone.

A disk with handle ``H`` is reached through a remote controller ``H.XXXXXX`` (its bdevs are ``H.XXXXXXnN``), or through
the file bdev ``H``; its front is the subsystem ``FRONT_PREFIX + H`` or the vhost controller ``H``. Between the two may
stand a crypto bdev and, for virtio-blk, whose serial number is the name of its bdev, one that carries that name.
"""

import hashlib
import re
import uuid

from dpu_daemon.model.disk import Attachment, DiskProtocol, SeedFile, TargetAddress
from proto.errors import DpuError
from proto.reasons import Reason

FRONT_PREFIX = "nqn.2025-01.io.dpupool:disk:"
MARKER = "dpupool-marker"
"""A null bdev whose UUID tells one SPDK process from the next."""

MODEL = "dpupool"
FRONT_NSID = 1
"""A function shows one disk, so its namespace is always the first."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,63}")
"""SPDK takes anything; notifications and vhost sockets do not."""

_CONTROLLER = re.compile(r"([ds][0-9a-f]{12})\.[0-9a-f]{6}")
_REMOTE_BDEV = re.compile(r"((?:[ds][0-9a-f]{12})\.[0-9a-f]{6})n([0-9]+)")
_NAMESPACES = uuid.UUID("a3d9a1c4-5f0e-4d8f-9b61-6c1f6b6f2d11")


def front_nqn(handle: str) -> str:
    """The subsystem that shows this disk to the host."""
    return FRONT_PREFIX + handle


def handle_of_front(nqn: str) -> str:
    """The disk of a front subsystem; empty for a subsystem that is not ours."""
    return nqn.removeprefix(FRONT_PREFIX) if nqn.startswith(FRONT_PREFIX) else ""


def controller_name(handle: str, nqn: str) -> str:
    """A remote controller, named after the disk that first needed it; another subsystem makes another name."""
    return f"{handle}.{hashlib.sha256(nqn.encode()).hexdigest()[:6]}"


def maker_of(controller: str) -> str:
    """The handle after which a remote controller is named; empty for one that is not ours."""
    found = _CONTROLLER.fullmatch(controller)
    return found[1] if found else ""


def remote_bdev(controller: str, nsid: int) -> str:
    """The bdev of a namespace."""
    return f"{controller}n{nsid}"


def split_remote_bdev(bdev: str) -> tuple[str, int]:
    """Controller and namespace of a bdev; ("", 0) for one of another kind."""
    found = _REMOTE_BDEV.fullmatch(bdev)
    return (found[1], int(found[2])) if found else ("", 0)


def crypto_name(handle: str) -> str:
    """The encrypting bdev of an NVMe disk."""
    return f"{handle}.crypt"


def key_name(handle: str) -> str:
    """The key of the encrypting bdev."""
    return f"{handle}.key"


def handle_of_crypto(bdev: str) -> str:
    """The disk of an encrypting bdev that is named after one; empty otherwise."""
    return bdev.removesuffix(".crypt") if bdev.endswith(".crypt") else ""


def keyring_name(credentials: str, part: str) -> str:
    """A file key in SPDK's keyring."""
    return f"{credentials}.{part}"


def namespace_uuid(nguid: str) -> str:
    """UUID of the front namespace: the same for the disk's whole life, whatever backs it."""
    return str(uuid.uuid5(_NAMESPACES, nguid))


def host_nqn_for(name: str) -> str:
    """The NQN of a DPU that was given none: the same at every start."""
    return f"nqn.2014-08.org.nvmexpress:uuid:{uuid.uuid5(_NAMESPACES, name)}"


def top_name(disk: Attachment, base: str) -> str:
    """The bdev that the front opens.

    Args:
        disk: the attachment.
        base: its remote or file bdev.

    Raises:
        DpuError: INVALID for a serial number that cannot be the name of a bdev.
    """
    spec = disk.spec
    if spec.protocol is DiskProtocol.VIRTIO_BLK:
        if _NAME.fullmatch(spec.serial) is None:
            message = f"serial {spec.serial!r} cannot be shown by a virtio-blk disk on SPDK"
            remedy = "use letters, digits, '_', '.' and '-', or protocol NVME"
            raise DpuError(Reason.INVALID, message, field="spec.serial", remedy=remedy)
        return spec.serial
    return crypto_name(disk.handle) if spec.encryption else base


def file_bdev(disk: Attachment) -> str:
    """The bdev of a seed file."""
    return disk.spec.serial if disk.spec.protocol is DiskProtocol.VIRTIO_BLK else disk.handle


def base_name(disk: Attachment, controller: str, nsid: int) -> str:
    """The bdev through which the source is reached."""
    source = disk.spec.source
    return file_bdev(disk) if isinstance(source, SeedFile) else remote_bdev(controller, nsid)


def check_nqn(target: TargetAddress) -> None:
    """Refuse what SPDK would take and no target would know.

    Raises:
        DpuError: INVALID.
    """
    nqn = target.export
    remedy = "use nqn.YYYY-MM.reversed.domain:name, at most 223 characters without spaces"
    plain = nqn.isascii() and nqn.isprintable() and " " not in nqn
    month = re.fullmatch(r"nqn\.[0-9]{4}-(0[1-9]|1[0-2])\.[^:]+:.+", nqn)
    if len(nqn) > 223 or not plain or month is None:
        message = f"{nqn[:60]!r} is no name of an NVMe subsystem"
        raise DpuError(Reason.INVALID, message, field="spec.target.export", remedy=remedy)
