"""A fake storage node over a World: image files, copy-on-write clones, exports."""

from dataclasses import replace

from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import Image, ImageFormat, TargetSeen, Volume, VolumeSeen
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.drivers import FakeDriver
from tests.fakes.world import World


class FakeTarget(FakeDriver):
    """The storage node's storage daemon."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "target")

    async def look(self) -> TargetSeen:
        await self.world.look(self.role)
        return TargetSeen(volumes=dict(self.world.state.volumes), images=frozenset(self.world.state.open_images))

    async def inspect_image(self, source: str, image_format: ImageFormat) -> int:
        await self.world.look(self.role)
        if source not in self.world.state.image_files:
            message = f"there is no image file {source}"
            raise DpuError(Reason.INVALID, message, field="source", remedy="put it in the image directory")
        return self.world.state.image_files[source]

    async def open_image(self, image: Image) -> None:
        await self.inspect_image(image.source, image.format)
        await self.world.act(self.role, "open_image", lambda: self.world.state.open_images.add(image.image_id))

    async def close_image(self, image: Image) -> None:
        state = self.world.state
        opened = {handle for handle, volume in state.volumes.items() if volume.opened}
        if image.image_id in {state.clones.get(handle) for handle in opened}:
            raise DpuError(Reason.IN_USE, f"image {image.source} backs a clone")
        await self.world.act(self.role, "close_image", lambda: self.world.state.open_images.discard(image.image_id))

    async def create(self, volume: Volume, image: Image | None) -> None:
        least = self.world.state.image_files.get(image.source, 0) if image is not None else 0
        if volume.size_bytes < least:
            message = f"{volume.size_bytes} bytes are less than the {least} of its image"
            raise DpuError(Reason.INVALID, message, field="size_bytes")
        if volume.size_bytes > self.world.state.total_bytes:
            raise DpuError(Reason.STORAGE_FULL, "no space left on device", remedy="delete volumes")
        seen = VolumeSeen(
            handle=volume.handle,
            file_exists=True,
            opened=False,
            size_bytes=volume.size_bytes,
            allocated_bytes=200 * 1024,
            exported=False,
            export_read_only=False,
        )

        def work() -> None:
            self.world.state.volumes[volume.handle] = seen
            if image is not None:
                self.world.state.clones[volume.handle] = image.image_id

        await self.world.act(self.role, "create", work if volume.handle not in self.world.state.volumes else _nothing)

    async def open(self, volume: Volume, image: Image | None) -> None:
        seen = self._seen(volume)
        if image is not None and image.image_id not in self.world.state.open_images:
            raise DpuError(Reason.WRONG_STATE, f"image {image.source} is not open", retry=True)
        await self.world.act(self.role, "open", lambda: self._keep(replace(seen, opened=True)))

    async def export(self, volume: Volume, *, read_only: bool) -> TargetAddress:
        seen = self._seen(volume)
        if not seen.opened:
            raise DpuError(Reason.NOT_FOUND, f"failed to find node {volume.handle}")
        if volume.export is None:
            raise DpuError(Reason.INVALID, f"volume {volume.handle} is wanted by nobody", field="export")
        # One name for each generation: a DPU that was cut off knows only the old one.
        name = f"{volume.handle}-g{volume.export.generation}"

        def work() -> None:
            self._cut_off(volume)
            self._keep(replace(seen, exported=True, export_read_only=read_only))
            self.world.state.exports[name] = seen.size_bytes

        await self.world.act(self.role, "export", work)
        return TargetAddress(transport="nbd+tcp", host="192.0.2.10", port=10809, export=name)

    async def unexport(self, volume: Volume) -> None:
        def work() -> None:
            self._cut_off(volume)
            seen = self.world.state.volumes.get(volume.handle)
            if seen is not None:
                self._keep(replace(seen, exported=False, export_read_only=False))

        await self.world.act(self.role, "unexport", work)

    async def resize(self, volume: Volume, size_bytes: int) -> None:
        seen = self._seen(volume)
        if not seen.opened:
            raise DpuError(Reason.NOT_FOUND, f"volume {volume.handle} is not open", retry=True)
        if seen.size_bytes > size_bytes:
            raise DpuError(Reason.INVALID, f"volume {volume.handle} cannot shrink", field="size_bytes")

        def work() -> None:
            self._keep(replace(seen, size_bytes=size_bytes))
            for name in self._names(volume):
                self.world.state.exports[name] = size_bytes

        await self.world.act(self.role, "resize", work)

    async def delete(self, volume: Volume) -> None:
        def work() -> None:
            self._cut_off(volume)
            self.world.state.volumes.pop(volume.handle, None)
            self.world.state.clones.pop(volume.handle, None)

        await self.world.act(self.role, "delete", work)

    async def capacity(self) -> tuple[int, int]:
        await self.world.look(self.role)
        used = sum(volume.allocated_bytes for volume in self.world.state.volumes.values())
        return self.world.state.total_bytes, self.world.state.total_bytes - used

    def _seen(self, volume: Volume) -> VolumeSeen:
        seen = self.world.state.volumes.get(volume.handle)
        if seen is None:
            raise DpuError(Reason.NOT_FOUND, f"volume file {volume.handle} does not exist")
        return seen

    def _names(self, volume: Volume) -> list[str]:
        return [name for name in self.world.state.exports if name.startswith(f"{volume.handle}-g")]

    def _cut_off(self, volume: Volume) -> None:
        for name in self._names(volume):
            del self.world.state.exports[name]

    def _keep(self, seen: VolumeSeen) -> None:
        self.world.state.volumes[seen.handle] = seen


def _nothing() -> None:
    """The work was already done."""
