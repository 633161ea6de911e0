"""CSI GroupController: the wire before the calls."""

# ruff: noqa: N802  (methods are named by the specification)

from typing import Any

from coordinator.core.csi.snapshots import parse_group
from coordinator.endpoints.csi.deadline import Deadline
from coordinator.endpoints.csi.snapshots import SnapshotCalls
from coordinator.endpoints.csi.wire import group_to
from proto.csi.v1 import csi_pb2_grpc
from proto.csi.v1 import snapshot_pb2 as pb

_RPC = pb.GroupControllerServiceCapability.RPC


class GroupControllerService(csi_pb2_grpc.GroupControllerServicer):
    """Every RPC of the service.

    Args:
        snapshots: what cuts and removes.
    """

    def __init__(self, snapshots: SnapshotCalls) -> None:
        self._snapshots = snapshots

    async def GroupControllerGetCapabilities(
        self, _request: pb.GroupControllerGetCapabilitiesRequest, _context: Any
    ) -> pb.GroupControllerGetCapabilitiesResponse:
        able = pb.GroupControllerServiceCapability(rpc=_RPC(type=_RPC.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT))
        return pb.GroupControllerGetCapabilitiesResponse(capabilities=[able])

    async def CreateVolumeGroupSnapshot(
        self, request: pb.CreateVolumeGroupSnapshotRequest, context: Any
    ) -> pb.CreateVolumeGroupSnapshotResponse:
        wish = parse_group(request.name, request.source_volume_ids, request.parameters)
        made = await self._snapshots.create(wish, Deadline.of(context))
        return pb.CreateVolumeGroupSnapshotResponse(group_snapshot=group_to(wish.id, made))

    async def DeleteVolumeGroupSnapshot(
        self, request: pb.DeleteVolumeGroupSnapshotRequest, context: Any
    ) -> pb.DeleteVolumeGroupSnapshotResponse:
        await self._snapshots.delete_group(request.group_snapshot_id, request.snapshot_ids, Deadline.of(context))
        return pb.DeleteVolumeGroupSnapshotResponse()

    async def GetVolumeGroupSnapshot(
        self, request: pb.GetVolumeGroupSnapshotRequest, _context: Any
    ) -> pb.GetVolumeGroupSnapshotResponse:
        found = self._snapshots.known_group(request.group_snapshot_id, request.snapshot_ids)
        return pb.GetVolumeGroupSnapshotResponse(group_snapshot=group_to(request.group_snapshot_id, found))
