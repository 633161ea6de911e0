"""Publishing: a staged volume appears at a workload's path, and goes from there."""

from dataclasses import dataclass

import msgspec

from csi_plugin.node.host import Host
from csi_plugin.node.model import AccessType, Capability, Device, Publication, Staging, VolumeRecord
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass(frozen=True, slots=True)
class _Source:
    """What is shown: path, number of its disk, and the disk where it can be write-protected."""

    path: str
    number: str
    disk: Device | None = None


class Publisher:
    """Publishes and unpublishes; repeats go on where an earlier call, or an earlier process, left off.

    Args:
        host: where.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def publish(
        self, volume_id: str, staging_path: str, target: str, capability: Capability, *, read_only: bool
    ) -> str:
        """Show a staged volume at a path.

        Returns:
            A sentence for the log.

        Raises:
            DpuError: WRONG_STATE, it is not staged, or may not be at one more path; ALREADY_EXISTS, it is there with
                other arguments; UNAVAILABLE, its disk is away.
        """
        record = self._host.records.get(volume_id)
        staging = self._staged(record, staging_path, capability)
        source = await self._source(staging)
        wanted = Publication(capability=capability, read_only=read_only)
        access = capability.access
        here = await self._seen(target, access)
        if here == source.number:
            await self._refuse_other(target, record.publications.get(target), wanted)
        elif here:
            await self._clear_former(target, ours=target in record.publications)
        others = await self._others(record, target)
        _check_others(wanted, others)
        self._host.records.put(msgspec.structs.replace(record, publications=others | {target: wanted}))
        if here != source.number:
            await self._host.mounts.make_target(target, access)
            await self._host.mounts.bind(source.path, target)
        await self._protect(source, target, wanted)
        return f"{source.path} is shown at {target}"

    async def unpublish(self, volume_id: str, target: str) -> str:
        """Take a volume from a path, and the path itself away; none there is fine.

        Raises:
            DpuError: IN_USE, something there is open; WRONG_STATE, the path holds data of its own.
        """
        await self._host.clear(target)
        await self._host.mounts.remove_target(target)
        record = self._host.records.get(volume_id)
        if target in record.publications:
            rest = {path: publication for path, publication in record.publications.items() if path != target}
            self._host.records.put(msgspec.structs.replace(record, publications=rest))
        return f"nothing is shown at {target}"

    def _staged(self, record: VolumeRecord, staging_path: str, capability: Capability) -> Staging:
        staging = record.staging
        if staging is None or not staging.done or staging.path != staging_path:
            message = f"volume {record.volume_id} is not staged at {staging_path}"
            raise DpuError(Reason.WRONG_STATE, message, field="staging_target_path", remedy="stage it first")
        if staging.capability.access is not capability.access:
            message = f"volume {record.volume_id} is staged as {staging.capability.access.value}"
            remedy = "stage it as it is to be published"
            raise DpuError(Reason.WRONG_STATE, message, field="volume_capability", remedy=remedy)
        return staging

    async def _source(self, staging: Staging) -> _Source:
        if staging.capability.access is AccessType.MOUNT:
            seen = await self._host.mounts.at(staging.path)
            if seen is None or await self._host.mounts.dead(staging.path):
                what = "nothing is mounted" if seen is None else "the disk is gone that was mounted"
                message = f"{what} at {staging.path}"
                raise DpuError(Reason.WRONG_STATE, message, field="staging_target_path", remedy="stage it again")
            return _Source(staging.path, seen.device)
        if staging.driver is not None:
            node = await self._host.functions.give(staging.function, staging.driver)
            return _Source(node, await self._host.mounts.device_behind(node))
        device = await self._host.discovery.look(staging.disk)
        if device is None:
            message = f"the disk with {staging.disk} is away"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="look on the DPU whether it is attached to this host")
        return _Source(device.path, device.number, device)

    async def _seen(self, target: str, access: AccessType) -> str:
        """``major:minor`` of the disk that is shown at a path; empty for none."""
        entry = await self._host.mounts.at(target)
        if entry is None:
            return ""
        if access is AccessType.MOUNT:
            return entry.device
        return await self._host.mounts.device_behind(target) or entry.device

    async def _refuse_other(self, target: str, known: Publication | None, wanted: Publication) -> None:
        """Without a record the mount itself tells how it was asked for."""
        entry = await self._host.mounts.at(target)
        same = known == wanted if known is not None else entry is not None and entry.read_only == _protected(wanted)
        if not same:
            message = f"the volume is published at {target} with another capability or readonly"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="target_path", remedy="unpublish it there first")

    async def _clear_former(self, target: str, *, ours: bool) -> None:
        """What is left of a disk that went away may go; a living mount that we did not make is somebody's."""
        if not ours and not await self._host.mounts.dead(target):
            message = f"something else is mounted at {target}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="target_path", remedy="unmount it first")
        await self._host.mounts.unmount(target, dead=True)

    async def _others(self, record: VolumeRecord, target: str) -> dict[str, Publication]:
        """Publications at other paths that are really there; the rest did not live to see this boot."""
        return {
            path: publication
            for path, publication in record.publications.items()
            if path != target and await self._host.mounts.at(path) is not None
        }

    async def _protect(self, source: _Source, target: str, wanted: Publication) -> None:
        protected = _protected(wanted)
        if wanted.capability.access is AccessType.BLOCK:
            if source.disk is not None:
                await self._host.disks.protect(source.disk, on=protected)
            return
        entry = await self._host.mounts.at(target)
        if protected and entry is not None and not entry.read_only:
            await self._host.mounts.make_read_only(target)


def _protected(wanted: Publication) -> bool:
    return wanted.read_only or wanted.capability.mode.reader_only


def _check_others(wanted: Publication, others: dict[str, Publication]) -> None:
    for path, other in sorted(others.items()):
        if not (wanted.capability.mode.many_targets and other.capability.mode.many_targets):
            message = f"the volume is published at {path}, and its access mode allows one path"
            raise DpuError(Reason.WRONG_STATE, message, field="target_path", remedy="unpublish it there first")
        block = wanted.capability.access is AccessType.BLOCK
        if block and _protected(wanted) != _protected(other):
            message = f"the disk is published at {path} {'read-only' if _protected(other) else 'for writing'}"
            remedy = "write protection is the whole disk's: ask for the same"
            raise DpuError(Reason.WRONG_STATE, message, field="readonly", remedy=remedy)
