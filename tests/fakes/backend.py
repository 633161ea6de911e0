"""A storage node as the coordinator meets it: images, copy-on-write volumes, fenced exports."""

import asyncio
from dataclasses import dataclass, field

from coordinator.clients.model import ImageInfo, TargetAddress, VolumeInfo
from proto.errors import DpuError
from proto.reasons import Reason


@dataclass
class StoredVolume:
    """A volume; `generation` is the highest that was ever exported or unexported."""

    size_bytes: int
    source: str = ""
    generation: int = 0
    exported_to: str = ""


@dataclass
class FakeBackend:
    """`coordinator.clients.protocols.Target`.

    Attributes:
        files: file name to virtual size.
    """

    files: dict[str, int] = field(default_factory=dict)
    images: dict[str, tuple[str, int]] = field(default_factory=dict)
    volumes: dict[str, StoredVolume] = field(default_factory=dict)
    reachable: bool = True
    shredded: list[str] = field(default_factory=list)

    async def import_image(self, image_id: str, source: str, image_format: str) -> ImageInfo:
        await self._reach()
        if source not in self.files:
            raise DpuError(Reason.NOT_FOUND, f"no image file {source}", field="source", remedy="put it there")
        known = self.images.setdefault(image_id, (source, self.files[source]))
        if known[0] != source:
            raise DpuError(Reason.ALREADY_EXISTS, f"image {image_id} is {known[0]}", field="source")
        return ImageInfo(image_id=image_id, size_bytes=known[1])

    async def delete_image(self, image_id: str) -> None:
        await self._reach()
        if any(volume.source == image_id for volume in self.volumes.values()):
            raise DpuError(Reason.IN_USE, f"image {image_id} has clones")
        self.images.pop(image_id, None)

    async def create_volume(self, volume_id: str, size_bytes: int, source_image_id: str) -> VolumeInfo:
        await self._reach()
        if source_image_id and source_image_id not in self.images:
            raise DpuError(Reason.NOT_FOUND, f"no image {source_image_id}")
        known = self.volumes.setdefault(volume_id, StoredVolume(size_bytes=size_bytes, source=source_image_id))
        if (known.size_bytes, known.source) != (size_bytes, source_image_id):
            raise DpuError(Reason.ALREADY_EXISTS, f"volume {volume_id} is another one")
        return self._info(volume_id)

    async def resize_volume(self, volume_id: str, size_bytes: int) -> VolumeInfo:
        await self._reach()
        volume = self._found(volume_id)
        if size_bytes < volume.size_bytes:
            raise DpuError(Reason.INVALID, "a volume cannot shrink", field="size_bytes")
        volume.size_bytes = size_bytes
        return self._info(volume_id)

    async def delete_volume(self, volume_id: str, *, shred: bool) -> None:
        await self._reach()
        volume = self.volumes.get(volume_id)
        if volume is None:
            return
        if volume.exported_to:
            raise DpuError(Reason.IN_USE, f"volume {volume_id} is exported to {volume.exported_to}")
        if shred:
            self.shredded.append(volume_id)
        del self.volumes[volume_id]

    async def export_volume(self, volume_id: str, dpu: str, generation: int, *, read_only: bool) -> TargetAddress:
        await self._reach()
        volume = self._found(volume_id)
        if generation < volume.generation or (generation == volume.generation and not volume.exported_to):
            raise DpuError(
                Reason.STALE_GENERATION, f"volume {volume_id} is at generation {volume.generation}", retry=False
            )
        volume.generation, volume.exported_to = generation, dpu
        return TargetAddress(transport="nbd+tcp", host="10.0.0.1", port=10809, export=f"{volume_id}-{generation}")

    async def unexport_volume(self, volume_id: str, generation: int) -> None:
        await self._reach()
        volume = self.volumes.get(volume_id)
        if volume is not None and generation >= volume.generation:
            volume.generation, volume.exported_to = generation, ""

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if not self.reachable:
            raise DpuError(Reason.UNAVAILABLE, "the storage node does not answer", remedy="see that it runs")

    def _found(self, volume_id: str) -> StoredVolume:
        if volume_id not in self.volumes:
            raise DpuError(Reason.NOT_FOUND, f"no volume {volume_id}")
        return self.volumes[volume_id]

    def _info(self, volume_id: str) -> VolumeInfo:
        volume = self._found(volume_id)
        return VolumeInfo(volume_id=volume_id, size_bytes=volume.size_bytes, allocated_bytes=0)
