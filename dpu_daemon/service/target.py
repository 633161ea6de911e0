"""TargetService: volumes of a storage node."""

from typing import Any

from dpu_daemon.engine.storage import StorageEngine
from dpu_daemon.model.volume import Export
from dpu_daemon.service.gate import deadline_of
from dpu_daemon.service.storage_wire import from_image, from_target, from_volume, to_format
from dpu_daemon.service.validation import check_generation, check_id, check_optional_id, check_size, invalid
from proto.dpu.v1 import target_pb2, target_pb2_grpc
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
            check_optional_id("source_image_id", request.source_image_id),
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
        return target_pb2.Capacity(total_bytes=total, available_bytes=available)


def check_source(value: str) -> str:
    """A file name inside the image directory, never a path out of it.

    Raises:
        DpuError: INVALID.
    """
    if not value or "/" in value or "\0" in value or value.startswith("."):
        raise invalid("source", f"{value[:60]!r} is not a file name", "use the name of a file in the image directory")
    return value
