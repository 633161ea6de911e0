"""What is done with a volume that is in use: how full it is, how it is, and room for more."""

from dataclasses import dataclass

from csi_plugin.node.host import Host
from csi_plugin.node.model import AccessType, FileSystem, Staging
from csi_plugin.node.protocols import Usage
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class VolumeState:
    """How a volume is.

    Attributes:
        usage: of its file system; None for a disk, or where the file system does not answer.
        size_bytes: of a disk; 0 for a file system.
        abnormal: somebody should look.
        sentence: what was seen.
    """

    usage: Usage | None
    size_bytes: int
    abnormal: bool
    sentence: str


class Upkeep:
    """Looks after volumes in use.

    Args:
        host: where.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def state(self, volume_id: str, path: str) -> VolumeState:
        """How the volume is at a path where it is staged or published.

        Raises:
            DpuError: NOT_FOUND, it is not there.
        """
        staging = await self._here(volume_id, path)
        if staging.capability.access is AccessType.BLOCK:
            return await self._disk_state(staging)
        entry = await self._host.mounts.at(path)
        trouble = await self._trouble(staging, entry.device if entry is not None else "")
        if trouble or await self._host.mounts.dead(path):
            sentence = trouble or "its disk is gone, or answers with errors"
            return VolumeState(None, 0, abnormal=True, sentence=sentence)
        try:
            usage = await self._host.mounts.usage(path)
        except DpuError as error:
            return VolumeState(None, 0, abnormal=True, sentence=str(error))
        if entry is not None and entry.broken:
            sentence = "the kernel made the file system read-only after an error"
            return VolumeState(usage, 0, abnormal=True, sentence=sentence)
        return VolumeState(usage, 0, abnormal=False, sentence="mounted, and it answers")

    async def expand(self, volume_id: str, path: str, required_bytes: int, limit_bytes: int) -> int:
        """Have a volume's file system fill its disk, once the disk has grown.

        Returns:
            Size of the disk in bytes.

        Raises:
            DpuError: NOT_FOUND, it is not there; UNAVAILABLE, the disk has not grown yet; OUT_OF_RANGE, it is larger
                than the limit; WRONG_STATE, it is mounted read-only.
        """
        staging = await self._here(volume_id, path)
        device = await self._host.discovery.grown(staging.disk, required_bytes, self._host.disk_wait_s)
        if limit_bytes and device.size_bytes > limit_bytes:
            message = f"disk {device.name} has {device.size_bytes} bytes, more than {limit_bytes}"
            raise DpuError(
                Reason.OUT_OF_RANGE, message, field="capacity_range.limit_bytes", remedy="a volume cannot shrink"
            )
        if staging.capability.access is AccessType.BLOCK:
            return device.size_bytes
        entry = await self._host.mounts.at(staging.path)
        if entry is None:
            message = f"nothing is mounted at {staging.path}"
            raise DpuError(Reason.WRONG_STATE, message, field="staging_target_path", remedy="stage it again")
        if entry.read_only:
            message = f"{staging.path} is mounted read-only, and cannot grow"
            raise DpuError(Reason.WRONG_STATE, message, field="volume_path", remedy="stage it for writing")
        await self._host.file_systems.grow(device, FileSystem(entry.kind), staging.path)
        return device.size_bytes

    async def _trouble(self, staging: Staging, number: str) -> str:
        """What is wrong with a disk; empty for nothing.

        Args:
            number: ``major:minor`` that it must have; empty for any.
        """
        try:
            device = await self._host.discovery.look(staging.disk)
        except DpuError as error:
            return str(error)
        if device is None or number not in {"", device.number}:
            return f"the disk with {staging.disk} went away"
        if not await self._host.disks.answers(device):
            return f"disk {device.name} does not answer a read"
        return ""

    async def _here(self, volume_id: str, path: str) -> Staging:
        record = self._host.records.get(volume_id)
        staging = record.staging
        known = staging is not None and (path == staging.path or path in record.publications)
        if staging is not None and known:
            bare = path == staging.path and staging.capability.access is AccessType.BLOCK
            if bare or await self._host.mounts.at(path) is not None:
                return staging
        message = f"volume {volume_id} is not at {path}"
        raise DpuError(Reason.NOT_FOUND, message, field="volume_path", remedy="stage and publish it first")

    async def _disk_state(self, staging: Staging) -> VolumeState:
        if staging.driver is not None:
            return VolumeState(None, 0, abnormal=False, sentence=f"the disk is {staging.driver.value}'s")
        trouble = await self._trouble(staging, "")
        device = await self._host.discovery.look(staging.disk) if not trouble else None
        if device is None:
            return VolumeState(None, 0, abnormal=True, sentence=trouble or f"the disk with {staging.disk} went away")
        return VolumeState(None, device.size_bytes, abnormal=False, sentence=f"disk {device.name} is here")
