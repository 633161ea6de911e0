"""CSI messages as our model has them, and what is wrong with them by field."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from csi_plugin.node.model import AccessMode, AccessType, Capability, DiskIdentity, FileSystem, HostDriver, Staging
from csi_plugin.node.protocols import Room, Usage
from csi_plugin.node.upkeep import VolumeState
from proto.csi.v1 import node_pb2, volume_pb2
from proto.errors import DpuError
from proto.reasons import Reason

SERIAL = "dpupool.io/serial"
NGUID = "dpupool.io/nguid"
PCI_ADDRESS = "dpupool.io/pci-address"
SLOT = "dpupool.io/slot"
"""Keys of the publish context."""
DRIVER = "dpupool.io/driver"
"""Key of the volume context: the kernel driver that the disk's PCI function is given to."""

LONGEST_ID_BYTES = 128


def volume_id_of(volume_id: str) -> str:
    """A volume's id.

    Raises:
        DpuError: INVALID.
    """
    if not volume_id:
        raise _missing("volume_id")
    if len(volume_id.encode()) > LONGEST_ID_BYTES:
        message = f"the id has more than {LONGEST_ID_BYTES} bytes"
        raise DpuError(Reason.INVALID, message, field="volume_id", remedy="give one that CreateVolume answered")
    return volume_id


def path_of(path: str, field: str) -> str:
    """An absolute path without detours, as the kernel's table of mounts says it.

    Raises:
        DpuError: INVALID.
    """
    if not path:
        raise _missing(field)
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts or len(pure.parts) < 2 or "\0" in path:
        message = f"{path!r} is no absolute path below /"
        raise DpuError(Reason.INVALID, message, field=field, remedy="give one without '..'")
    return str(pure)


def place_of(path: str, field: str) -> str:
    """As `path_of`, for a path where something should be already.

    Raises:
        DpuError: INVALID, there is none; NOT_FOUND, nothing can be at such a path.
    """
    try:
        return path_of(path, field)
    except DpuError as error:
        if not path:
            raise
        raise DpuError(Reason.NOT_FOUND, error.message, field=field, remedy=error.remedy) from error


def capability_of(wire: volume_pb2.VolumeCapability | None) -> Capability:
    """How a volume is wanted.

    Args:
        wire: None when the message has none.

    Raises:
        DpuError: INVALID, it says too little; WRONG_STATE, no node of this kind can do it.
    """
    field = "volume_capability"
    if wire is None:
        raise _missing(field)
    kind = wire.WhichOneof("access_type")
    if kind is None:
        raise _missing(f"{field}.access_type")
    if not wire.access_mode.mode or wire.access_mode.mode not in {mode.value for mode in AccessMode}:
        raise _missing(f"{field}.access_mode.mode")
    mode = AccessMode(wire.access_mode.mode)
    if kind == "block":
        return Capability(access=AccessType.BLOCK, mode=mode)
    if mode.written_elsewhere:
        message = f"{mode.name} would have two nodes write to one file system, which destroys it"
        remedy = "use a mode of a single writer, or a block volume"
        raise DpuError(Reason.WRONG_STATE, message, field=f"{field}.access_mode.mode", remedy=remedy)
    if wire.mount.volume_mount_group:
        message = "VOLUME_MOUNT_GROUP is not stated: the caller changes the group of files itself"
        remedy = "leave it empty; with Kubernetes use fsGroupPolicy: File"
        raise DpuError(Reason.WRONG_STATE, message, field=f"{field}.mount.volume_mount_group", remedy=remedy)
    return Capability(
        access=AccessType.MOUNT,
        mode=mode,
        file_system=_file_system(wire.mount.fs_type),
        mount_flags=tuple(wire.mount.mount_flags),
    )


