"""TargetService: volumes of a storage node."""

from typing import Any

from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.model.volume import Export
from dpu_daemon.service.credentials_wire import to_credentials
from dpu_daemon.service.gate import deadline_of
from dpu_daemon.service.storage_wire import from_target
from dpu_daemon.service.target_wire import (
    check_nqn,
    check_source,
    from_image,
    from_snapshot,
    from_volume,
    to_format,
    to_members,
    to_source,
)
from dpu_daemon.service.validation import check_generation, check_id, check_optional_id, check_size
from proto.dpu.v1 import storage_pb2, target_pb2, target_pb2_grpc
from proto.errors import DpuError
from proto.reasons import Reason


class TargetService(target_pb2_grpc.TargetServiceServicer):
    """Wire to engine and back; errors pass through to the gate.

    Args:
        engine: of this storage node.
    """

    def __init__(self, engine: StorageEngine) -> None:
        self._engine = engine

    async def ImportImage(  # noqa: N802
        self, request: target_pb2.ImportImageRequest, context: Any
    ) -> target_pb2.ImageInfo:
        image_id, source = check_id("image_id", request.image_id), check_source(request.source)
        image = await self._engine.images.register(image_id, source, to_format(request.format), deadline_of(context))
        return from_image(image)

    async def DeleteImage(  # noqa: N802
        self, request: target_pb2.DeleteImageRequest, context: Any
    ) -> target_pb2.DeleteImageResponse:
        await self._engine.images.unregister(check_id("image_id", request.image_id), deadline_of(context))
        return target_pb2.DeleteImageResponse()

    async def ListImages(  # noqa: N802
        self, _request: target_pb2.ListImagesRequest, _context: Any
    ) -> target_pb2.ListImagesResponse:
        return target_pb2.ListImagesResponse(images=[from_image(image) for image in self._engine.images.list()])

    async def CreateVolume(  # noqa: N802
        self, request: target_pb2.CreateVolumeRequest, context: Any
    ) -> target_pb2.VolumeInfo:
        view = await self._engine.volumes.create(
            check_id("volume_id", request.volume_id),
            check_size("size_bytes", request.size_bytes),
            to_source(request),
            deadline_of(context),
        )
        return from_volume(view)

    async def DeleteVolume(  # noqa: N802
        self, request: target_pb2.DeleteVolumeRequest, context: Any
    ) -> target_pb2.DeleteVolumeResponse:
        volume_id = check_id("volume_id", request.volume_id)
        outcome = await self._engine.volumes.delete(volume_id, deadline_of(context), shred=request.shred)
        return target_pb2.DeleteVolumeResponse(outcome=outcome)

    async def GetVolume(self, request: target_pb2.GetVolumeRequest, _context: Any) -> target_pb2.VolumeInfo:  # noqa: N802
        volume_id = check_id("volume_id", request.volume_id)
        views = await self._engine.volumes.views(volume_id)
        if not views:
            message = f"volume {volume_id} does not exist here"
            raise DpuError(Reason.NOT_FOUND, message, field="volume_id", remedy="list the volumes")
        return from_volume(views[0])

    async def ListVolumes(  # noqa: N802
        self, _request: target_pb2.ListVolumesRequest, _context: Any
    ) -> target_pb2.ListVolumesResponse:
        views = await self._engine.volumes.views()
        return target_pb2.ListVolumesResponse(volumes=[from_volume(view) for view in views])

    async def ResizeVolume(  # noqa: N802
        self, request: target_pb2.ResizeVolumeRequest, context: Any
    ) -> target_pb2.VolumeInfo:
        volume_id = check_id("volume_id", request.volume_id)
        size = check_size("size_bytes", request.size_bytes)
        return from_volume(await self._engine.volumes.resize(volume_id, size, deadline_of(context)))

    async def ExportVolume(  # noqa: N802
        self, request: target_pb2.ExportVolumeRequest, context: Any
    ) -> target_pb2.ExportInfo:
        asked = Export(
            generation=check_generation(request.generation),
            dpu=check_id("dpu", request.dpu),
            read_only=request.read_only,
            host_nqn=check_nqn("host_nqn", request.host_nqn),
            credentials=check_optional_id("credentials", request.credentials),
        )
        volume_id = check_id("volume_id", request.volume_id)
        served = await self._engine.exports.put_up(volume_id, asked, deadline_of(context))
        return target_pb2.ExportInfo(target=from_target(served.target), generation=served.generation)

    async def UnexportVolume(  # noqa: N802
        self, request: target_pb2.UnexportVolumeRequest, context: Any
    ) -> target_pb2.UnexportVolumeResponse:
        volume_id, generation = check_id("volume_id", request.volume_id), check_generation(request.generation)
        outcome = await self._engine.exports.take_away(volume_id, generation, deadline_of(context))
        return target_pb2.UnexportVolumeResponse(outcome=outcome)

    async def GetCapacity(self, _request: target_pb2.GetCapacityRequest, _context: Any) -> target_pb2.Capacity:  # noqa: N802
        total, available = await self._engine.capacity()
        return target_pb2.Capacity(
            total_bytes=total,
            available_bytes=available,
            consistent_groups=self._engine.cuts_groups(),
            transport=self._engine.transport(),
        )

    async def CreateSnapshots(  # noqa: N802
        self, request: target_pb2.CreateSnapshotsRequest, context: Any
    ) -> target_pb2.ListSnapshotsResponse:
        views = await self._engine.snapshots.create(to_members(request), deadline_of(context))
        return target_pb2.ListSnapshotsResponse(snapshots=[from_snapshot(view) for view in views])

    async def DeleteSnapshot(  # noqa: N802
        self, request: target_pb2.DeleteSnapshotRequest, context: Any
    ) -> target_pb2.DeleteSnapshotResponse:
        snapshot_id = check_id("snapshot_id", request.snapshot_id)
        outcome = await self._engine.snapshots.delete(snapshot_id, deadline_of(context))
        return target_pb2.DeleteSnapshotResponse(outcome=outcome)

    async def ListSnapshots(  # noqa: N802
        self, _request: target_pb2.ListSnapshotsRequest, _context: Any
    ) -> target_pb2.ListSnapshotsResponse:
        views = await self._engine.snapshots.views()
        return target_pb2.ListSnapshotsResponse(snapshots=[from_snapshot(view) for view in views])

    async def PutCredentials(  # noqa: N802
        self, request: storage_pb2.PutCredentialsRequest, _context: Any
    ) -> storage_pb2.PutCredentialsResponse:
        await self._engine.secrets.put(to_credentials(request.credentials))
        return storage_pb2.PutCredentialsResponse()

    async def DeleteCredentials(  # noqa: N802
        self, request: storage_pb2.DeleteCredentialsRequest, _context: Any
    ) -> storage_pb2.DeleteCredentialsResponse:
        await self._engine.secrets.delete(check_id("name", request.name))
        return storage_pb2.DeleteCredentialsResponse()
