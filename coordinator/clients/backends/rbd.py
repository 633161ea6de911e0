"""Backend `rbd`: images of a Ceph pool, cloned copy-on-write, one client at a time."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from coordinator.clients.backends.ceph_cluster import CephCluster, CephError, RbdImage, StillNeededError
from coordinator.clients.backends.settings import Rbd
from coordinator.clients.backends.words import refuse_parameters, secret_ref, split_address, unsupported
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
from coordinator.core.storage.abilities import Ability
from coordinator.core.storage.source import Source, SourceKind
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")

CALL_S = 20.0
BASE = "base"
PASSING = "passing-"
DEEP = 8
"""Below so many parents a clone is flattened: reads of a deep one ask each of them."""

SOURCE, SIZE, MADE = "dpupool.source", "dpupool.size", "dpupool.made"
GENERATION, CLIENT = "dpupool.generation", "dpupool.client"

ABLE = frozenset(Ability) - {Ability.CLAIM, Ability.GROUP, Ability.ERASE}


class RbdBackend:
    """`coordinator.clients.protocols.Backend` over a pool. Volumes are images with the UID as name.

    A snapshot's handle is ``IMAGE@SNAPSHOT``. Whose turn it is lies in the image's metadata; a client whose turn is
    over is blocklisted, so that not even its late writes arrive. A clone of an image as it is now goes through a
    passing snapshot, which is named after the clone and dropped when that is there.

    Args:
        connect: opens the cluster; called at the first use, and again after it failed.
    """

    def __init__(self, name: str, settings: Rbd, connect: Callable[[], CephCluster]) -> None:
        self._who = f"storage backend {name}"
        self._settings = settings
        self._connect = connect
        self._cluster: CephCluster | None = None
        self._traits = Traits(
            abilities=ABLE,
            transport="rbd",
            secret=secret_ref(settings.secret, f"storage.{name}.secret"),
        )

    async def traits(self) -> Traits:
        return self._traits

    async def import_image(self, image_id: str, source: str, image_format: str) -> ImageInfo:
        if image_format != "raw":
            remedy = "convert it with `qemu-img convert -O raw` and import it into the pool"
            raise unsupported(self._who, f"register a {image_format} image", field="spec.format", remedy=remedy)

        def work(pool: CephCluster) -> ImageInfo:
            if pool.image(source) is None:
                words, remedy = f"{self._who} has no image {source}", "import it with `rbd import`"
                raise DpuError(Reason.NOT_FOUND, words, field="source", remedy=remedy)
            self._clone(pool, source, f"{PASSING}{image_id}", image_id, f"file:{source}")
            found = _there(pool.image(image_id), image_id)
            if BASE not in found.snapshots:
                pool.cut(image_id, BASE)
            return ImageInfo(image_id=image_id, size_bytes=found.size_bytes)

        return await self._do(work)

    async def delete_image(self, image_id: str) -> None:
        await self._do(lambda pool: self._remove(pool, image_id))

    async def create_volume(self, wish: VolumeWish) -> VolumeInfo:
        refuse_parameters(self._who, wish, ())
        return await self._do(lambda pool: self._create(pool, wish))

    def _create(self, pool: CephCluster, wish: VolumeWish) -> VolumeInfo:
        name, source = wish.volume_id, _spell(wish.source)
        found = pool.image(name)
        if found is not None and MADE in found.metadata:
            same = found.metadata.get(SOURCE, "") == source and found.metadata.get(SIZE) == str(wish.size_bytes)
            if not same:
                raise DpuError(Reason.ALREADY_EXISTS, f"{self._who}: volume {name} is another one", field="volume_id")
            return _info(found)
        match wish.source:
            case None:
                if found is None:
                    pool.create(name, wish.size_bytes)
            case Source(kind=SourceKind.IMAGE, handle=handle):
                self._clone(pool, handle, BASE, name, source)
            case Source(kind=SourceKind.SNAPSHOT, handle=handle):
                image, _, snapshot = handle.partition("@")
                self._clone(pool, image, snapshot, name, source)
            case Source(handle=handle):
                self._clone(pool, handle, f"{PASSING}{name}", name, source)
        self._finish(pool, wish, source)
        return _info(_there(pool.image(name), name))

    def _finish(self, pool: CephCluster, wish: VolumeWish, source: str) -> None:
        """The rest of a create, which any repeat of it does again: mark it made only when all is."""
        found = _there(pool.image(wish.volume_id), wish.volume_id)
        if found.size_bytes > wish.size_bytes:
            words = f"{self._who}: {wish.size_bytes} bytes are less than the {found.size_bytes} of its source"
            pool.remove(wish.volume_id)
            raise DpuError(Reason.INVALID, words, field="size_bytes", remedy="ask for at least as many")
        if found.size_bytes < wish.size_bytes:
            pool.resize(wish.volume_id, wish.size_bytes)
        pool.tell(wish.volume_id, SOURCE, source)
        pool.tell(wish.volume_id, SIZE, str(wish.size_bytes))
        pool.tell(wish.volume_id, MADE, "1")

    def _clone(self, pool: CephCluster, parent: str, snapshot: str, name: str, source: str) -> None:
        """A clone of an image as it is now, or of a snapshot that is kept for it; one that is there is gone on with."""
        origin = pool.image(parent)
        made = pool.image(name)
        passing = snapshot.startswith(PASSING)
        if made is None:
            if origin is None or (not passing and snapshot not in origin.snapshots):
                words = f"{self._who} has no {source.partition(':')[0]} {parent}"
                raise DpuError(Reason.NOT_FOUND, words, field="source", remedy="see whether it was deleted there")
            if passing and snapshot not in origin.snapshots:
                pool.cut(parent, snapshot)
            pool.clone(parent, snapshot, name)
            if origin.depth + 1 >= DEEP:
                pool.flatten_later(name)
        if passing and origin is not None and snapshot in _there(pool.image(parent), parent).snapshots:
            pool.drop(parent, snapshot)

    async def find_volume(self, wish: VolumeWish) -> str:
        return wish.volume_id

    async def resize_volume(self, volume: str, size_bytes: int) -> VolumeInfo:
        def work(pool: CephCluster) -> VolumeInfo:
            found = self._found(pool, volume)
            if size_bytes < found.size_bytes:
                raise DpuError(Reason.INVALID, f"{self._who}: a volume cannot shrink", field="size_bytes")
            if size_bytes > found.size_bytes:
                pool.resize(volume, size_bytes)
            return _info(self._found(pool, volume))

        return await self._do(work)

    async def delete_volume(self, volume: str, *, erase: bool) -> None:
        if erase:
            remedy = "write Delete or Retain"
            raise unsupported(self._who, Ability.ERASE.value, field="spec.deletionPolicy", remedy=remedy)
        await self._do(lambda pool: self._remove(pool, volume))

    def _remove(self, pool: CephCluster, name: str) -> None:
        found = pool.image(name)
        if found is None:
            self._forget(pool, name)
            return
        if found.metadata.get(CLIENT) or found.watchers:
            who = found.metadata.get(CLIENT) or ", ".join(found.watchers)
            raise DpuError(Reason.IN_USE, f"{self._who}: {name} is in use by {who}", remedy="end that use first")
        for snapshot in found.snapshots:
            if snapshot == BASE or snapshot.startswith(PASSING):
                pool.drop(name, snapshot)
        try:
            pool.remove(name)
        except StillNeededError:
            pool.trash(name)
        self._forget(pool, name)

    def _forget(self, pool: CephCluster, name: str) -> None:
        """Drop what was cut for a clone that was never finished, and free what nobody needs any more."""
        for image in (pool.image(one) for one in pool.names()):
            if image is not None and f"{PASSING}{name}" in image.snapshots:
                pool.drop(image.name, f"{PASSING}{name}")
        pool.purge()

    async def list_volumes(self) -> list[VolumeInfo]:
        def work(pool: CephCluster) -> list[VolumeInfo]:
            found = [pool.image(name) for name in pool.names()]
            return [_info(image) for image in found if image is not None and MADE in image.metadata]

        return await self._do(work)

    async def export_volume(self, wish: ExportWish) -> TargetAddress:
        await self._do(lambda pool: self._hand_over(pool, wish))
        host, port = split_address(self._settings.monitor, "monitor")
        where = [self._settings.pool, self._settings.namespace, wish.volume]
        return TargetAddress(
            transport="rbd",
            host=host,
            port=port,
            export="/".join(part for part in where if part),
            credentials=wish.credentials,
        )

    def _hand_over(self, pool: CephCluster, wish: ExportWish) -> None:
        found = self._found(pool, wish.volume)
        newest, client = _turn(found)
        if wish.generation < newest or (wish.generation == newest and not client):
            words = f"{self._who}: volume {wish.volume} is at generation {newest}"
            raise DpuError(Reason.STALE_GENERATION, words, field="generation", remedy="attach it anew")
        if wish.generation == newest:
            return
        pool.tell(wish.volume, CLIENT, wish.dpu)
        self._cut_off(pool, found)
        # Last: a repeat of what was interrupted before this cuts off again, and nobody has the new address yet.
        pool.tell(wish.volume, GENERATION, str(wish.generation))

    async def unexport_volume(self, wish: ExportWish) -> None:
        def work(pool: CephCluster) -> None:
            found = pool.image(wish.volume)
            if found is None or wish.generation < _turn(found)[0]:
                return
            pool.tell(wish.volume, GENERATION, str(wish.generation))
            self._cut_off(pool, found)
            pool.tell(wish.volume, CLIENT, "")

        await self._do(work)

    def _cut_off(self, pool: CephCluster, found: RbdImage) -> None:
        for address in found.watchers:
            pool.blocklist(address)

    async def create_snapshots(self, wishes: Sequence[SnapshotWish]) -> list[SnapshotInfo]:
        if len(wishes) > 1:
            remedy = "cut them one by one"
            raise unsupported(self._who, Ability.GROUP.value, field="spec.groupId", remedy=remedy)

        def work(pool: CephCluster) -> list[SnapshotInfo]:
            wish = wishes[0]
            if wish.snapshot_id not in self._found(pool, wish.volume).snapshots:
                pool.cut(wish.volume, wish.snapshot_id)
            return [_snapshot(self._found(pool, wish.volume), wish.snapshot_id)]

        return await self._do(work)

    async def find_snapshot(self, wish: SnapshotWish) -> str:
        return f"{wish.volume}@{wish.snapshot_id}"

    async def delete_snapshot(self, snapshot: str) -> None:
        def work(pool: CephCluster) -> None:
            image, _, name = snapshot.partition("@")
            found = pool.image(image)
            if found is not None and name in found.snapshots:
                pool.drop(image, name)

        await self._do(work)

    async def list_snapshots(self) -> list[SnapshotInfo]:
        def work(pool: CephCluster) -> list[SnapshotInfo]:
            images = [image for image in (pool.image(name) for name in pool.names()) if image is not None]
            volumes = [image for image in images if MADE in image.metadata]
            return [
                _snapshot(image, name) for image in volumes for name in image.snapshots if not name.startswith(PASSING)
            ]

        return await self._do(work)

    async def capacity(self) -> Capacity:
        total, free = await self._do(lambda pool: pool.capacity())
        return Capacity(total_bytes=total, available_bytes=free)

    async def put_credentials(self, secrets: StorageSecrets) -> None:
        remedy = "make the user with `ceph auth` and name its Secret in the configuration"
        raise unsupported(self._who, f"be told of {secrets.name}", field="credentials", remedy=remedy)

    async def delete_credentials(self, name: str) -> None:
        """Nothing: it was never told of any."""

    def _found(self, pool: CephCluster, name: str) -> RbdImage:
        found = pool.image(name)
        if found is None:
            words = f"{self._who} has no volume {name}"
            raise DpuError(Reason.NOT_FOUND, words, remedy="see whether it was deleted there")
        return found

    async def _do(self, work: Callable[[CephCluster], T]) -> T:
        """Blocking work on a thread. A call that did not end in time goes on there; each can be repeated."""
        try:
            async with asyncio.timeout(CALL_S):
                return await asyncio.to_thread(self._with_cluster, work)
        except TimeoutError as error:
            words = f"{self._who} has not answered in {CALL_S:.0f} s"
            raise DpuError(Reason.DEADLINE, words, remedy="see `ceph status`") from error
        except CephError as error:
            reason = Reason.UNAVAILABLE if error.transient else Reason.INVALID
            raise DpuError(reason, f"{self._who}: {error}", remedy="see `ceph status`") from error

    def _with_cluster(self, work: Callable[[CephCluster], T]) -> T:
        if self._cluster is None:
            self._cluster = self._connect()
        return work(self._cluster)


def _spell(source: Source | None) -> str:
    return f"{source.kind.value}:{source.handle}" if source else ""


def _turn(found: RbdImage) -> tuple[int, str]:
    """The newest generation, and the client that has it; empty when its turn was ended."""
    return int(found.metadata.get(GENERATION, "0")), found.metadata.get(CLIENT, "")


def _there(found: RbdImage | None, name: str) -> RbdImage:
    if found is None:
        raise CephError(f"image {name} has gone at this moment")
    return found


def _info(found: RbdImage) -> VolumeInfo:
    newest, client = _turn(found)
    return VolumeInfo(
        volume_id=found.name, size_bytes=found.size_bytes, exported=bool(client), export_generation=newest
    )


def _snapshot(found: RbdImage, name: str) -> SnapshotInfo:
    return SnapshotInfo(
        snapshot_id=name,
        handle=f"{found.name}@{name}",
        volume=found.name,
        size_bytes=found.size_bytes,
        created_unix_ms=found.snapshots[name],
    )
