"""Disks where the host is a folder: FUSE files ``DIRECTORY/SERIAL``, each on a loop device. Source: loop(4)."""

import asyncio
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from csi_plugin.node import mountinfo
from csi_plugin.node.discovery.uevents import listening, seconds_left
from csi_plugin.node.model import Device, DiskIdentity
from csi_plugin.node.threads import in_thread
from proto.errors import DpuError
from proto.reasons import Reason

LOOP_SET_CAPACITY = 0x4C07
LOOP_CLR_FD = 0x4C01
LOOP_GET_STATUS64 = 0x4C05
LOOP_CONFIGURE = 0x4C0A
LOOP_CTL_GET_FREE = 0x4C82
LO_FLAGS_READ_ONLY = 1
INFO64 = struct.Struct("=QQQQQIIII64s64s32s2Q")
"""struct loop_info64: device, inode, rdevice, offset, size limit, number, encryption and its key size, flags, ..."""
CONFIG = struct.Struct(f"=II{INFO64.size}s8Q")
"""struct loop_config. Buffered: direct I/O of a loop device on a FUSE file loses writes on Linux 6.18."""

SECTOR_BYTES = 512
TRIES = 16
NAME_BYTES = 63
CALL_TIMEOUT_S = 20.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Loop:
    """A loop device that has a file.

    Attributes:
        name: of the device.
        backing: path of the file as it is now; another one once its mount was taken away.
        made_for: path that the device was made with, its last 63 bytes.
        file_system: ``major:minor`` of the one that the file is on.
    """

    name: str
    backing: str
    made_for: str
    file_system: str


class LoopDiscovery:
    """Looks in a folder.

    Args:
        directory: where the host bus makes its files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def look(self, disk: DiskIdentity) -> Device | None:
        """The loop device of the disk's file, made when there is none yet."""
        file = self._directory.resolve() / disk.serial
        entry = mountinfo.topmost(mountinfo.read(), str(file))
        if entry is None:
            return None
        return await _thread(lambda: _attached(file, entry.device), f"loop device of {disk.serial}")

    async def wait(self, disk: DiskIdentity, timeout_s: float) -> Device:
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with listening() as uevents:
            while True:
                device = await self.look(disk)
                if device is not None and device.size_bytes:
                    return device
                if seconds_left(deadline) <= 0:
                    raise self._missing(disk, timeout_s)
                await uevents.next(seconds_left(deadline))

    async def grown(self, disk: DiskIdentity, size_bytes: int, timeout_s: float) -> Device:
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with listening() as uevents:
            while True:
                device = await self.wait(disk, max(0.0, seconds_left(deadline)))
                await _thread(partial(_learn_size, device.path), f"new size of {device.name}")
                device = await self.look(disk) or device
                if device.size_bytes >= size_bytes:
                    return device
                if seconds_left(deadline) <= 0:
                    message = f"{device.name} has {device.size_bytes} bytes after {timeout_s:g} s, not {size_bytes}"
                    remedy = "grow the volume on the DPU first; the call may be repeated"
                    raise DpuError(Reason.UNAVAILABLE, message, field="capacity_range", remedy=remedy)
                await uevents.next(min(0.2, seconds_left(deadline)))  # no announcement tells that a file has grown

    async def release(self, disk: DiskIdentity) -> None:
        """Let go of the file, on every loop device that has it."""
        file = str(self._directory.resolve() / disk.serial)
        await _thread(lambda: _detach(file), f"release of {disk.serial}")

    def _missing(self, disk: DiskIdentity, timeout_s: float) -> DpuError:
        mounted = sorted(
            Path(entry.target).name
            for entry in mountinfo.read()
            if Path(entry.target).parent == self._directory.resolve()
        )
        here = ", ".join(mounted) or "no disk at all"
        slot = f", expected in slot {disk.slot}" if disk.slot else ""
        message = f"no disk with serial {disk.serial} came within {timeout_s:g} s{slot}; {self._directory} shows {here}"
        remedy = "look on the DPU whether it is attached to this host; the call may be repeated"
        return DpuError(Reason.DEADLINE, message, field="publish_context", remedy=remedy)


def _loops() -> list[_Loop]:
    found = []
    for backing in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        name = backing.parts[3]
        try:
            path = backing.read_text(encoding="utf-8").rstrip("\n")
            opened = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                info = INFO64.unpack(fcntl.ioctl(opened, LOOP_GET_STATUS64, bytes(INFO64.size)))
            finally:
                os.close(opened)
        except OSError:
            continue  # it was released just now
        found.append(_Loop(name, path, os.fsdecode(info[9].rstrip(b"\0")), _number(info[0])))
    return found


def _number(packed: int) -> str:
    """``major:minor`` as the kernel packs them for users. Source: huge_encode_dev."""
    return f"{(packed >> 8) & 0xFFF}:{(packed & 0xFF) | ((packed >> 12) & 0xFFF00)}"


def _attached(file: Path, mounted: str) -> Device:
    """The device of a file; one of a former mount at the same path is not it.

    Args:
        file: of the disk.
        mounted: ``major:minor`` of the file system that is mounted there now.
    """
    for loop in _loops():
        if loop.backing == str(file) and loop.file_system == mounted:
            return _device(loop.name)
    return _device(_configure(file))


def _configure(file: Path) -> str:
    writable = bool(file.stat().st_mode & 0o200)
    backing = os.open(file, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    flags = 0 if writable else LO_FLAGS_READ_ONLY
    info = INFO64.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, os.fsencode(file)[-NAME_BYTES:], b"", b"", 0, 0)
    request = CONFIG.pack(backing, SECTOR_BYTES, info, *([0] * 8))
    try:
        for _ in range(TRIES):
            name = f"loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
            opened = os.open(f"/dev/{name}", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(opened, LOOP_CONFIGURE, request)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
            else:
                return name
            finally:
                os.close(opened)
    finally:
        os.close(control)
        os.close(backing)
    raise OSError(errno.EBUSY, "others took every free loop device")


def _device(name: str) -> Device:
    block = Path("/sys/block", name)

    def word(key: str) -> str:
        return (block / key).read_text(encoding="ascii").strip()

    return Device(
        name=name,
        path=f"/dev/{name}",
        number=word("dev"),
        size_bytes=int(word("size")) * SECTOR_BYTES,
        read_only=word("ro") == "1",
    )


def _learn_size(path: str) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(opened, LOOP_SET_CAPACITY, 0)
    finally:
        os.close(opened)


def _detach(file: str) -> None:
    for loop in _loops():
        if file in {loop.backing, loop.made_for}:
            opened = os.open(f"/dev/{loop.name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(opened, LOOP_CLR_FD, 0)
            except OSError as error:
                if error.errno != errno.ENXIO:  # somebody else was faster
                    raise
            finally:
                os.close(opened)


async def _thread(act: Callable[[], _T], what: str) -> _T:
    """The file's server may not answer, so no call is made on the event loop."""
    try:
        return await in_thread(what, act, CALL_TIMEOUT_S)
    except (OSError, TimeoutError) as error:
        message = f"{what}: {str(error) or 'no answer'}"
        raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether the disk's server runs") from error
