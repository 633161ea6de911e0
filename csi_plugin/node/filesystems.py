"""ext4 and xfs, by their own tools; a disk that is not blank is never formatted."""

import os
import re
from pathlib import Path

from csi_plugin.node.model import Device, FileSystem
from csi_plugin.node.threads import in_thread
from csi_plugin.node.tools import run
from proto.errors import DpuError
from proto.reasons import Reason

PROBE_TIMEOUT_S = 20.0
MAKE_TIMEOUT_S = 90.0
CHECK_TIMEOUT_S = 90.0
GROW_TIMEOUT_S = 60.0
FIRST_BYTES = 1 << 20
LAST_BYTES = 64 << 10

BLKID_NOTHING = 2
BLKID_AMBIVALENT = 8
"""blkid(8)."""
FSCK_REPAIRED = 0b11
"""e2fsck(8): repaired, and wants a restart, which only a mounted root needs."""
XFS_MAGIC, XFS_IN_PROGRESS = b"XFSB", 126
"""Of its superblock, at the disk's first byte."""
NOT_ALLOWED = "Permission denied"
CAP_SYS_RESOURCE = 24
_TYPE = re.compile(r"^(?:TYPE|PTTYPE)=(.+)$", re.MULTILINE)


class KernelFileSystems:
    """File systems, really."""

    async def signature(self, device: Device) -> str:
        """What blkid and wipefs find; they must agree that there is nothing.

        Raises:
            DpuError: UNAVAILABLE, WRONG_STATE.
        """
        # blkid says "nothing found" of a disk that it cannot read, too.
        first = await _read(device)
        if _unfinished(first):
            return ""
        probed = await run("blkid", "--probe", "--output", "export", device.path, timeout_s=PROBE_TIMEOUT_S)
        if probed.code == 0:
            found = _TYPE.findall(probed.output)
            return found[0] if found else "something unknown"
        if probed.code == BLKID_AMBIVALENT:
            message = f"{device.name} has more than one signature"
            raise DpuError(Reason.WRONG_STATE, message, remedy=f"look at it with: wipefs {device.path}")
        if probed.code != BLKID_NOTHING:
            message = f"blkid does not tell what is on {device.name}: {probed.words}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether the disk answers")
        listed = await run(
            "wipefs", "--no-act", "--noheadings", "--output", "TYPE", device.path, timeout_s=PROBE_TIMEOUT_S
        )
        if listed.code:
            message = f"wipefs does not tell what is on {device.name}: {listed.words}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether the disk answers")
        return " ".join(listed.output.split())

    async def make(self, device: Device, file_system: FileSystem) -> None:
        """Make a file system; the caller has made sure that nothing is lost.

        Raises:
            DpuError: WRONG_STATE with the tool's words.
        """
        # The disk was blank, so there is nothing to discard, and on a large one that takes minutes.
        words = {
            FileSystem.EXT4: ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard"),
            FileSystem.XFS: ("mkfs.xfs", "-q", "-f", "-K"),
        }[file_system]
        made = await run(*words, device.path, timeout_s=MAKE_TIMEOUT_S)
        if made.code:
            message = f"no {file_system.value} can be made on {device.name}: {made.words}"
            raise DpuError(Reason.WRONG_STATE, message, remedy="correct what it names")

    async def check(self, device: Device, file_system: FileSystem) -> None:
        """Replay the journal of ext4 and repair what is safe; xfs does so when it is mounted."""
        if file_system is FileSystem.XFS:
            return
        checked = await run("e2fsck", "-p", device.path, timeout_s=CHECK_TIMEOUT_S)
        if checked.code & ~FSCK_REPAIRED:
            message = f"the {file_system.value} on {device.name} is damaged: {checked.words}"
            raise DpuError(Reason.DATA_LOSS, message, remedy=f"run e2fsck {device.path} by hand, or restore a snapshot")

    async def grow(self, device: Device, file_system: FileSystem, mounted_at: str) -> None:
        """Fill the disk.

        Raises:
            DpuError: WRONG_STATE with the tool's words.
        """
        words = ("xfs_growfs", "-d", mounted_at) if file_system is FileSystem.XFS else ("resize2fs", device.path)
        grown = await run(*words, timeout_s=GROW_TIMEOUT_S)
        if grown.code:
            message = f"the {file_system.value} on {device.name} does not grow: {grown.words}"
            remedy = "correct what it names, then repeat the call"
            if NOT_ALLOWED in grown.words and not may_resize():
                remedy = "give the plug-in the capability CAP_SYS_RESOURCE, which ext4 asks for"
            raise DpuError(Reason.WRONG_STATE, message, remedy=remedy)


def may_resize() -> bool:
    """Whether the kernel lets this process grow a mounted ext4. Source: capabilities(7), proc(5)."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> CAP_SYS_RESOURCE & 1)


def _unfinished(first: bytes) -> bool:
    """Whether this is an xfs whose making was cut short: nobody ever mounted it. ext4's superblock is written last.

    Source: mkfs.xfs writes sb_inprogress as 1 first of all and as 0 last of all, and nothing else ever writes it.
    """
    return first.startswith(XFS_MAGIC) and first[XFS_IN_PROGRESS] == 1


async def _read(device: Device) -> bytes:
    def read() -> bytes:
        opened = os.open(device.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            first = os.pread(opened, FIRST_BYTES, 0)
            os.pread(opened, LAST_BYTES, max(0, device.size_bytes - LAST_BYTES))
        finally:
            os.close(opened)
        return first

    try:
        return await in_thread(f"probe of {device.path}", read, PROBE_TIMEOUT_S)
    except (OSError, TimeoutError) as error:
        message = f"{device.name} cannot be read: {str(error) or 'no answer'}"
        raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether the disk answers") from error
