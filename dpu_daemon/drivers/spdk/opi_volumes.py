"""Volumes that OPI clients make: null, malloc, AIO, encrypted; and their limits."""

from collections.abc import Awaitable, Sequence

from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.listing import BdevSeen
from dpu_daemon.drivers.spdk.opi_errors import attempt, refused
from dpu_daemon.drivers.spdk.opi_look import KIOPS
from dpu_daemon.drivers.spdk.remote import KeyFiles
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.drivers.spdk.stats import IoStat, iostat_params, stats_of
from dpu_daemon.drivers.spdk.together import together
from dpu_daemon.model.disk import DiskStats
from dpu_daemon.model.opi import AioVolume, BackVolume, EncryptedVolume, Limits, MallocVolume, NullVolume
from proto.errors import DpuError
from proto.reasons import Reason

MIB = 1 << 20
REMEDY = "look at SPDK's log and memory"
_DELETES: dict[type[BackVolume], str] = {
    NullVolume: "bdev_null_delete",
    MallocVolume: "bdev_malloc_delete",
    AioVolume: "bdev_aio_delete",
}


class OpiVolumes:
    """Block devices of one SPDK process that OPI clients made.

    Args:
        rpc: the process.
        keys: secrets.
    """

    def __init__(self, rpc: SpdkRpc, keys: KeyFiles) -> None:
        self._rpc = rpc
        self._keys = keys

    async def make(self, handle: str, volume: BackVolume) -> None:
        """Make a volume; one of that name that is there stays.

        Raises:
            DpuError: INVALID for a file that is not there or is too small; EXHAUSTED for one too large for the memory.
        """
        call = self._rpc.call(*_creation(handle, volume))
        field = "filename" if isinstance(volume, AioVolume) else "blocks_count"
        await attempt(call, lambda: self._is_there(handle), field=field, remedy="correct it, or free memory of SPDK")
        if isinstance(volume, AioVolume):
            await self._check_size(handle, volume)

    async def _check_size(self, handle: str, volume: AioVolume) -> None:
        has = await self.blocks(handle)
        if has < volume.blocks_count:
            await self.remove(handle, volume)
            message = f"{volume.filename} has {has} blocks of {volume.block_size} bytes"
            raise DpuError(Reason.INVALID, message, field="blocks_count", remedy="ask for no more, or grow the file")

    async def grow(self, handle: str, volume: BackVolume) -> None:
        """Make a volume larger.

        Raises:
            DpuError: INVALID for a size that SPDK cannot make, or that the file has not.
        """
        size = volume.block_size * volume.blocks_count
        if isinstance(volume, NullVolume):
            if size % MIB:
                message = f"{size} bytes are no whole MiB"
                raise DpuError(Reason.INVALID, message, field="blocks_count", remedy="grow null volumes by whole MiB")
            call = self._rpc.call("bdev_null_resize", {"name": handle, "new_size": size // MIB})
        else:
            call = self._rpc.call("bdev_aio_rescan", {"name": handle})
        await self._tried(call, "blocks_count")
        has = await self.blocks(handle)
        if has < volume.blocks_count:
            message = f"the volume has {has} blocks after all, not {volume.blocks_count}"
            raise DpuError(Reason.INVALID, message, field="blocks_count", remedy="grow its file first")

    async def remove(self, handle: str, volume: BackVolume) -> None:
        """Remove a volume; gone is fine."""
        await self._delete(_DELETES[type(volume)], handle)

    async def encrypt(self, handle: str, base: str, volume: EncryptedVolume) -> None:
        """Lay encryption over a block device that is there: over a missing one SPDK would only promise it.

        Raises:
            DpuError: UNAVAILABLE without the base, UNSUPPORTED by this SPDK.
        """
        if not self._rpc.offers("bdev_crypto_create"):
            message = f"{self._rpc.version()} was built without encryption"
            raise DpuError(Reason.UNSUPPORTED, message, field="cipher", remedy="configure it with --with-crypto")
        await self._make_key(handle, volume)
        params = {"base_bdev_name": base, "name": handle, "key_name": handle}
        call = self._rpc.call("bdev_crypto_create", params)
        await attempt(call, lambda: self._is_there(handle), field="volume_name_ref", remedy=REMEDY)
        if not await self._is_there(handle):
            message = f"{base} is not there to be encrypted"
            raise DpuError(Reason.UNAVAILABLE, message, field="volume_name_ref", remedy="look at the volume")

    async def _make_key(self, handle: str, volume: EncryptedVolume) -> None:
        """A key of that name without its device is of an attempt that was cut off; it may be another one: anew."""
        await self._destroy_key(handle)
        key = self._keys.get(volume.key).volume_key.hex()
        half = len(key) // 2
        params = {"cipher": "AES_XTS", "name": handle, "key": key[:half], "key2": key[half:]}
        await self._tried(self._rpc.call("accel_crypto_key_create", params), "key")

    async def decrypt(self, handle: str) -> None:
        """Take an encrypted device away, then its key: the other way round SPDK would crash."""
        await self._delete("bdev_crypto_delete", handle)
        await self._destroy_key(handle)

    async def _destroy_key(self, handle: str) -> None:
        if await self._is_there(handle):
            return
        try:
            await self._rpc.call("accel_crypto_key_destroy", {"key_name": handle})
        except SpdkError as error:
            keys = await self._rpc.call("accel_crypto_keys_get", of=list[dict[str, object]])
            if any(key.get("name") == handle for key in keys):
                raise refused(error, field="key", remedy=REMEDY) from error

    async def limit(self, bdev: str, limits: Limits) -> None:
        """Set all limits; one that is left out would keep its older value."""
        params = {
            "name": bdev,
            "rw_ios_per_sec": limits.rw_iops_kiops * KIOPS,
            "rw_mbytes_per_sec": limits.rw_bandwidth_mbs,
            "r_mbytes_per_sec": limits.rd_bandwidth_mbs,
            "w_mbytes_per_sec": limits.wr_bandwidth_mbs,
        }
        await self._tried(self._rpc.call("bdev_set_qos_limit", params), "limits")

    async def stats(self, bdevs: Sequence[str]) -> DiskStats:
        """Counters of all of them together."""
        calls = (self._rpc.call("bdev_get_iostat", iostat_params(self._rpc.release, bdev), of=IoStat) for bdev in bdevs)
        try:
            found = [stats_of(reply) for reply in await together(*calls)]
        except SpdkError as error:
            raise refused(error, field="name", remedy="repeat the call when the volume is there") from error
        names = DiskStats.__dataclass_fields__
        return DiskStats(**{name: sum(getattr(each, name) for each in found) for name in names})

    async def blocks(self, handle: str) -> int:
        """Blocks of a device; 0 when it is not there."""
        listed = await self._rpc.call("bdev_get_bdevs", of=list[BdevSeen])
        return next((bdev.num_blocks for bdev in listed if bdev.name == handle), 0)

    async def _is_there(self, handle: str) -> bool:
        listed = await self._rpc.call("bdev_get_bdevs", of=list[BdevSeen])
        return any(bdev.name == handle for bdev in listed)

    async def _is_gone(self, handle: str) -> bool:
        return not await self._is_there(handle)

    async def _delete(self, method: str, handle: str) -> None:
        call = self._rpc.call(method, {"name": handle})
        await attempt(call, lambda: self._is_gone(handle), field="name", remedy=REMEDY)

    async def _tried(self, call: Awaitable[object], field: str) -> None:
        try:
            await call
        except SpdkError as error:
            raise refused(error, field=field, remedy=REMEDY) from error


def _creation(handle: str, volume: BackVolume) -> tuple[str, dict[str, object]]:
    match volume:
        case NullVolume():
            size = {"block_size": volume.block_size, "num_blocks": volume.blocks_count}
            return "bdev_null_create", {"name": handle, "uuid": volume.uuid, **size}
        case MallocVolume():
            params = {"name": handle, "uuid": volume.uuid}
            size = {"block_size": volume.block_size, "num_blocks": volume.blocks_count}
            metadata = {"md_size": volume.metadata_size} if volume.metadata_size else {}
            return "bdev_malloc_create", {**params, **size, **metadata}
        case AioVolume():
            params = {"name": handle, "filename": volume.filename, "uuid": volume.uuid}
            return "bdev_aio_create", {**params, "block_size": volume.block_size}
