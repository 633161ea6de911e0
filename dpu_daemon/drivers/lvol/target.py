"""A storage node's block layer on SPDK logical volumes.

An image is a file, opened read-only under a UUID of its own; a clone of it is an lvol that stands on that UUID and
copies what is written. Volumes and snapshots are thin lvols of one store (see `names`); after a restart of SPDK they
are found on the device, and the daemon puts back what was only in memory: images, and subsystems.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpu_daemon.drivers.lvol.exports import NVME_TCP, Exports, KeyFiles, Portal, of_volume
from dpu_daemon.drivers.lvol.lists import Lists, Lvol
from dpu_daemon.drivers.lvol.names import export_of, image_uuid, is_snapshot, is_volume
from dpu_daemon.drivers.lvol.store import MIB, Store, StoreSettings
from dpu_daemon.drivers.qsd.images import IMAGE_NODE, image_id_of, locate, node_name, virtual_size
from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.disk import TargetAddress
from dpu_daemon.model.volume import (
    Clearing,
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

DELETE_TIMEOUT_S = 25.0
CLEAR_TIMEOUT_S = 590.0
"""Writing zeroes takes as long as the device needs; both are under the deadlines of the steps."""


class SpdkTarget:
    """A TargetDriver.

    Args:
        rpc: the SPDK process.
        store: where volumes lie.
        keys: secrets that exports are guarded with.
        image_dir: where images lie; only read.
        portal: address on the storage network, to listen on and to tell to DPUs.
        tls_portal: the same for exports over TLS; None for none.
    """

    def __init__(
        self,
        *,
        rpc: SpdkRpc,
        store: StoreSettings,
        keys: KeyFiles,
        image_dir: str,
        portal: Portal,
        tls_portal: Portal | None = None,
    ) -> None:
        self._rpc = rpc
        self._store = Store(rpc, store)
        self._exports = Exports(rpc, keys, portal, tls_portal)
        self._image_dir = Path(image_dir).absolute()
        self._long_ids: dict[str, str] = {}
        self._changing = asyncio.Lock()
        """Held while exports are built, so that a look takes no half-made one for a leftover."""

    async def start(self, lost: Lost) -> None:
        await self._rpc.start(lost)

    async def stop(self) -> None:
        await self._rpc.stop()

    def version(self) -> str:
        return self._rpc.version()

    def transport(self) -> str:
        return NVME_TCP

    def cuts_groups(self) -> bool:
        """SPDK has no call that freezes several lvols at one instant."""
        return False

    def can_shred(self, volume: Volume) -> bool:
        """SPDK clears clusters as the lvol was made; a clone of an image is always made to be unmapped."""
        return self._store.settings.clearing is Clearing.WRITE_ZEROES and not volume.root_image_id

    async def round_up(self, size_bytes: int) -> int:
        store = await self._store.opened()
        step = max(store.cluster_size, MIB)
        return -(-size_bytes // step) * step

    async def look(self) -> TargetSeen:
        lists = await self._store.lists()
        images = {bdev.name for bdev in lists.bdevs.values() if IMAGE_NODE.fullmatch(bdev.name)}
        ids = (image_id_of(name) or self._long_ids.get(name) for name in images)
        return TargetSeen(
            volumes={name: _volume(lists, lvol) for name, lvol in lists.lvols.items() if is_volume(name)},
            images=frozenset(image_id for image_id in ids if image_id),
            snapshots={name: _snapshot(lists, lvol) for name, lvol in lists.lvols.items() if is_snapshot(name)},
        )

    async def inspect_image(self, source: str, image_format: ImageFormat) -> int:
        """The size of an image that can be cloned here.

        Raises:
            DpuError: INVALID for the file; UNSUPPORTED for another format than raw.
        """
        if image_format is not ImageFormat.RAW:
            message = f"logical volumes are cloned from raw images, and {source} is {image_format.value}"
            raise DpuError(
                Reason.UNSUPPORTED, message, field="format", remedy="convert it with qemu-img convert -O raw"
            )
        size_bytes = virtual_size(locate(self._image_dir, source), image_format)
        cluster = (await self._store.opened()).cluster_size
        if size_bytes % cluster:
            message = f"{source} has {size_bytes} bytes, no multiple of the store's clusters of {cluster}"
            raise DpuError(Reason.INVALID, message, field="source", remedy=f"pad it with truncate -s %{cluster}")
        return size_bytes

    async def open_image(self, image: Image) -> None:
        """Opens an image's file, once for all its clones; those that waited for it come back.

        Raises:
            DpuError: INVALID for the file, ALREADY_EXISTS when the id is open with another file.
        """
        await self.inspect_image(image.source, image.format)
        path, name = str(locate(self._image_dir, image.source)), node_name(image.image_id)
        self._long_ids[name] = image.image_id
        known = (await self._store.lists()).bdevs.get(name)
        aio = known.driver_specific.aio if known is not None else None
        if aio is not None and aio.filename != path:
            message = f"image {image.image_id} is open from {aio.filename}"
            raise DpuError(Reason.ALREADY_EXISTS, message, field="source", remedy="import it under a new id")
        if known is None:
            params = {
                "name": name,
                "filename": path,
                "block_size": self._store.settings.block_bytes,
                "readonly": True,
                "uuid": image_uuid(image.image_id),
            }
            await self._rpc.call("bdev_aio_create", params)
            await self._rpc.call("bdev_wait_for_examine")

    async def close_image(self, image: Image) -> None:
        """Closes an image. SPDK would take it from its clones, and never answer: they are looked for first.

        Raises:
            DpuError: IN_USE while a clone stands on it.
        """
        name, lists = node_name(image.image_id), await self._store.lists()
        if name not in lists.bdevs:
            return
        users = lists.stand_on_image(image_uuid(image.image_id))
        if users:
            message = f"image {image.image_id} is in use by {users[0]}"
            raise DpuError(Reason.IN_USE, message, remedy="delete its clones first")
        await self._rpc.call("bdev_aio_delete", {"name": name})

    async def create(self, volume: Volume, source: Image | Snapshot | None) -> None:
        """Makes an lvol; one that is there already is left. A clone that is to be larger is grown by the next step.

        Raises:
            DpuError: INVALID for a size smaller than the source's, WRONG_STATE when its image is not open, NOT_FOUND
                for a snapshot, STORAGE_FULL.
        """
        lists = await self._store.lists()
        if volume.handle in lists.lvols:
            return
        base = self._base(source, lists)
        if base is not None and volume.size_bytes < base[1]:
            message = f"{volume.size_bytes} bytes are less than the {base[1]} of its source"
            raise DpuError(Reason.INVALID, message, field="size_bytes", remedy=f"ask for at least {base[1]} bytes")
        store = lists.store
        match source:
            case None:
                method = "bdev_lvol_create"
                params = {
                    "lvol_name": volume.handle,
                    "lvs_name": store.name,
                    "size_in_mib": volume.size_bytes // MIB,
                    "thin_provision": True,
                    "clear_method": self._store.settings.clearing.value,
                }
            case Snapshot():
                method = "bdev_lvol_clone"
                params = {"snapshot_name": self._store.path(source.handle), "clone_name": volume.handle}
            case Image():
                method = "bdev_lvol_clone_bdev"
                uuid = image_uuid(source.image_id)
                params = {"bdev": uuid, "lvs_name": store.name, "clone_name": volume.handle}
        await self._make(method, params, volume.handle)
        if base is not None and base[1] < volume.size_bytes:
            await self._grow(volume.handle, volume.size_bytes)

    def _base(self, source: Image | Snapshot | None, lists: Lists) -> tuple[str, int] | None:
        """Name and size of what a clone is to stand on."""
        if source is None:
            return None
        name = self._store.path(source.handle) if isinstance(source, Snapshot) else image_uuid(source.image_id)
        bdev = lists.bdevs.get(name)
        if bdev is not None:
            return name, bdev.size_bytes
        if isinstance(source, Image):
            message = f"image {source.image_id} is not open"
            raise DpuError(Reason.WRONG_STATE, message, remedy="open the image first", retry=True)
        message = f"there is no snapshot {source.handle}"
        raise DpuError(Reason.NOT_FOUND, message, field="source_snapshot_id", remedy="list the snapshots")

    async def _make(self, method: str, params: Mapping[str, object], name: str) -> None:
        """Make an lvol; whatever SPDK says, it counts whether it is there."""
        try:
            await self._rpc.call(method, params)
        except SpdkError as error:
            lists = await self._store.lists()
            if name in lists.lvols:
                return
            full = not lists.store.free_clusters
            reason = Reason.STORAGE_FULL if full else Reason.UNAVAILABLE
            message = f"{name} could not be made: {error.said}"
            raise DpuError(reason, message, remedy="look at the store's free space and at SPDK's log") from error

    async def open(self, volume: Volume, image: Image | None) -> None:
        """Sees that a volume is usable: it is, once its image is open.

        Raises:
            DpuError: NOT_FOUND without an lvol; WRONG_STATE (worth repeating) when its image is not open.
        """
        lists = await self._store.lists()
        lvol = lists.lvols.get(volume.handle)
        if lvol is None:
            message = f"volume {volume.handle} is not in store {lists.store.name}"
            raise DpuError(Reason.NOT_FOUND, message, field="volume_id", remedy="create it, or restore it from a copy")
        if lists.bdev_of(lvol) is None:
            await self._rpc.call("bdev_wait_for_examine")
            lists = await self._store.lists()
        if lists.bdev_of(lvol) is None:
            what = f"image {image.image_id}" if image is not None else "what it stands on"
            message = f"{what} of volume {volume.handle} is not open"
            raise DpuError(Reason.WRONG_STATE, message, remedy="open the image first", retry=True)

    async def cut(self, members: Sequence[Member]) -> None:
        """Cuts one snapshot.

        Raises:
            DpuError: UNSUPPORTED for several; NOT_FOUND without the volume; STORAGE_FULL.
        """
        if len(members) > 1:
            message = "logical volumes are snapshot one at a time"
            raise DpuError(Reason.UNSUPPORTED, message, field="members", remedy="snapshot the volumes one by one")
        for member in members:
            lists = await self._store.lists()
            name = member.snapshot.handle
            if name in lists.lvols:
                continue
            if member.volume.handle not in lists.lvols:
                message = f"volume {member.volume.handle} is not in store {lists.store.name}"
                raise DpuError(Reason.NOT_FOUND, message, field="volume_id", remedy="restore it from a copy")
            params = {"lvol_name": self._store.path(member.volume.handle), "snapshot_name": name}
            await self._make("bdev_lvol_snapshot", params, name)

    async def abandon(self, members: Sequence[Member]) -> bool:
        """A cut is one call here: it has happened, or nothing has."""
        lists = await self._store.lists()
        return all(member.snapshot.handle in lists.lvols for member in members)

    async def drop(self, snapshot: Snapshot) -> None:
        """Removes a snapshot; with one user its clusters become that one's, whatever their number.

        Raises:
            DpuError: IN_USE with several.
        """
        lists = await self._store.lists()
        if snapshot.handle not in lists.lvols:
            return
        users = lists.users_of(snapshot.handle)
        if users > 1:
            message = f"snapshot {snapshot.handle} has {users} others that stand on it"
            raise DpuError(Reason.IN_USE, message, remedy="delete clones of it first")
        await self._delete_lvol(snapshot.handle, shred=snapshot.shred)

    async def export(self, volume: Volume, *, read_only: bool) -> TargetAddress:
        """Offers the volume to one generation's host, after cutting off all others.

        SPDK has no read-only namespaces: that a read-only export is not written is seen to by its DPU.

        Raises:
            DpuError: INVALID when the volume names no generation or host, NOT_FOUND when it is not usable.
        """
        if volume.export is None or volume.export.read_only != read_only:
            message = f"volume {volume.handle} is not wanted by anybody in this way"
            raise DpuError(Reason.INVALID, message, field="export", remedy="say for which generation")
        async with self._changing:
            lists = await self._store.lists()
            lvol = lists.lvols.get(volume.handle)
            bdev = lists.bdev_of(lvol) if lvol is not None else None
            if bdev is None:
                message = f"volume {volume.handle} is not open"
                raise DpuError(
                    Reason.NOT_FOUND, message, field="volume_id", remedy="create and open it first", retry=True
                )
            return await self._exports.offer(volume.handle, bdev.name, volume.export, lists)

    async def unexport(self, volume: Volume) -> None:
        async with self._changing:
            for subsystem in of_volume(volume.handle, await self._store.lists()):
                await self._exports.withdraw(subsystem)

    async def resize(self, volume: Volume, size_bytes: int) -> None:
        """Grows a volume; its host is told, and its export stays.

        Raises:
            DpuError: INVALID for a shrink, which SPDK would do and lose data; NOT_FOUND when it is not usable.
        """
        lists = await self._store.lists()
        lvol = lists.lvols.get(volume.handle)
        bdev = lists.bdev_of(lvol) if lvol is not None else None
        if bdev is None:
            message = f"volume {volume.handle} is not open"
            raise DpuError(Reason.NOT_FOUND, message, field="volume_id", remedy="open it first", retry=True)
        if bdev.size_bytes > size_bytes:
            message = f"volume {volume.handle} has {bdev.size_bytes} bytes and cannot shrink"
            raise DpuError(Reason.INVALID, message, field="size_bytes", remedy="give a larger size")
        if bdev.size_bytes < size_bytes:
            await self._grow(volume.handle, size_bytes)

    async def _grow(self, handle: str, size_bytes: int) -> None:
        params = {"name": self._store.path(handle), "size_in_mib": -(-size_bytes // MIB)}
        await self._rpc.call("bdev_lvol_resize", params)

    async def delete(self, volume: Volume) -> None:
        """Removes an lvol and its exports; its snapshots stay. SPDK would take it from under an export unasked."""
        await self.unexport(volume)
        if volume.handle in (await self._store.lists()).lvols:
            await self._delete_lvol(volume.handle, shred=volume.shred)

    async def _delete_lvol(self, name: str, *, shred: bool) -> None:
        clears = shred or self._store.settings.clearing is Clearing.WRITE_ZEROES
        timeout_s = CLEAR_TIMEOUT_S if clears else DELETE_TIMEOUT_S
        try:
            await self._rpc.call("bdev_lvol_delete", {"name": self._store.path(name)}, timeout_s=timeout_s)
        except SpdkError:
            if name in (await self._store.lists()).lvols:
                raise

    async def capacity(self) -> tuple[int, int]:
        store = await self._store.opened()
        return store.total_data_clusters * store.cluster_size, store.free_clusters * store.cluster_size


def _volume(lists: Lists, lvol: Lvol) -> VolumeSeen:
    bdev = lists.bdev_of(lvol)
    exports = [subsystem for subsystem in of_volume(lvol.name, lists) if subsystem.whole]
    names = [export_of(subsystem.nqn) for subsystem in exports]
    return VolumeSeen(
        handle=lvol.name,
        file_exists=True,
        opened=bdev is not None,
        size_bytes=bdev.size_bytes if bdev is not None else 0,
        allocated_bytes=lvol.num_allocated_clusters * lists.store.cluster_size,
        exported=bool(exports),
        export_read_only=bool(exports) and all(name is not None and name.read_only for name in names),
    )


def _snapshot(lists: Lists, lvol: Lvol) -> SnapshotSeen:
    bdev = lists.bdev_of(lvol)
    return SnapshotSeen(
        handle=lvol.name,
        size_bytes=bdev.size_bytes if bdev is not None else 0,
        allocated_bytes=lvol.num_allocated_clusters * lists.store.cluster_size,
        users=lists.users_of(lvol.name),
    )
