"""Bdevs between a source and its front: the seed's file, encryption, and the name that virtio-blk shows as serial."""

import asyncio
import os

from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.listing import BdevSeen
from dpu_daemon.drivers.spdk.names import file_bdev, key_name, top_name
from dpu_daemon.drivers.spdk.parts import Parts
from dpu_daemon.drivers.spdk.remote import KeyFiles
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.model.disk import Attachment, SeedFile
from proto.errors import DpuError
from proto.reasons import Reason

CIPHER = "AES_XTS"
STRIP_KIB = 4
"""Of a raid0 with one member, which splits nothing: it only gives the bdev a name, and grows with it."""

SEED_BLOCK_BYTES = 512


class Layers:
    """The bdevs of one SPDK process that are ours and are not remote.

    Args:
        rpc: the process.
        keys: secrets.
    """

    def __init__(self, rpc: SpdkRpc, keys: KeyFiles) -> None:
        self._rpc = rpc
        self._keys = keys

    async def open_file(self, disk: Attachment, source: SeedFile) -> str:
        """The read-only bdev of a seed file.

        Raises:
            DpuError: INVALID when the file is not there.
        """
        if not await asyncio.to_thread(os.path.isfile, source.path):
            message = f"there is no seed file {source.path}"
            raise DpuError(Reason.INVALID, message, field="source.path", remedy="write the seed first")
        name = file_bdev(disk)
        params = {"name": name, "filename": source.path, "block_size": SEED_BLOCK_BYTES, "readonly": True}
        await self._rpc.call("bdev_aio_create", params)
        return name

    def check_encryption(self, disk: Attachment) -> None:
        """Refuse before anything is done what cannot be encrypted.

        Raises:
            DpuError: UNSUPPORTED by this SPDK; NOT_FOUND or WRONG_STATE of the credentials.
        """
        name = disk.spec.encryption
        if not name:
            return
        field = "spec.encryption"
        if not self._rpc.offers("bdev_crypto_create"):
            message = f"{self._rpc.version() or 'this SPDK'} was built without encryption"
            raise DpuError(Reason.UNSUPPORTED, message, field=field, remedy="configure it with --with-crypto")
        if not self._keys.get(name).volume_key:
            message = f"credentials {name} have no volume key"
            raise DpuError(Reason.WRONG_STATE, message, field=field, remedy="put them again, with volume_key")

    async def add_key(self, disk: Attachment) -> None:
        """The disk's key, if it is encrypted; one that is there already is not what it was made for: it goes first."""
        if not disk.spec.encryption:
            return
        key = self._keys.get(disk.spec.encryption).volume_key.hex()
        half = len(key) // 2
        params = {"cipher": CIPHER, "name": key_name(disk.handle), "key": key[:half], "key2": key[half:]}
        try:
            await self._rpc.call("accel_crypto_key_create", params)
        except SpdkError:
            # Of an encrypted bdev that is gone: nothing uses it, or this call would not have been made.
            await self.drop_key(disk.handle)
            await self._rpc.call("accel_crypto_key_create", params)

    async def drop_key(self, handle: str) -> None:
        """Forgets a disk's key. Never call it while its bdev exists: SPDK would crash at the next look."""
        try:
            await self._rpc.call("accel_crypto_key_destroy", {"key_name": key_name(handle)})
        except SpdkError as error:
            if error.code not in (-32602, -22, -2):
                raise

    async def build(self, disk: Attachment, base: str) -> str:
        """What stands on the source; returns the bdev for the front. The source must exist, or it would wait for it."""
        top = top_name(disk, base)
        if top == base:
            return base
        if disk.spec.encryption:
            params = {"base_bdev_name": base, "name": top, "key_name": key_name(disk.handle)}
            await self._rpc.call("bdev_crypto_create", params)
        else:
            await self._rename(base, top)
        return top

    async def remake(self, bdev: BdevSeen) -> None:
        """Makes a layer that nobody has open anew, as it was, but without limits."""
        own = bdev.driver_specific
        await self._delete(_removal(bdev), bdev.name)
        if own.crypto is not None:
            params = {"base_bdev_name": bdev.base, "name": bdev.name, "key_name": own.crypto.key_name}
            await self._rpc.call("bdev_crypto_create", params)
        else:
            await self._rename(bdev.base, bdev.name)

    async def _rename(self, base: str, name: str) -> None:
        raid = {"name": name, "raid_level": "raid0", "strip_size_kb": STRIP_KIB, "base_bdevs": [base]}
        await self._rpc.call("bdev_raid_create", raid)

    async def remove(self, parts: Parts) -> None:
        """Removes the layers from the front's down to the file, and then the key; gone already is fine."""
        for bdev in parts.layers:
            method = _removal(bdev)
            if method:
                await self._delete(method, bdev.name)
        if parts.encrypted:
            await self.drop_key(parts.handle)

    async def _delete(self, method: str, name: str) -> None:
        try:
            await self._rpc.call(method, {"name": name})
        except SpdkError:
            listed = await self._rpc.call("bdev_get_bdevs", of=list[BdevSeen])
            if any(bdev.name == name for bdev in listed):
                raise


def _removal(bdev: BdevSeen) -> str:
    """The method that deletes a bdev; empty for a remote one, which goes with its controller."""
    own = bdev.driver_specific
    if own.crypto is not None:
        return "bdev_crypto_delete"
    if own.raid is not None:
        return "bdev_raid_delete"
    return "bdev_aio_delete" if own.aio is not None else ""
