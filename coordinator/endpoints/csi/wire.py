"""Requests and answers between the wire and the decisions."""

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from coordinator.core.csi.capabilities import AccessMode, AccessType, Capability
from coordinator.core.csi.publishing import published_nodes
from coordinator.core.csi.sizes import SizeRange
from coordinator.core.csi.sources import Source, SourceKind
from coordinator.core.csi.topology import POOL_KEY, Requirement
from coordinator.core.csi.volumes import BACKEND_CONTEXT, VolumeRequest
from coordinator.core.objects.meta import moment
from coordinator.core.objects.storage import Attachment, Snapshot, Volume
from proto.csi.v1 import controller_pb2, snapshot_pb2, volume_pb2


def capability_from(given: volume_pb2.VolumeCapability) -> Capability:
    """A capability from the wire; what is absent is UNKNOWN or NONE, and numbers of later versions are UNKNOWN."""
    modes = volume_pb2.VolumeCapability.AccessMode.Mode
    number = given.access_mode.mode
    name = modes.Name(number) if number in modes.values() else AccessMode.UNKNOWN.value
    kind = AccessType(given.WhichOneof("access_type") or AccessType.NONE.value)
    return Capability(mode=AccessMode(name), type=kind, fs_type=given.mount.fs_type)


def capabilities_from(given: Iterable[volume_pb2.VolumeCapability]) -> list[Capability]:
    """Capabilities from the wire."""
    return [capability_from(one) for one in given]


def size_from(given: volume_pb2.CapacityRange) -> SizeRange:
    """A range of capacities from the wire."""
    return SizeRange(required_bytes=given.required_bytes, limit_bytes=given.limit_bytes)


def volume_from(request: controller_pb2.CreateVolumeRequest) -> VolumeRequest:
    """CreateVolume's arguments, secrets aside."""
    needed = request.accessibility_requirements
    return VolumeRequest(
        name=request.name,
        size=size_from(request.capacity_range),
        capabilities=capabilities_from(request.volume_capabilities),
        parameters=dict(request.parameters),
        mutable=dict(request.mutable_parameters),
        content=_content_from(request.volume_content_source),
        topology=Requirement(
            requisite=[dict(one.segments) for one in needed.requisite],
            preferred=[dict(one.segments) for one in needed.preferred],
        ),
    )


def _content_from(given: volume_pb2.VolumeContentSource) -> Source:
    match given.WhichOneof("type"):
        case "snapshot":
            return Source(SourceKind.SNAPSHOT, given.snapshot.snapshot_id)
        case "volume":
            return Source(SourceKind.VOLUME, given.volume.volume_id)
        case _:
            return Source()


def volume_to(volume: Volume, pools: Sequence[str]) -> volume_pb2.Volume:
    """A volume for the wire.

    Args:
        volume: the object.
        pools: from which it can be used; empty for everywhere.
    """
    answer = volume_pb2.Volume(
        volume_id=volume.metadata.name,
        capacity_bytes=volume.status.size_bytes,
        volume_context={BACKEND_CONTEXT: volume.spec.backend},
        accessible_topology=[volume_pb2.Topology(segments={POOL_KEY: pool}) for pool in pools],
    )
    source = volume.spec.source
    if source.snapshot_ref:
        answer.content_source.snapshot.snapshot_id = source.snapshot_ref.name
    elif source.volume_ref:
        answer.content_source.volume.volume_id = source.volume_ref.name
    return answer


def entry_to(
    volume: Volume, pools: Sequence[str], attachments: Sequence[Attachment]
) -> controller_pb2.ListVolumesResponse.Entry:
    """A volume of a list."""
    return controller_pb2.ListVolumesResponse.Entry(
        volume=volume_to(volume, pools),
        status=controller_pb2.ListVolumesResponse.VolumeStatus(
            published_node_ids=published_nodes(attachments), volume_condition=condition_to(volume)
        ),
    )


def found_to(
    volume: Volume, pools: Sequence[str], attachments: Sequence[Attachment]
) -> controller_pb2.ControllerGetVolumeResponse:
    """One volume with its status."""
    return controller_pb2.ControllerGetVolumeResponse(
        volume=volume_to(volume, pools),
        status=controller_pb2.ControllerGetVolumeResponse.VolumeStatus(
            published_node_ids=published_nodes(attachments), volume_condition=condition_to(volume)
        ),
    )


def condition_to(volume: Volume) -> volume_pb2.VolumeCondition:
    """Health of a volume: its own, and that of the disks by which nodes see it."""
    health = volume.status.condition
    if volume.metadata.deleting:
        return volume_pb2.VolumeCondition(abnormal=True, message="it is being deleted")
    return volume_pb2.VolumeCondition(abnormal=health.abnormal, message=health.message or "in order")


def snapshot_to(snapshot: Snapshot) -> snapshot_pb2.Snapshot:
    """A snapshot for the wire."""
    return snapshot_pb2.Snapshot(
        snapshot_id=snapshot.metadata.name,
        source_volume_id=snapshot.spec.volume_ref.name,
        size_bytes=snapshot.status.size_bytes,
        creation_time=time_to(snapshot.status.created_at),
        ready_to_use=snapshot.status.ready_to_use,
        group_snapshot_id=snapshot.spec.group_id,
    )


def group_to(group: str, snapshots: Sequence[Snapshot]) -> snapshot_pb2.VolumeGroupSnapshot:
    """A group for the wire; it is as old as its first snapshot."""
    times = sorted(one.status.created_at for one in snapshots if one.status.created_at)
    return snapshot_pb2.VolumeGroupSnapshot(
        group_snapshot_id=group,
        snapshots=[snapshot_to(one) for one in snapshots],
        creation_time=time_to(times[0] if times else ""),
        ready_to_use=all(one.status.ready_to_use for one in snapshots),
    )


def time_to(text: str) -> Timestamp | None:
    """An instant for the wire."""
    if not text:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment(text))
    return stamp


def id_of(request: Any) -> str:
    """What a request is about, for the log: an id or a name."""
    for field in ("volume_id", "snapshot_id", "group_snapshot_id", "name"):
        if getattr(request, field, ""):
            return str(getattr(request, field))
    return ""
