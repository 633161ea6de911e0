"""The daemon of a storage node, by gRPC."""

import grpc.aio

from coordinator.clients.channel import call
from coordinator.clients.model import ImageInfo, TargetAddress, VolumeInfo
from coordinator.clients.wire import target_from
from proto.dpu.v1 import target_pb2, target_pb2_grpc

ACT_S = 30.0
SHRED_S = 3600.0
"""Overwriting takes as long as the bytes are many."""


class GrpcTarget:
    """`coordinator.clients.protocols.Target` over one channel."""

    def __init__(self, backend: str, channel: grpc.aio.Channel) -> None:
        self._who = f"storage backend {backend}"
        self._stub = target_pb2_grpc.TargetServiceStub(channel)

    async def import_image(self, image_id: str, source: str, image_format: str) -> ImageInfo:
        request = target_pb2.ImportImageRequest(image_id=image_id, source=source, format=image_format)
        answer = await call(self._who, self._stub.ImportImage(request, timeout=ACT_S))
        return ImageInfo(image_id=answer.image_id, size_bytes=answer.size_bytes)

    async def delete_image(self, image_id: str) -> None:
        request = target_pb2.DeleteImageRequest(image_id=image_id)
        await call(self._who, self._stub.DeleteImage(request, timeout=ACT_S))

    async def create_volume(self, volume_id: str, size_bytes: int, source_image_id: str) -> VolumeInfo:
        request = target_pb2.CreateVolumeRequest(
            volume_id=volume_id, size_bytes=size_bytes, source_image_id=source_image_id
        )
        return _volume(await call(self._who, self._stub.CreateVolume(request, timeout=ACT_S)))

    async def resize_volume(self, volume_id: str, size_bytes: int) -> VolumeInfo:
        request = target_pb2.ResizeVolumeRequest(volume_id=volume_id, size_bytes=size_bytes)
        return _volume(await call(self._who, self._stub.ResizeVolume(request, timeout=ACT_S)))

    async def delete_volume(self, volume_id: str, *, shred: bool) -> None:
        request = target_pb2.DeleteVolumeRequest(volume_id=volume_id, shred=shred)
        await call(self._who, self._stub.DeleteVolume(request, timeout=SHRED_S if shred else ACT_S))

    async def export_volume(self, volume_id: str, dpu: str, generation: int, *, read_only: bool) -> TargetAddress:
        request = target_pb2.ExportVolumeRequest(
            volume_id=volume_id, dpu=dpu, generation=generation, read_only=read_only
        )
        answer = await call(self._who, self._stub.ExportVolume(request, timeout=ACT_S))
        return target_from(answer.target)

    async def unexport_volume(self, volume_id: str, generation: int) -> None:
        request = target_pb2.UnexportVolumeRequest(volume_id=volume_id, generation=generation)
        await call(self._who, self._stub.UnexportVolume(request, timeout=ACT_S))


def _volume(found: target_pb2.VolumeInfo) -> VolumeInfo:
    return VolumeInfo(
        volume_id=found.volume_id,
        size_bytes=found.size_bytes,
        allocated_bytes=found.allocated_bytes,
        exported=found.exported,
        export_generation=found.export_generation,
    )
