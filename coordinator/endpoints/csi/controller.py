"""CSI Controller: the wire before the calls."""

# ruff: noqa: N802  (methods are named by the specification)

from typing import Any

from google.protobuf.wrappers_pb2 import Int64Value

from coordinator.core.csi.names import check_text
from coordinator.core.csi.publishing import PublishWish
from coordinator.core.csi.sizes import SMALLEST_BYTES
from coordinator.core.csi.snapshots import parse_snapshot
from coordinator.endpoints.csi.deadline import Deadline
from coordinator.endpoints.csi.lookups import Lookups
from coordinator.endpoints.csi.publishing import PublishCalls
from coordinator.endpoints.csi.snapshots import SnapshotCalls
from coordinator.endpoints.csi.volumes import VolumeCalls
from coordinator.endpoints.csi.wire import (
    capabilities_from,
    capability_from,
    size_from,
    snapshot_to,
    volume_from,
    volume_to,
)
from proto.csi.v1 import controller_pb2 as pb
from proto.csi.v1 import csi_pb2_grpc, snapshot_pb2

_RPC = pb.ControllerServiceCapability.RPC

CAPABILITIES = (
    _RPC.CREATE_DELETE_VOLUME,
    _RPC.PUBLISH_UNPUBLISH_VOLUME,
    _RPC.LIST_VOLUMES,
    _RPC.GET_CAPACITY,
    _RPC.CREATE_DELETE_SNAPSHOT,
    _RPC.LIST_SNAPSHOTS,
    _RPC.CLONE_VOLUME,
    _RPC.PUBLISH_READONLY,
    _RPC.EXPAND_VOLUME,
    _RPC.LIST_VOLUMES_PUBLISHED_NODES,
    _RPC.VOLUME_CONDITION,
    _RPC.GET_VOLUME,
    _RPC.SINGLE_NODE_MULTI_WRITER,
    _RPC.MODIFY_VOLUME,
    _RPC.GET_SNAPSHOT,
)


