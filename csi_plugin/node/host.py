"""All that the node service stands on, in one place."""

from dataclasses import dataclass

from csi_plugin.node.model import FileSystem
from csi_plugin.node.protocols import Discovery, Disks, FileSystems, Functions, Mounts
from csi_plugin.node.records import Records


@dataclass(frozen=True, slots=True)
class Host:
    """A host as the node service has it.

    Attributes:
        default_file_system: made on a blank disk when nobody asks for another.
        disk_wait_s: how long a disk, or its new size, is waited for; under kubelet's two minutes.
    """

    records: Records
    mounts: Mounts
    file_systems: FileSystems
    discovery: Discovery
    functions: Functions
    disks: Disks
    default_file_system: FileSystem = FileSystem.EXT4
    disk_wait_s: float = 60.0

    async def clear(self, path: str) -> None:
        """Take away what is mounted at a path; what is dead goes also while something uses it.

        Raises:
            DpuError: IN_USE.
        """
        if await self.mounts.at(path) is not None:
            await self.mounts.unmount(path, dead=await self.mounts.dead(path))