def staging_of(request: node_pb2.NodeStageVolumeRequest) -> Staging:
    """What NodeStageVolume asks for.

    Raises:
        DpuError: INVALID, WRONG_STATE.
    """
    path = path_of(request.staging_target_path, "staging_target_path")
    capability = capability_of(request.volume_capability if request.HasField("volume_capability") else None)
    driver = _driver(request.volume_context)
    if driver is not None and capability.access is AccessType.MOUNT:
        message = f"a disk that {driver.value} has cannot be mounted by this host"
        raise DpuError(Reason.WRONG_STATE, message, field="volume_capability", remedy="ask for a block volume")
    return Staging(path=path, capability=capability, disk=_disk(request.publish_context), driver=driver)


def range_of(wire: volume_pb2.CapacityRange) -> tuple[int, int]:
    """Required and limit in bytes; 0 for none.

    Raises:
        DpuError: INVALID, OUT_OF_RANGE.
    """
    if wire.required_bytes < 0 or wire.limit_bytes < 0:
        raise DpuError(Reason.INVALID, "a size is negative", field="capacity_range", remedy="give bytes")
    if wire.limit_bytes and wire.required_bytes > wire.limit_bytes:
        message = f"{wire.required_bytes} bytes are required, and {wire.limit_bytes} are the limit"
        raise DpuError(Reason.OUT_OF_RANGE, message, field="capacity_range", remedy="raise the limit")
    return wire.required_bytes, wire.limit_bytes


def stats_to_wire(state: VolumeState) -> node_pb2.NodeGetVolumeStatsResponse:
    """Bytes, inodes where they are counted, and the condition."""
    unit = node_pb2.VolumeUsage.Unit
    usage: list[node_pb2.VolumeUsage] = []
    if state.usage is not None:
        usage = _usages(state.usage)
    elif state.size_bytes:
        usage = [node_pb2.VolumeUsage(total=state.size_bytes, unit=unit.BYTES)]
    condition = volume_pb2.VolumeCondition(abnormal=state.abnormal, message=state.sentence)
    return node_pb2.NodeGetVolumeStatsResponse(usage=usage, volume_condition=condition)


def _usages(usage: Usage) -> list[node_pb2.VolumeUsage]:
    unit = node_pb2.VolumeUsage.Unit
    found = [_usage(usage.space, unit.BYTES)]
    if usage.inodes.total:
        found.append(_usage(usage.inodes, unit.INODES))
    return found


def _usage(room: Room, unit: node_pb2.VolumeUsage.Unit) -> node_pb2.VolumeUsage:
    return node_pb2.VolumeUsage(available=room.available, total=room.total, used=room.total - room.free, unit=unit)


def _disk(context: Mapping[str, str]) -> DiskIdentity:
    serial = context.get(SERIAL, "")
    if not serial or "/" in serial:
        message = f"{SERIAL} does not say which disk it is"
        remedy = "pass on what ControllerPublishVolume answered"
        raise DpuError(Reason.INVALID, message, field="publish_context", remedy=remedy)
    return DiskIdentity(
        serial=serial,
        nguid=context.get(NGUID, ""),
        pci_address=context.get(PCI_ADDRESS, ""),
        slot=context.get(SLOT, ""),
    )


def _driver(context: Mapping[str, str]) -> HostDriver | None:
    name = context.get(DRIVER, "")
    if not name:
        return None
    try:
        return HostDriver(name)
    except ValueError as error:
        known = ", ".join(driver.value for driver in HostDriver)
        message = f"{DRIVER} {name!r} is not known"
        raise DpuError(Reason.INVALID, message, field="volume_context", remedy=f"use {known}, or none") from error


def _file_system(name: str) -> FileSystem | None:
    if not name:
        return None
    try:
        return FileSystem(name)
    except ValueError as error:
        known = ", ".join(file_system.value for file_system in FileSystem)
        message = f"file systems of type {name!r} are not made here"
        field = "volume_capability.mount.fs_type"
        raise DpuError(Reason.WRONG_STATE, message, field=field, remedy=f"use {known}") from error


def _missing(field: str) -> DpuError:
    return DpuError(Reason.INVALID, "it is missing", field=field, remedy="give it")
