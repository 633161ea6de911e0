"""The few mount calls that a host bus made of FUSE files needs; straight to the kernel, no program is started."""

import ctypes
import errno
import os
from pathlib import Path

MNT_DETACH = 0x2
MNT_EXPIRE = 0x4
UMOUNT_NOFOLLOW = 0x8
"""umount2(2)."""

_MOUNTINFO = Path("/proc/self/mountinfo")
_libc = ctypes.CDLL(None, use_errno=True)


def mounted_below(directory: Path) -> frozenset[Path]:
    """Mount points straight in a folder; nothing of them is touched, so a dead one does not hold us up."""
    found = set()
    for line in _MOUNTINFO.read_bytes().splitlines():
        escaped = line.split(b" ")[4].decode("unicode_escape")
        point = Path(os.fsdecode(escaped.encode("latin-1")))
        if point.parent == directory:
            found.add(point)
    return frozenset(found)


def in_use(path: Path) -> bool:
    """Whether something on a mount is open: a file, a loop device. Nothing is unmounted by the question.

    Source: umount2(2), MNT_EXPIRE: such a call only marks an idle mount, unless it has the mark already.

    Raises:
        OSError: nothing is mounted there.
    """
    os.close(os.open(path, os.O_PATH))  # a use takes an earlier mark away
    _libc.umount2(os.fsencode(path), MNT_EXPIRE | UMOUNT_NOFOLLOW)
    number = ctypes.get_errno()
    if number not in {errno.EAGAIN, errno.EBUSY}:
        raise OSError(number, os.strerror(number), str(path))
    return number == errno.EBUSY


def detach(path: Path) -> None:
    """Take a mount out of the tree, whoever uses it; none there is fine."""
    while _libc.umount2(os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW) == 0:
        pass
    number = ctypes.get_errno()
    if number not in {errno.EINVAL, errno.ENOENT}:
        raise OSError(number, os.strerror(number), str(path))


def loop_devices_on(path: Path) -> tuple[str, ...]:
    """Names of the loop devices that stand on a file."""
    found = []
    for backing in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        try:
            if backing.read_text(encoding="utf-8").rstrip("\n") == str(path):
                found.append(backing.parts[3])
        except OSError:
            continue  # it was released just now
    return tuple(found)
