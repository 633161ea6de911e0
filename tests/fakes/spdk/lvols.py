"""Logical volumes of a fake SPDK; what is on their files outlives it."""

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from tests.fakes.spdk.bdevs import Bdev
from tests.fakes.spdk.fabric import StoredLvol, StoredLvstore
from tests.fakes.spdk.refusal import INTERNAL, RefusalError, bad_params, by_errno

if TYPE_CHECKING:
    from tests.fakes.spdk.process import FakeSpdk

EEXIST, ENODEV, EINVAL = 17, 19, 22
MIB = 1 << 20
LONGEST_NAME = 63


class Lvols:
    """The lvol layer of one process."""

    def __init__(self, process: "FakeSpdk") -> None:
        self._process = process
        self.loaded: dict[str, tuple[str, StoredLvstore]] = {}
        """Base bdev and store, by the store's name."""

    def examine(self, base: Bdev) -> None:
        """A base that appears brings its lvstore; one that has shrunk below it does not."""
        store = self._process.fabric.lvstores.get(base.detail.get("filename", ""))
        if store is not None and store.size_bytes <= base.size_bytes and store.name not in self.loaded:
            self._load(base, store)

    def _load(self, base: Bdev, store: StoredLvstore) -> None:
        base.claimed_by = store.name
        self.loaded[store.name] = (base.name, store)
        for lvol in store.lvols.values():
            self._show(store, lvol)

    def lose(self, base: str) -> None:
        for name, (under, store) in list(self.loaded.items()):
            if under == base:
                del self.loaded[name]
                for lvol in store.lvols.values():
                    self._process.bdevs.drop(lvol.uuid)

    def _show(self, store: StoredLvstore, lvol: StoredLvol) -> None:
        """Registers an lvol's bdev, unless what it stands on is not there: then it is degraded."""
        if self._degraded(store, lvol):
            return
        detail = {
            "lvol_store_uuid": store.uuid,
            "base_bdev": self.loaded[store.name][0],
            "thin_provision": lvol.thin,
            "num_allocated_clusters": _allocated(store, lvol),
            "snapshot": lvol.snapshot,
        }
        aliases = [f"{store.name}/{lvol.name}"]
        block = store.block_bytes
        blocks = lvol.size_bytes // block
        self._process.bdevs.add(Bdev(lvol.uuid, "lvol", block, blocks, lvol.uuid, aliases=aliases, detail=detail))
        self._relate(store)

    def _relate(self, store: StoredLvstore) -> None:
        """What bdevs tell of each other follows every change."""
        for lvol in store.lvols.values():
            bdev = self._process.bdevs.all.get(lvol.uuid)
            if bdev is None:
                continue
            for key in ("base_snapshot", "clones", "external_snapshot_name"):
                bdev.detail.pop(key, None)
            clones = [other.name for other in store.lvols.values() if other.parent == lvol.name]
            bdev.detail |= {"clone": bool(lvol.parent), "thin_provision": lvol.thin, "esnap_clone": bool(lvol.image)}
            if lvol.parent:
                bdev.detail["base_snapshot"] = lvol.parent
            if clones:
                bdev.detail["clones"] = clones
            if lvol.image:
                bdev.detail["external_snapshot_name"] = lvol.image

    def _degraded(self, store: StoredLvstore, lvol: StoredLvol) -> bool:
        while lvol.parent:
            lvol = store.lvols[lvol.parent]
        return bool(lvol.image) and all(bdev.uuid != lvol.image for bdev in self._process.bdevs.all.values())

    def image_came(self, uuid: str) -> None:
        """Lvols that waited for a bdev outside their store come up."""
        for _, store in list(self.loaded.values()):
            if any(lvol.image == uuid for lvol in store.lvols.values()):
                for lvol in list(store.lvols.values()):
                    if lvol.uuid not in self._process.bdevs.all:
                        self._show(store, lvol)

    def stand_on(self, uuid: str) -> bool:
        """Whether an lvol has this bdev under it."""
        return any(lvol.image == uuid for _, store in self.loaded.values() for lvol in store.lvols.values())

    def _store(self, uuid: str = "", lvs_name: str = "") -> StoredLvstore:
        for _, store in self.loaded.values():
            if store.name == lvs_name or (uuid and store.uuid == uuid):
                return store
        raise by_errno(ENODEV)

    def _lvol(self, name: str) -> tuple[StoredLvstore, StoredLvol]:
        for _, store in self.loaded.values():
            for lvol in store.lvols.values():
                if name in (lvol.uuid, f"{store.name}/{lvol.name}"):
                    return store, lvol
        raise by_errno(ENODEV)

    def _free(self, store: StoredLvstore) -> int:
        used = sum(-(-lvol.size_bytes // store.cluster_bytes) for lvol in store.lvols.values() if not lvol.thin)
        return store.size_bytes // store.cluster_bytes - 1 - used

    # ---- methods -------------------------------------------------------------------------------------------------

    async def bdev_lvol_create_lvstore(
        self, bdev_name: str, lvs_name: str, cluster_sz: int = 4 * MIB, **_options: Any
    ) -> str:
        if not 0 < len(lvs_name) <= LONGEST_NAME:
            raise by_errno(EINVAL)
        if lvs_name in self.loaded and self.loaded[lvs_name][0] != bdev_name:
            raise by_errno(EEXIST)
        base = self._process.bdevs.all.get(bdev_name)
        if base is None:
            raise by_errno(ENODEV)
        if base.claimed_by:
            raise RefusalError(-1, "Operation not permitted")
        if base.size_bytes < 2 * cluster_sz:
            raise bad_params("Invalid argument")
        store = StoredLvstore(lvs_name, str(uuid.uuid4()), cluster_sz, base.size_bytes, base.block_size)
        if base.detail.get("filename"):
            self._process.fabric.lvstores[base.detail["filename"]] = store
        self._load(base, store)
        await asyncio.sleep(0)
        return store.uuid

    async def bdev_lvol_delete_lvstore(self, uuid: str = "", lvs_name: str = "") -> bool:
        store = self._store(uuid, lvs_name)
        base = self.loaded[store.name][0]
        self.lose(base)
        self._process.bdevs.all[base].claimed_by = ""
        for path, kept in list(self._process.fabric.lvstores.items()):
            if kept is store:
                del self._process.fabric.lvstores[path]
        await asyncio.sleep(0)
        return True

    def bdev_lvol_get_lvstores(self, uuid: str = "", lvs_name: str = "") -> list[dict[str, Any]]:
        chosen = [self._store(uuid, lvs_name)] if uuid or lvs_name else [store for _, store in self.loaded.values()]
        return [
            {
                "uuid": store.uuid,
                "name": store.name,
                "base_bdev": self.loaded[store.name][0],
                "total_data_clusters": store.size_bytes // store.cluster_bytes - 1,
                "free_clusters": self._free(store),
                "block_size": store.block_bytes,
                "cluster_size": store.cluster_bytes,
            }
            for store in chosen
        ]

    def bdev_lvol_get_lvols(self, lvs_uuid: str = "", lvs_name: str = "") -> list[dict[str, Any]]:
        chosen = (
            [self._store(lvs_uuid, lvs_name)] if lvs_uuid or lvs_name else [each for _, each in self.loaded.values()]
        )
        return [
            {
                "alias": f"{store.name}/{lvol.name}",
                "uuid": lvol.uuid,
                "name": lvol.name,
                "is_thin_provisioned": lvol.thin,
                "is_snapshot": lvol.snapshot,
                "is_clone": bool(lvol.parent),
                "is_esnap_clone": bool(lvol.image),
                "is_degraded": self._degraded(store, lvol),
                "num_allocated_clusters": _allocated(store, lvol),
                "lvs": {"name": store.name, "uuid": store.uuid},
            }
            for store in chosen
            for lvol in store.lvols.values()
        ]

    def bdev_lvol_grow_lvstore(self, uuid: str = "", lvs_name: str = "") -> bool:
        store = self._store(uuid, lvs_name)
        store.size_bytes = self._process.bdevs.all[self.loaded[store.name][0]].size_bytes
        return True

    async def bdev_lvol_create(
        self,
        lvol_name: str,
        size_in_mib: int,
        lvs_name: str = "",
        uuid: str = "",
        *,
        thin_provision: bool = False,
        **_options: Any,
    ) -> str:
        store = self._store(uuid, lvs_name)
        self._check_name(store, lvol_name, EEXIST)
        clusters = -(-size_in_mib * MIB // store.cluster_bytes)
        if not thin_provision and clusters > self._free(store):
            raise bad_params("No space left on device")
        return await self._added(store, lvol_name, clusters * store.cluster_bytes, thin=thin_provision)

    def _check_name(self, store: StoredLvstore, name: str, taken: int) -> None:
        if not 0 < len(name) <= LONGEST_NAME:
            raise by_errno(EINVAL)
        if name in store.lvols:
            raise by_errno(taken) if taken else bad_params("File exists")

    async def _added(self, store: StoredLvstore, name: str, size: int, *, thin: bool, parent: str = "") -> str:
        lvol = StoredLvol(name, str(uuid.uuid4()), size, thin, parent=parent)
        store.lvols[name] = lvol
        self._show(store, lvol)
        await asyncio.sleep(0)
        return lvol.uuid

    async def bdev_lvol_snapshot(self, lvol_name: str, snapshot_name: str) -> str:
        store, lvol = self._lvol(lvol_name)
        self._check_name(store, snapshot_name, 0)
        snapshot = StoredLvol(snapshot_name, str(uuid.uuid4()), lvol.size_bytes, lvol.thin, True, lvol.parent)
        store.lvols[snapshot_name] = snapshot
        snapshot.image, lvol.image = lvol.image, ""
        lvol.parent, lvol.thin = snapshot_name, True
        self._show(store, snapshot)
        self._relate(store)
        await asyncio.sleep(0)
        return snapshot.uuid

    async def bdev_lvol_clone(self, snapshot_name: str, clone_name: str) -> str:
        store, snapshot = self._lvol(snapshot_name)
        self._check_name(store, clone_name, 0)
        if not snapshot.snapshot:
            raise bad_params("Invalid argument")
        return await self._added(store, clone_name, snapshot.size_bytes, thin=True, parent=snapshot.name)

    async def bdev_lvol_clone_bdev(self, bdev: str, lvs_name: str, clone_name: str) -> str:
        """A clone of a read-only bdev outside the store, known by its UUID, of whole clusters."""
        store = self._store(lvs_name=lvs_name)
        self._check_name(store, clone_name, 0)
        base = next((each for each in self._process.bdevs.all.values() if bdev in (each.name, each.uuid)), None)
        if base is None:
            raise bad_params("No such device")
        if base.size_bytes % store.cluster_bytes:
            raise bad_params("Invalid argument")
        lvol = StoredLvol(clone_name, str(uuid.uuid4()), base.size_bytes, thin=True, image=base.uuid)
        store.lvols[clone_name] = lvol
        self._show(store, lvol)
        await asyncio.sleep(0)
        return lvol.uuid

    async def bdev_lvol_resize(self, name: str, size_in_mib: int) -> bool:
        """Shrinks as well, without a word."""
        store, lvol = self._lvol(name)
        size = -(-size_in_mib * MIB // store.cluster_bytes) * store.cluster_bytes
        if lvol.snapshot:
            raise bad_params("Operation not permitted")
        if not lvol.thin and (size - lvol.size_bytes) // store.cluster_bytes > self._free(store):
            raise bad_params("No space left on device")
        if size != lvol.size_bytes:
            lvol.size_bytes = size
            self._process.bdevs.resize(lvol.uuid, size // store.block_bytes)
        await asyncio.sleep(0)
        return True

    async def bdev_lvol_delete(self, name: str) -> bool:
        store, lvol = self._lvol(name)
        children = [other for other in store.lvols.values() if other.parent == lvol.name]
        if len(children) > 1:
            raise RefusalError(INTERNAL, "Operation not permitted")
        for child in children:
            child.parent, child.image = lvol.parent, lvol.image
        del store.lvols[lvol.name]
        self._process.bdevs.drop(lvol.uuid)
        self._relate(store)
        await asyncio.sleep(0)
        return True


def _allocated(store: StoredLvstore, lvol: StoredLvol) -> int:
    return 0 if lvol.thin else lvol.size_bytes // store.cluster_bytes
