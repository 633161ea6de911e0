"""A fake storage node over a World: image files, copy-on-write clones, snapshots, exports."""

from collections.abc import Sequence
from dataclasses import replace

from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import (
    Image,
    ImageFormat,
    Member,
    Snapshot,
    SnapshotSeen,
    TargetSeen,
    Volume,
    VolumeSeen,
)
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
        state = self.world.state
        below = list(state.clones.values())
        snapshots = {
            handle: SnapshotSeen(handle=handle, size_bytes=size, allocated_bytes=0, users=below.count(handle))
            for handle, size in state.snapshots.items()
        }
        return TargetSeen(volumes=dict(state.volumes), images=frozenset(state.open_images), snapshots=snapshots)

    def transport(self) -> str:
        return "nbd+tcp"

    def cuts_groups(self) -> bool:
        return True

    def can_shred(self, volume: Volume) -> bool:
        return volume.handle not in self.world.faults.unshreddable

    async def round_up(self, size_bytes: int) -> int:
        return size_bytes

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
        if image.image_id in {self._root(handle) for handle in opened}:
            raise DpuError(Reason.IN_USE, f"image {image.source} backs a clone")
        await self.world.act(self.role, "close_image", lambda: self.world.state.open_images.discard(image.image_id))

    async def create(self, volume: Volume, source: Image | Snapshot | None) -> None:
        base, least = self._source(source)
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
            if base:
                self.world.state.clones[volume.handle] = base

        await self.world.act(self.role, "create", work if volume.handle not in self.world.state.volumes else _nothing)

    def _source(self, source: Image | Snapshot | None) -> tuple[str, int]:
        """What a new volume stands on, and its least size."""
        state = self.world.state
        match source:
            case Image():
                return source.image_id, state.image_files.get(source.source, 0)
            case Snapshot():
                if source.handle not in state.snapshots:
                    raise DpuError(Reason.NOT_FOUND, f"there is no snapshot {source.handle}")
                return source.handle, state.snapshots[source.handle]
            case None:
                return "", 0

    def _root(self, handle: str) -> str:
        """What is at the bottom of a chain: an image's id, or the handle of what stands on nothing."""
        below = self.world.state.clones
        while handle in below:
            handle = below[handle]
        return handle

    async def open(self, volume: Volume, image: Image | None) -> None:
        if any(handle.startswith(f"{volume.handle}.") for handle in self.world.state.prepared):
            raise DpuError(Reason.INTERNAL, f"volume {volume.handle} is opened between the halves of a cut")
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

    async def cut(self, members: Sequence[Member]) -> None:
        state = self.world.state
        for member in members:
            self._seen(member.volume)
        todo = [member.snapshot for member in members if member.snapshot.handle not in state.snapshots]
        for snapshot in todo:
            await self.world.act(self.role, "prepare", lambda handle=snapshot.handle: state.prepared.add(handle))  # type: ignore[misc]

        def work() -> None:
            for snapshot in todo:
                volume = snapshot.volume_handle
                state.prepared.discard(snapshot.handle)
                state.snapshots[snapshot.handle] = state.volumes[volume].size_bytes
                if volume in state.clones:
                    state.clones[snapshot.handle] = state.clones[volume]
                state.clones[volume] = snapshot.handle

        await self.world.act(self.role, "cut", work)

    async def abandon(self, members: Sequence[Member]) -> bool:
        state = self.world.state
        if all(member.snapshot.handle in state.snapshots for member in members):
            return True

        def work() -> None:
            state.prepared.difference_update(member.snapshot.handle for member in members)

        await self.world.act(self.role, "abandon", work)
        return False

    async def drop(self, snapshot: Snapshot) -> None:
        state = self.world.state

        def work() -> None:
            users = [handle for handle, base in state.clones.items() if base == snapshot.handle]
            if len(users) > 1:
                raise DpuError(Reason.IN_USE, f"snapshot {snapshot.handle} has {len(users)} users")
            base = state.clones.pop(snapshot.handle, "")
            for user in users:
                state.clones.pop(user)
                if base:
                    state.clones[user] = base
            state.snapshots.pop(snapshot.handle, None)

        await self.world.act(self.role, "drop", work)

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