class ControllerService(csi_pb2_grpc.ControllerServicer):
    """Every RPC of the service.

    Args:
        volumes, publishing, snapshots: what changes something.
        lookups: what does not.
    """

    def __init__(
        self, volumes: VolumeCalls, publishing: PublishCalls, snapshots: SnapshotCalls, lookups: Lookups
    ) -> None:
        self._volumes = volumes
        self._publishing = publishing
        self._snapshots = snapshots
        self._lookups = lookups

    async def CreateVolume(self, request: pb.CreateVolumeRequest, context: Any) -> pb.CreateVolumeResponse:
        made = await self._volumes.create(volume_from(request), Deadline.of(context))
        return pb.CreateVolumeResponse(volume=volume_to(made, self._volumes.pools_of(made)))

    async def DeleteVolume(self, request: pb.DeleteVolumeRequest, context: Any) -> pb.DeleteVolumeResponse:
        await self._volumes.delete(request.volume_id, Deadline.of(context))
        return pb.DeleteVolumeResponse()

    async def ControllerPublishVolume(
        self, request: pb.ControllerPublishVolumeRequest, context: Any
    ) -> pb.ControllerPublishVolumeResponse:
        wish = PublishWish(
            volume_id=request.volume_id,
            node_id=request.node_id,
            capability=capability_from(request.volume_capability),
            readonly=request.readonly,
        )
        told = await self._publishing.publish(wish, Deadline.of(context))
        return pb.ControllerPublishVolumeResponse(publish_context=told)

    async def ControllerUnpublishVolume(
        self, request: pb.ControllerUnpublishVolumeRequest, context: Any
    ) -> pb.ControllerUnpublishVolumeResponse:
        await self._publishing.unpublish(request.volume_id, request.node_id, Deadline.of(context))
        return pb.ControllerUnpublishVolumeResponse()

    async def ValidateVolumeCapabilities(
        self, request: pb.ValidateVolumeCapabilitiesRequest, _context: Any
    ) -> pb.ValidateVolumeCapabilitiesResponse:
        asked = capabilities_from(request.volume_capabilities)
        against = await self._lookups.validate(request, asked)
        if against:
            return pb.ValidateVolumeCapabilitiesResponse(message=against)
        confirmed = pb.ValidateVolumeCapabilitiesResponse.Confirmed(
            volume_context=request.volume_context,
            volume_capabilities=request.volume_capabilities,
            parameters=request.parameters,
            mutable_parameters=request.mutable_parameters,
        )
        return pb.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)

    async def ListVolumes(self, request: pb.ListVolumesRequest, _context: Any) -> pb.ListVolumesResponse:
        entries, token = self._lookups.list_volumes(request.max_entries, request.starting_token)
        return pb.ListVolumesResponse(entries=entries, next_token=token)

    async def GetCapacity(self, request: pb.GetCapacityRequest, context: Any) -> pb.GetCapacityResponse:
        asked = capabilities_from(request.volume_capabilities)
        segments = dict(request.accessible_topology.segments) if request.HasField("accessible_topology") else None
        found = await self._lookups.capacity(asked, request.parameters, segments, Deadline.of(context))
        answer = pb.GetCapacityResponse(available_capacity=found, minimum_volume_size=Int64Value(value=SMALLEST_BYTES))
        answer.maximum_volume_size.value = found
        return answer

    async def ControllerGetCapabilities(
        self, _request: pb.ControllerGetCapabilitiesRequest, _context: Any
    ) -> pb.ControllerGetCapabilitiesResponse:
        found = [pb.ControllerServiceCapability(rpc=_RPC(type=one)) for one in CAPABILITIES]
        return pb.ControllerGetCapabilitiesResponse(capabilities=found)

    async def CreateSnapshot(
        self, request: snapshot_pb2.CreateSnapshotRequest, context: Any
    ) -> snapshot_pb2.CreateSnapshotResponse:
        wish = parse_snapshot(request.name, request.source_volume_id, request.parameters)
        (made,) = await self._snapshots.create(wish, Deadline.of(context))
        return snapshot_pb2.CreateSnapshotResponse(snapshot=snapshot_to(made))

    async def DeleteSnapshot(
        self, request: snapshot_pb2.DeleteSnapshotRequest, context: Any
    ) -> snapshot_pb2.DeleteSnapshotResponse:
        await self._snapshots.delete(request.snapshot_id, Deadline.of(context))
        return snapshot_pb2.DeleteSnapshotResponse()

    async def ListSnapshots(
        self, request: snapshot_pb2.ListSnapshotsRequest, _context: Any
    ) -> snapshot_pb2.ListSnapshotsResponse:
        found, token = self._lookups.list_snapshots(
            request.max_entries, request.starting_token, request.snapshot_id, request.source_volume_id
        )
        entries = [snapshot_pb2.ListSnapshotsResponse.Entry(snapshot=snapshot_to(one)) for one in found]
        return snapshot_pb2.ListSnapshotsResponse(entries=entries, next_token=token)

    async def GetSnapshot(
        self, request: snapshot_pb2.GetSnapshotRequest, _context: Any
    ) -> snapshot_pb2.GetSnapshotResponse:
        found = await self._snapshots.known(request.snapshot_id)
        return snapshot_pb2.GetSnapshotResponse(snapshot=snapshot_to(found))

    async def ControllerExpandVolume(
        self, request: pb.ControllerExpandVolumeRequest, context: Any
    ) -> pb.ControllerExpandVolumeResponse:
        """The node has to look, too: at its file system, or at the size of its device."""
        named = request.HasField("volume_capability")
        capability = capability_from(request.volume_capability) if named else None
        size = size_from(request.capacity_range)
        found = await self._volumes.expand(request.volume_id, size, capability, Deadline.of(context))
        return pb.ControllerExpandVolumeResponse(capacity_bytes=found, node_expansion_required=True)

    async def ControllerGetVolume(
        self, request: pb.ControllerGetVolumeRequest, _context: Any
    ) -> pb.ControllerGetVolumeResponse:
        check_text(request.volume_id, "volume_id")
        return await self._lookups.volume(request.volume_id)

    async def ControllerModifyVolume(
        self, request: pb.ControllerModifyVolumeRequest, context: Any
    ) -> pb.ControllerModifyVolumeResponse:
        await self._volumes.modify(request.volume_id, request.mutable_parameters, Deadline.of(context))
        return pb.ControllerModifyVolumeResponse()
