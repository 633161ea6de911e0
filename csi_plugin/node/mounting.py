"""Mounts by system call. Source: mount(2), umount(2); each call runs in a thread, under a deadline."""

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from csi_plugin.node import mountinfo
from csi_plugin.node.model import AccessType, Device, FileSystem
from csi_plugin.node.mountinfo import MountEntry
from csi_plugin.node.protocols import Room, Usage
from csi_plugin.node.threads import in_thread
from proto.errors import DpuError
from proto.reasons import Reason

MS_RDONLY, MS_REMOUNT, MS_BIND = 0x1, 0x20, 0x1000
MNT_DETACH, UMOUNT_NOFOLLOW = 0x2, 0x8

FLAGS = {
    "ro": MS_RDONLY,
    "nosuid": 0x2,
    "nodev": 0x4,
    "noexec": 0x8,
    "sync": 0x10,
    "dirsync": 0x80,
    "noatime": 0x400,
    "nodiratime": 0x800,
    "relatime": 0x200000,
    "strictatime": 0x1000000,
    "lazytime": 0x2000000,
}
"""Options that the kernel takes as bits; all others go to the file system as text."""
DEFAULTS = {"rw", "defaults", "suid", "dev", "exec", "async", "atime", "diratime", "norelatime", "nolazytime"}
"""Options that say what is so anyway."""
KEPT = {name: FLAGS[name] for name in ("nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime")}
"""What a remount of a bind mount would take away if it were not said again."""

DEAD = {errno.ENOTCONN, errno.ESTALE, errno.EIO, errno.ENODEV, errno.ENXIO, errno.EHOSTDOWN, errno.ESHUTDOWN}
CALL_TIMEOUT_S = 60.0
"""A journal is replayed within a mount, and dirty pages are written within an unmount."""
LOOK_TIMEOUT_S = 5.0

_T = TypeVar("_T")
_libc = ctypes.CDLL(None, use_errno=True)


class KernelMounts:
    """Mounts, really."""

    async def at(self, path: str) -> MountEntry | None:
        return mountinfo.topmost(mountinfo.read(), mountinfo.resolved(path))

    async def mount(self, device: Device, path: str, file_system: FileSystem, flags: tuple[str, ...]) -> None:
        """Mount a disk.

        Raises:
            DpuError: WRONG_STATE, the kernel refused; DEADLINE, it is still at it.
        """
        bits, text = split_flags(flags)
        await _call(lambda: _mount(device.path, path, file_system.value, bits, text), f"mount of {device.name}")

    async def bind(self, source: str, target: str) -> None:
        await _call(lambda: _mount(source, target, "none", MS_BIND, ""), f"mount at {target}")

    async def make_read_only(self, target: str) -> None:
        entry = await self.at(target)
        kept = sum(bit for name, bit in KEPT.items() if entry is not None and name in entry.options)
        bits = MS_REMOUNT | MS_BIND | MS_RDONLY | kept
        await _call(lambda: _mount("none", target, "none", bits, ""), f"write protection of {target}")

    async def unmount(self, path: str, *, dead: bool) -> None:
        await _call(lambda: _unmount(path, UMOUNT_NOFOLLOW | (MNT_DETACH if dead else 0)), f"unmount of {path}")

    async def dead(self, path: str) -> bool:
        """Also when the disk under a living mount is gone, or no answer comes."""
        entry = await self.at(path)
        return (entry is not None and _disk_is_gone(entry.device)) or await _fails(path)

    async def make_target(self, path: str, access: AccessType) -> None:
        await _call(lambda: _make_target(Path(path), access), f"making of {path}")

    async def remove_target(self, path: str) -> None:
        await _call(lambda: _remove_target(Path(path)), f"removal of {path}")

    async def usage(self, path: str) -> Usage:
        try:
            found = await in_thread(f"usage of {path}", lambda: os.statvfs(path), LOOK_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            message = f"{path} does not say how full it is: {str(error) or 'no answer'}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether its disk answers") from error
        block = found.f_frsize
        return Usage(
            space=Room(found.f_blocks * block, found.f_bavail * block, found.f_bfree * block),
            inodes=Room(found.f_files, found.f_favail, found.f_ffree),
        )

    async def device_behind(self, path: str) -> str:
        try:
            found = await in_thread(f"look at {path}", lambda: os.stat(path), LOOK_TIMEOUT_S)  # noqa: PTH116 (no await in it)
        except (OSError, TimeoutError):
            return ""
        kind = found.st_mode
        if not stat.S_ISBLK(kind) and not stat.S_ISCHR(kind):
            return ""
        return f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"


def split_flags(flags: tuple[str, ...]) -> tuple[int, str]:
    """Options as bits, and as the text for the file system."""
    bits = 0
    text = []
    for word in (word for flag in flags for word in flag.split(",") if word):
        if word in FLAGS:
            bits |= FLAGS[word]
        elif word not in DEFAULTS:
            text.append(word)
    return bits, ",".join(text)


def _mount(source: str, target: str, kind: str, bits: int, text: str) -> None:
    if _libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(bits), os.fsencode(text)):
        _fail()


def _unmount(path: str, flags: int) -> None:
    """All that is stacked there."""
    path = mountinfo.resolved(path)
    while mountinfo.topmost(mountinfo.read(), path) is not None:
        if _libc.umount2(os.fsencode(path), flags):
            if ctypes.get_errno() == errno.EINVAL and mountinfo.topmost(mountinfo.read(), path) is None:
                return  # somebody else was faster
            _fail()


def _fail() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def _make_target(path: Path, access: AccessType) -> None:
    if access is AccessType.MOUNT:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
        return
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{path} is a folder, and a disk needs a file")


def _remove_target(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        path.rmdir()
    elif stat.S_ISREG(mode) and path.lstat().st_size:
        raise OSError(errno.ENOTEMPTY, "the file holds data")
    else:
        path.unlink()


def _disk_is_gone(number: str) -> bool:
    """Never of a file system without a disk: its major number is 0."""
    return not number.startswith("0:") and not Path("/sys/dev/block", number).exists()


async def _fails(path: str) -> bool:
    try:
        await in_thread(f"question to {path}", lambda: os.statvfs(path), LOOK_TIMEOUT_S)
    except TimeoutError:
        return True
    except OSError as error:
        return error.errno in DEAD
    return False


async def _call(act: Callable[[], _T], what: str) -> _T:
    """Run a system call in a thread; one that hangs goes on there, and the next call looks what came of it."""
    try:
        return await in_thread(what, act, CALL_TIMEOUT_S)
    except TimeoutError as error:
        raise DpuError(
            Reason.DEADLINE, f"{what} is not done after {CALL_TIMEOUT_S:g} s", remedy="the call may be repeated"
        ) from error
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise DpuError(
                Reason.IN_USE, f"{what}: {error.strerror}", remedy="end what uses it, then repeat the call"
            ) from error
        remedy = "see the kernel's log; a wrong mount option is refused as an invalid argument"
        raise DpuError(Reason.WRONG_STATE, f"{what}: {error.strerror or error}", remedy=remedy) from error
