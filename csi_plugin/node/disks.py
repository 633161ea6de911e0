"""Whole disks: whether they answer, and their write protection. Source: BLKROSET of linux/fs.h."""

import fcntl
import mmap
import os
import struct

from csi_plugin.node.model import Device
from csi_plugin.node.threads import in_thread
from proto.errors import DpuError
from proto.reasons import Reason

BLKROSET = 0x125D
CALL_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 5.0


class KernelDisks:
    """Disks, really."""

    async def answers(self, device: Device) -> bool:
        def read() -> None:
            opened = os.open(device.path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
            try:
                with mmap.mmap(-1, mmap.PAGESIZE) as page:
                    os.preadv(opened, [page], 0)
            finally:
                os.close(opened)

        try:
            await in_thread(f"read of {device.path}", read, READ_TIMEOUT_S)
        except (OSError, TimeoutError):
            return False
        return True

    async def protect(self, device: Device, *, on: bool) -> None:
        """Switch it; a disk that the DPU shows read-only stays so.

        Raises:
            DpuError: UNAVAILABLE.
        """

        def switch() -> None:
            opened = os.open(device.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(opened, BLKROSET, struct.pack("i", on))
            finally:
                os.close(opened)

        try:
            await in_thread(f"protection of {device.path}", switch, CALL_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            message = f"write protection of {device.name}: {str(error) or 'no answer'}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="look whether the disk answers") from error
