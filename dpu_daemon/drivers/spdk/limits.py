"""How many disks one SPDK process can have, known before the first is one too many."""

import asyncio
import re
from pathlib import Path

import msgspec

from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.rpc import SpdkRpc

DESCRIPTORS_PER_DISK = 6
"""Admin and I/O connections of a path, the front's socket, its client and its event file descriptors, on one core."""

DESCRIPTORS_OF_ITS_OWN = 64
DEFAULT_SUBSYSTEMS = 1024
"""Of which one is the discovery subsystem."""

_OPEN_FILES = re.compile(r"^Max open files\s+(\d+)", re.MULTILINE)


class _Entry(msgspec.Struct):
    method: str = ""
    params: dict[str, object] = {}


class SpdkLimits:
    """What the process was started with.

    Args:
        rpc: the process.
    """

    def __init__(self, rpc: SpdkRpc) -> None:
        self._rpc = rpc
        self._descriptors = 0
        self._subsystems = DEFAULT_SUBSYSTEMS

    async def learn(self) -> None:
        """Reads the limits of a process that this driver just met."""
        self._descriptors = await asyncio.to_thread(_open_files, self._rpc.process_id())
        try:
            entries = await self._rpc.call("framework_get_config", {"name": "nvmf"}, of=list[_Entry])
        except SpdkError:
            entries = []
        for entry in entries:
            if entry.method == "nvmf_set_max_subsystems":
                asked = entry.params.get("max_subsystems")
                self._subsystems = asked if isinstance(asked, int) and asked else DEFAULT_SUBSYSTEMS

    def disks(self) -> dict[str, int]:
        """Disks that each limit allows, by the limit's name; empty before the first contact."""
        if not self._descriptors:
            return {}
        return {
            "file descriptors of SPDK": max(0, self._descriptors - DESCRIPTORS_OF_ITS_OWN) // DESCRIPTORS_PER_DISK,
            "NVMe subsystems of SPDK": self._subsystems - 1,
        }


def _open_files(process_id: int) -> int:
    """The soft limit of open files; 0 where it cannot be read."""
    try:
        found = _OPEN_FILES.search(Path(f"/proc/{process_id}/limits").read_text(encoding="ascii"))
    except OSError:
        return 0
    return int(found[1]) if found else 0
