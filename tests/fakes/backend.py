"""A storage backend as the coordinator meets it: images, copy-on-write volumes and snapshots, fenced exports."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from coordinator.clients.storage import (
    Capacity,
    ExportWish,
    ImageInfo,
    SnapshotInfo,
    SnapshotWish,
    StorageSecrets,
    TargetAddress,
    Traits,
    VolumeInfo,
    VolumeWish,
)
from coordinator.core.storage.abilities import Abilities, Ability
from coordinator.core.storage.source import Source, SourceKind
from proto.errors import DpuError
from proto.reasons import Reason

ALL = frozenset(Ability) - {Ability.CLAIM}


@dataclass
class StoredVolume:
    """A volume; `generation` is the highest that was ever exported or unexported."""

    size_bytes: int
    source: Source | None = None
    generation: int = 0
    exported_to: str = ""
    credentials: str = ""


@dataclass
class StoredSnapshot:
    """A snapshot; `instant` is the same for all that were cut by one call."""

    volume: str
    size_bytes: int
    instant: int


@dataclass
class FakeBackend:
    """`coordinator.clients.protocols.Backend`.

    Attributes:
        files: file name to virtual size.
        own_ids: volumes and snapshots get other ids than they were asked for by, and what is looked for is made.
    """

    files: dict[str, int] = field(default_factory=dict)
    images: dict[str, tuple[str, int]] = field(default_factory=dict)
    volumes: dict[str, StoredVolume] = field(default_factory=dict)
    snapshots: dict[str, StoredSnapshot] = field(default_factory=dict)
    secrets: dict[str, StorageSecrets] = field(default_factory=dict)
    reachable: bool = True
    abilities: Abilities = ALL
    transport: str = "nbd+tcp"
    authenticates: bool = True
    own_ids: bool = False
    shredded: list[str] = field(default_factory=list)
    instants: int = 0

    async def traits(self) -> Traits:
        await self._reach()
        return Traits(
            abilities=self.abilities,
            transport=self.transport,
            authenticates=self.authenticates,
            own_ids=self.own_ids,
        )

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
        source = Source(kind=SourceKind.IMAGE, handle=image_id)
        if any(volume.source == source for volume in self.volumes.values()):
            raise DpuError(Reason.IN_USE, f"image {image_id} has clones")
        self.images.pop(image_id, None)

    async def create_volume(self, wish: VolumeWish) -> VolumeInfo:
        await self._reach()
        handle = self._handle(wish.volume_id)
        known = self.volumes.get(handle)
        if known is None:
            self._check_source(wish)
            known = self.volumes[handle] = StoredVolume(size_bytes=wish.size_bytes, source=wish.source)
        if (known.size_bytes, known.source) != (wish.size_bytes, wish.source):
            raise DpuError(Reason.ALREADY_EXISTS, f"volume {wish.volume_id} is another one")
        return self._info(handle)

    async def find_volume(self, wish: VolumeWish) -> str:
        if self.own_ids:
            return (await self.create_volume(wish)).volume_id
        return wish.volume_id

    async def resize_volume(self, volume: str, size_bytes: int) -> VolumeInfo:
        await self._reach()
        found = self._found(volume)
        if size_bytes < found.size_bytes:
            raise DpuError(Reason.INVALID, "a volume cannot shrink", field="size_bytes")
        found.size_bytes = size_bytes
        return self._info(volume)

    async def delete_volume(self, volume: str, *, erase: bool) -> None:
        await self._reach()
        found = self.volumes.get(volume)
        if found is None:
            return
        if found.exported_to:
            raise DpuError(Reason.IN_USE, f"volume {volume} is exported to {found.exported_to}")
        if erase:
            self.shredded.append(volume)
        del self.volumes[volume]

    async def list_volumes(self) -> list[VolumeInfo]:
        await self._reach()
        return [self._info(volume) for volume in self.volumes]

    async def export_volume(self, wish: ExportWish) -> TargetAddress:
        await self._reach()
        found = self._found(wish.volume)
        if wish.credentials and wish.credentials not in self.secrets:
            raise DpuError(Reason.NOT_FOUND, f"no credentials {wish.credentials}", field="credentials")
        if wish.generation < found.generation or (wish.generation == found.generation and not found.exported_to):
            message = f"volume {wish.volume} is at generation {found.generation}"
            raise DpuError(Reason.STALE_GENERATION, message, retry=False)
        found.generation, found.exported_to, found.credentials = wish.generation, wish.dpu, wish.credentials
        export = f"{wish.volume}-{wish.generation}"
        return TargetAddress(
            transport=self.transport, host="10.0.0.1", port=10809, export=export, credentials=wish.credentials
        )

    async def unexport_volume(self, wish: ExportWish) -> None:
        await self._reach()
        found = self.volumes.get(wish.volume)
        if found is not None and wish.generation >= found.generation:
            found.generation, found.exported_to = wish.generation, ""

    async def create_snapshots(self, wishes: Sequence[SnapshotWish]) -> list[SnapshotInfo]:
        await self._reach()
        if len(wishes) > 1 and Ability.GROUP not in self.abilities:
            raise DpuError(Reason.UNSUPPORTED, "no groups here")
        new = [wish for wish in wishes if self._handle(wish.snapshot_id) not in self.snapshots]
        sizes = {wish.volume: self._found(wish.volume).size_bytes for wish in new}
        self.instants += 1
        for wish in new:
            made = StoredSnapshot(wish.volume, sizes[wish.volume], self.instants)
            self.snapshots[self._handle(wish.snapshot_id)] = made
        return [self._snapshot(self._handle(wish.snapshot_id), wish.snapshot_id) for wish in wishes]

    async def find_snapshot(self, wish: SnapshotWish) -> str:
        if self.own_ids:
            return (await self.create_snapshots([wish]))[0].handle
        return wish.snapshot_id

    async def delete_snapshot(self, snapshot: str) -> None:
        await self._reach()
        self.snapshots.pop(snapshot, None)

    async def list_snapshots(self) -> list[SnapshotInfo]:
        await self._reach()
        return [self._snapshot(snapshot, snapshot) for snapshot in self.snapshots]

    async def capacity(self) -> Capacity:
        await self._reach()
        used = sum(volume.size_bytes for volume in self.volumes.values())
        return Capacity(total_bytes=1 << 40, available_bytes=(1 << 40) - used)

    async def put_credentials(self, secrets: StorageSecrets) -> None:
        await self._reach()
        self.secrets[secrets.name] = secrets

    async def delete_credentials(self, name: str) -> None:
        await self._reach()
        if any(volume.exported_to and volume.credentials == name for volume in self.volumes.values()):
            raise DpuError(Reason.IN_USE, f"an export is guarded with {name}", field="name", remedy="unexport it first")
        self.secrets.pop(name, None)

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if not self.reachable:
            raise DpuError(Reason.UNAVAILABLE, "the storage node does not answer", remedy="see that it runs")

    def _check_source(self, wish: VolumeWish) -> None:
        if wish.source is None:
            return
        sizes = {
            SourceKind.IMAGE: {key: size for key, (_, size) in self.images.items()},
            SourceKind.SNAPSHOT: {key: found.size_bytes for key, found in self.snapshots.items()},
            SourceKind.VOLUME: {key: found.size_bytes for key, found in self.volumes.items()},
        }[wish.source.kind]
        if wish.source.handle not in sizes:
            raise DpuError(Reason.NOT_FOUND, f"no {wish.source.kind.value} {wish.source.handle}")
        if wish.size_bytes < sizes[wish.source.handle]:
            raise DpuError(Reason.INVALID, "smaller than its source", field="size_bytes")

    def _found(self, volume: str) -> StoredVolume:
        if volume not in self.volumes:
            raise DpuError(Reason.NOT_FOUND, f"no volume {volume}")
        return self.volumes[volume]

    def _info(self, volume: str) -> VolumeInfo:
        return VolumeInfo(volume_id=volume, size_bytes=self._found(volume).size_bytes)

    def _handle(self, asked: str) -> str:
        return f"own-{asked}" if self.own_ids else asked

    def _snapshot(self, handle: str, asked: str) -> SnapshotInfo:
        found = self.snapshots[handle]
        return SnapshotInfo(
            snapshot_id=asked,
            handle=handle,
            volume=found.volume,
            size_bytes=found.size_bytes,
            created_unix_ms=1_767_225_600_000 + found.instant,
        )
