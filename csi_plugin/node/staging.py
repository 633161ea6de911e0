"""Staging: a disk becomes a mounted file system, or is proven to be there. Intent first, the kernel judges."""

import msgspec

from csi_plugin.node.host import Host
from csi_plugin.node.model import AccessType, Device, FileSystem, HostDriver, Staging, VolumeRecord
from proto.errors import DpuError
from proto.reasons import Reason


class Stager:
    """Stages and unstages; repeats go on where an earlier call, or an earlier process, left off.

    Args:
        host: where.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def stage(self, volume_id: str, wanted: Staging) -> str:
        """Bring a volume to its staging path.

        Returns:
            A sentence for the log.

        Raises:
            DpuError: ALREADY_EXISTS, it is staged there otherwise; WRONG_STATE, it is staged elsewhere, the disk
                holds something else, or the capability is not possible; DEADLINE, the disk did not come.
        """
        record = self._host.records.get(volume_id)
        known = record.staging
        if known is not None and not known.asks_the_same(wanted):
            await self._refuse_when_staged(volume_id, known, wanted)
        staging = _resumed(known, wanted)
        if known is None or msgspec.structs.replace(known, done=False, disk=wanted.disk) != staging:
            record = self._note(record, staging)
        if staging.driver is not None:
            return await self._give(record, staging, staging.driver)
        device = await self._host.discovery.wait(staging.disk, self._host.disk_wait_s)
        if staging.capability.access is AccessType.BLOCK:
            await self._host.disks.protect(device, on=staging.capability.mode.reader_only)
            self._note(record, msgspec.structs.replace(staging, done=True))
            return f"disk {device.name} is here"
        return await self._mount(record, staging, device, again=known is not None and known.path == wanted.path)

    async def unstage(self, volume_id: str, path: str) -> str:
        """Let go of a volume; one that is not staged is fine.

        Raises:
            DpuError: IN_USE, it is still published, or something on it is open.
        """
        record = self._host.records.get(volume_id)
        published = [target for target in sorted(record.publications) if await self._host.mounts.at(target) is not None]
        if published:
            message = f"volume {volume_id} is still published at {', '.join(published)}"
            raise DpuError(Reason.IN_USE, message, field="volume_id", remedy="unpublish it first")
        await self._host.clear(path)
        staging = record.staging
        if staging is None or staging.path != path:
            return "nothing was staged there"
        if staging.function:
            await self._host.functions.give_back(staging.function)
        elif staging.capability.access is AccessType.BLOCK:
            await self._unprotect(staging)
        await self._host.discovery.release(staging.disk)
        self._host.records.put(VolumeRecord(volume_id=volume_id))
        return "unstaged"

    async def _unprotect(self, staging: Staging) -> None:
        """Write protection outlives its reason: the next to stage this disk may be one who writes."""
        device = await self._host.discovery.look(staging.disk)
        if device is not None:
            await self._host.disks.protect(device, on=False)

    async def _refuse_when_staged(self, volume_id: str, known: Staging, wanted: Staging) -> None:
        """An intent that came to nothing may be replaced."""
        if known.capability.access is AccessType.MOUNT and await self._host.mounts.at(known.path) is None:
            return
        if known.capability.access is AccessType.BLOCK and not known.done:
            return
        if known.path == wanted.path:
            message = f"volume {volume_id} is staged at {known.path} with another capability or disk"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="volume_capability", remedy="unstage it first")
        message = f"volume {volume_id} is staged at {known.path}"
        raise DpuError(Reason.WRONG_STATE, message, field="staging_target_path", remedy="unstage it there first")

    def _note(self, record: VolumeRecord, staging: Staging) -> VolumeRecord:
        noted = msgspec.structs.replace(record, staging=staging)
        self._host.records.put(noted)
        return noted

    async def _give(self, record: VolumeRecord, staging: Staging, driver: HostDriver) -> str:
        """The function's address is written down while the disk can still be asked for it."""
        if not staging.function:
            device = await self._host.discovery.wait(staging.disk, self._host.disk_wait_s)
            if not device.pci_address:
                message = f"disk {device.name} is no PCI function, so that {driver.value} cannot have it"
                raise DpuError(Reason.WRONG_STATE, message, field="volume_context", remedy="leave the driver out")
            staging = msgspec.structs.replace(staging, function=device.pci_address)
            record = self._note(record, staging)
        node = await self._host.functions.give(staging.function, driver)
        self._note(record, msgspec.structs.replace(staging, done=True))
        return f"PCI function {staging.function} has the driver {driver.value}, users open {node}"

    async def _mount(self, record: VolumeRecord, staging: Staging, device: Device, *, again: bool) -> str:
        mounts = self._host.mounts
        seen = await mounts.at(staging.path)
        if seen is not None and (seen.device != device.number or await mounts.dead(staging.path)):
            await self._clear_former(staging.path, ours=again)
            seen = None
        read_only = _reads_only(staging, device)
        if seen is None:
            file_system = await self._prepare(staging, device, read_only=read_only)
            await mounts.make_target(staging.path, AccessType.MOUNT)
            await mounts.mount(device, staging.path, file_system, _flags(staging, device, file_system))
        else:
            file_system = _agreed(seen.kind, staging.capability.file_system, device)
        if not read_only:
            await self._host.file_systems.grow(device, file_system, staging.path)
        self._note(record, msgspec.structs.replace(staging, done=True))
        return f"{file_system.value} of {device.name} is {'mounted already' if seen else 'mounted'} at {staging.path}"

    async def _clear_former(self, path: str, *, ours: bool) -> None:
        """A mount whose disk went away, maybe to come back as another, is of no use to anybody."""
        if not ours and not await self._host.mounts.dead(path):
            message = f"another file system is mounted at {path}"
            raise DpuError(Reason.WRONG_STATE, message, field="staging_target_path", remedy="unmount it")
        await self._host.mounts.unmount(path, dead=True)

    async def _prepare(self, staging: Staging, device: Device, *, read_only: bool) -> FileSystem:
        """A file system that can be mounted: the one that is there, or a new one where there is nothing."""
        wanted = staging.capability.file_system
        signature = await self._host.file_systems.signature(device)
        if signature:
            file_system = _agreed(signature, wanted, device)
            if not read_only:
                await self._host.file_systems.check(device, file_system)
            return file_system
        if read_only:
            message = f"disk {device.name} holds no file system, and may only be read"
            raise DpuError(Reason.WRONG_STATE, message, field="volume_capability", remedy="write to it first")
        file_system = wanted or self._host.default_file_system
        await self._host.file_systems.make(device, file_system)
        return file_system


