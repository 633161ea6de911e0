"""What hosts that are this machine leave in its kernel: mounts and loop devices over files of a lab."""

import ctypes
import fcntl
import os
from collections.abc import Collection
from pathlib import Path

MNT_DETACH = 2
LOOP_CLR_FD = 0x4C01
MOUNTINFO = Path("/proc/self/mountinfo")
LOOPS = Path("/sys/block")
DETACHED = "/"
"""Backing file of a loop device whose file system was unmounted under it."""


def under(folder: Path, table: str) -> list[str]:
    """Mount points in a folder, the deepest first.

    Args:
        folder: whose.
        table: text of /proc/self/mountinfo.
    """
    points = [_spelled(line.split()[4]) for line in table.splitlines()]
    return [point for point in reversed(points) if Path(point).is_relative_to(folder)]


def devices_over(folder: Path, sources: dict[str, str], known: Collection[str] = ()) -> list[str]:
    """Mount sources that are loop devices over files of a folder.

    Args:
        folder: whose.
        sources: backing file by loop device.
        known: devices that were over files of it earlier; the kernel forgets where a file was once its FUSE is gone.
    """
    return sorted(
        device
        for device, file in sources.items()
        if Path(file.removesuffix(" (deleted)")).is_relative_to(folder) or (file == DETACHED and device in known)
    )


def clear(folder: Path, known: Collection[str] = ()) -> None:
    """Take away every mount in a folder, every mount of a loop device over a file in it, and those devices.

    Args:
        folder: whose.
        known: devices that were over files of it before those went.
    """
    loops = devices_over(folder, backing_files(), known)
    table = MOUNTINFO.read_text(encoding="utf-8")
    of_loops = [line.split()[4] for line in table.splitlines() if line.split(" - ")[-1].split()[1] in loops]
    for point in [*(_spelled(point) for point in reversed(of_loops)), *under(folder, table)]:
        ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(point), MNT_DETACH)
    for device in loops:
        opened = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(opened, LOOP_CLR_FD)
        except OSError:  # nobody uses it any more
            continue
        finally:
            os.close(opened)


def backing_files() -> dict[str, str]:
    """Backing file by loop device, of all that are in use."""
    found = {}
    for entry in LOOPS.glob("loop*/loop/backing_file"):
        try:
            found[f"/dev/{entry.parts[-3]}"] = entry.read_text(encoding="utf-8").strip()
        except OSError:  # it went meanwhile
            continue
    return found


def _spelled(point: str) -> str:
    return point.replace("\\040", " ").replace("\\134", "\\")