def _resumed(known: Staging | None, wanted: Staging) -> Staging:
    """A request, with what an earlier call for the same disk got done of it."""
    if known is None or known.disk.serial != wanted.disk.serial or wanted.driver is None:
        return wanted
    return msgspec.structs.replace(wanted, function=known.function)


def _agreed(signature: str, wanted: FileSystem | None, device: Device) -> FileSystem:
    known = {file_system.value: file_system for file_system in FileSystem}
    found = known.get(signature)
    if found is None:
        message = f"disk {device.name} holds {signature}, which is no file system of this node; it is left as it is"
        raise DpuError(
            Reason.WRONG_STATE, message, field="volume_capability", remedy="use the volume as a block device"
        )
    if wanted is not None and wanted is not found:
        message = f"disk {device.name} holds {found.value}, not {wanted.value}; it is left as it is"
        raise DpuError(Reason.WRONG_STATE, message, field="volume_capability.mount.fs_type", remedy="ask for that one")
    return found


def _reads_only(staging: Staging, device: Device) -> bool:
    words = {word for flag in staging.capability.mount_flags for word in flag.split(",")}
    return staging.capability.mode.reader_only or device.read_only or "ro" in words


def _flags(staging: Staging, device: Device, file_system: FileSystem) -> tuple[str, ...]:
    flags = [*staging.capability.mount_flags]
    if _reads_only(staging, device):
        flags.append("ro")
    if device.read_only:  # a journal cannot be replayed there
        flags.append("noload" if file_system is FileSystem.EXT4 else "norecovery")
    if file_system is FileSystem.XFS:  # a clone has the id of its source, and both may be staged here
        flags.append("nouuid")
    return tuple(flags)
