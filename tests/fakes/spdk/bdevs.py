"""Bdevs of a fake SPDK: malloc, null, aio, crypto, raid, limits, counters."""

import asyncio
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fakes.spdk.refusal import INTERNAL, PARAMS, RefusalError, bad_params, by_errno

if TYPE_CHECKING:
    from tests.fakes.spdk.process import FakeSpdk

ENODEV, EEXIST, EINVAL, ENOENT, EISDIR, EPERM, ENOMEM = 19, 17, 22, 2, 21, 1, 12
MEMORY_BYTES = 1 << 36
"""More than any process of a test gets."""
MIB = 1 << 20
LIMITS = ("rw_ios_per_sec", "rw_mbytes_per_sec", "r_mbytes_per_sec", "w_mbytes_per_sec")
QOS_STUCK = "Failed to configure rate limit: Resource temporarily unavailable"


@dataclass
class Bdev:
    """One block device.

    Attributes:
        kind: the module that owns it, such as ``null``.
        base: the bdev that it stands on.
        detail: what its module tells of it.
        limited_unopened: limits were set while nobody had a channel to it: they can never change again.
    """

    name: str
    kind: str
    block_size: int
    num_blocks: int
    uuid: str
    base: str = ""
    aliases: list[str] = field(default_factory=list)
    claimed_by: str = ""
    limits: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LIMITS, 0))
    limited_unopened: bool = False
    detail: dict[str, Any] = field(default_factory=dict)
    reads: int = 0
    writes: int = 0

    @property
    def size_bytes(self) -> int:
        return self.block_size * self.num_blocks


class Bdevs:
    """The bdev layer of one process."""

    def __init__(self, process: "FakeSpdk") -> None:
        self._process = process
        self.all: dict[str, Bdev] = {}
        self.uuids: set[str] = set()
        self.pending: dict[str, tuple[str, dict[str, Any]]] = {}
        """Crypto bdevs whose base is not there, by their base."""

    def add(self, bdev: Bdev) -> str:
        """Register; a taken name or UUID is refused."""
        if not bdev.name:
            raise by_errno(EINVAL)
        if bdev.name in self.all or bdev.uuid in self.uuids:
            raise by_errno(EEXIST)
        self.all[bdev.name] = bdev
        self.uuids.add(bdev.uuid)
        self._process.events.say("bdev_register", bdev.name)
        if bdev.name in self.pending:
            name, params = self.pending.pop(bdev.name)
            self._crypto(bdev, name, params)
        self._process.lvols.image_came(bdev.uuid)
        return bdev.name

    def drop(self, name: str) -> None:
        """Unregister, whoever uses it: fronts lose it without a word, and so does what stands on it."""
        for other in [bdev.name for bdev in self.all.values() if bdev.base == name]:
            self.drop(other)
        bdev = self.all.pop(name, None)
        if bdev is None:
            return
        self.uuids.discard(bdev.uuid)
        if bdev.base in self.all:
            self.all[bdev.base].claimed_by = ""
        self._process.nvmf.lose(name)
        self._process.vhost.lose(name)
        self._process.lvols.lose(name)
        self._process.events.say("bdev_unregister", name)

    def resize(self, name: str, num_blocks: int) -> None:
        """A source has another size; what stands on it follows, and so do remote users."""
        bdev = self.all[name]
        bdev.num_blocks = num_blocks
        self._process.events.say("bdev_resize", name)
        for other in self.all.values():
            if other.base == name and other.kind in {"crypto", "raid"}:
                self.resize(other.name, num_blocks)
        self._process.nvmf.resized(name)

    def find(self, name: str) -> Bdev:
        if name in self.all:
            return self.all[name]
        for bdev in self.all.values():
            if name in (bdev.name, bdev.uuid, *bdev.aliases):
                return bdev
        raise by_errno(ENODEV)

    def of_kind(self, name: str, kind: str) -> Bdev:
        bdev = self.all.get(name)
        if bdev is None or bdev.kind != kind:
            raise by_errno(ENODEV)
        return bdev

    # ---- methods -------------------------------------------------------------------------------------------------

    def bdev_get_bdevs(self, name: str = "", timeout: int = 0) -> list[dict[str, Any]]:
        for key in self._process.keys.destroyed_in_use:
            if any(bdev.detail.get("key_name") == key for bdev in self.all.values()):
                self._process.crash(f"a list with a bdev whose key {key} was destroyed")
        if not name:
            return [self.told(bdev) for bdev in self.all.values()]
        try:
            return [self.told(self.find(name))]
        except RefusalError:
            if timeout:
                raise RefusalError(-110, "Connection timed out") from None
            raise

    def told(self, bdev: Bdev) -> dict[str, Any]:
        return {
            "name": bdev.name,
            "aliases": [*bdev.aliases, *([bdev.uuid] if bdev.kind != "lvol" else [])],
            "product_name": bdev.kind,
            "block_size": bdev.block_size,
            "num_blocks": bdev.num_blocks,
            "uuid": bdev.uuid,
            "assigned_rate_limits": dict(bdev.limits),
            "claimed": bool(bdev.claimed_by),
            "zoned": False,
            "driver_specific": _detail(bdev),
        }

    def bdev_malloc_create(self, num_blocks: int, block_size: int, name: str = "", uuid: str = "") -> str:
        if num_blocks * block_size > MEMORY_BYTES:
            raise by_errno(ENOMEM)
        return self.add(self._made(name or f"Malloc{len(self.all)}", "malloc", block_size, num_blocks, uuid))

    def bdev_null_create(self, name: str, num_blocks: int, block_size: int, uuid: str = "") -> str:
        return self.add(self._made(name, "null", block_size, num_blocks, uuid))

    def _made(self, name: str, kind: str, block_size: int, num_blocks: int, given: str) -> Bdev:
        if num_blocks <= 0 or block_size % 512:
            raise by_errno(EINVAL)
        return Bdev(name, kind, block_size, num_blocks, given or str(uuid.uuid4()))

    def bdev_malloc_delete(self, name: str) -> bool:
        self.drop(self.of_kind(name, "malloc").name)
        return True

    def bdev_null_delete(self, name: str) -> bool:
        self.drop(self.of_kind(name, "null").name)
        return True

    def bdev_null_resize(self, name: str, new_size: int) -> bool:
        bdev = self.of_kind(name, "null")
        if new_size * MIB < bdev.size_bytes:
            raise by_errno(EINVAL)
        self.resize(name, new_size * MIB // bdev.block_size)
        return True

    def bdev_aio_create(
        self, name: str, filename: str, block_size: int = 0, uuid: str = "", *, readonly: bool = False
    ) -> str:
        size = self._file_size(filename)
        if not block_size and filename not in self._process.fabric.files:
            raise by_errno(EINVAL)
        bdev = self._made(name, "aio", block_size or 512, size // (block_size or 512), uuid)
        bdev.detail = {"filename": filename, "readonly": readonly}
        self.add(bdev)
        self._process.lvols.examine(bdev)
        return name

    def _file_size(self, filename: str) -> int:
        if filename in self._process.fabric.files:
            return self._process.fabric.files[filename]
        path = Path(filename)
        if path.is_dir():
            raise RefusalError(-EISDIR, "Is a directory")
        if not path.exists():
            raise RefusalError(-ENOENT, "No such file or directory")
        return path.stat().st_size

    async def bdev_aio_delete(self, name: str) -> bool:
        bdev = self.of_kind(name, "aio")
        if self._process.lvols.stand_on(bdev.uuid):
            # It is half gone, its clones read on from it, and the call is never answered.
            await asyncio.Event().wait()
        self.drop(bdev.name)
        return True

    def bdev_wait_for_examine(self) -> bool:
        return True

    def bdev_aio_rescan(self, name: str) -> bool:
        bdev = self.of_kind(name, "aio")
        size = self._file_size(bdev.detail["filename"])
        if size < bdev.size_bytes:
            raise RefusalError(-16, "Device or resource busy")
        if size > bdev.size_bytes:
            self.resize(name, size // bdev.block_size)
        return True

    def bdev_raid_create(
        self, name: str, raid_level: str, base_bdevs: list[str], strip_size_kb: int = 0, uuid: str = ""
    ) -> bool:
        if name in self.all:
            raise by_errno(EEXIST)
        base = self.all.get(base_bdevs[0])
        if base is None or len(base_bdevs) != 1 or raid_level not in {"raid0", "0"} or strip_size_kb <= 0:
            raise RefusalError(-ENODEV, "Failed to add base bdev")
        if base.claimed_by:
            raise RefusalError(-EPERM, "Operation not permitted")
        bdev = self._made(name, "raid", base.block_size, base.num_blocks, uuid)
        bdev.base = base.name
        self.add(bdev)
        base.claimed_by = name
        return True

    def bdev_raid_delete(self, name: str) -> bool:
        self.drop(self.of_kind(name, "raid").name)
        return True

    def bdev_crypto_create(self, base_bdev_name: str, name: str, key_name: str = "") -> str:
        if key_name not in self._process.keys.all:
            raise bad_params("Key was not found")
        if name in self.all:
            raise by_errno(EEXIST)
        base = self.all.get(base_bdev_name)
        if base is None:
            # Registers when the base appears, and until then can neither be seen nor removed.
            self.pending[base_bdev_name] = (name, {"key_name": key_name})
            return name
        if base.claimed_by:
            raise RefusalError(-EPERM, "Operation not permitted")
        self._crypto(base, name, {"key_name": key_name})
        return name

    def _crypto(self, base: Bdev, name: str, detail: dict[str, Any]) -> None:
        bdev = self._made(name, "crypto", base.block_size, base.num_blocks, "")
        bdev.base, bdev.detail = base.name, detail
        self.add(bdev)
        base.claimed_by = name

    def bdev_crypto_delete(self, name: str) -> bool:
        self.drop(self.of_kind(name, "crypto").name)
        return True

    def bdev_set_qos_limit(self, name: str, **asked: int) -> bool:
        bdev = self.find(name)
        if not asked or asked.keys() - set(LIMITS):
            raise by_errno(EINVAL)
        opened = self._process.nvmf.shows(bdev.name) or self._process.vhost.has_client(bdev.name)
        newer = self._process.release >= (25, 9)
        if bdev.limited_unopened and newer and not opened:
            raise RefusalError(PARAMS, QOS_STUCK)
        bdev.limited_unopened = bdev.limited_unopened or (not opened and any(asked.values()))
        for key, value in asked.items():
            bdev.limits[key] = -(-value // 1000) * 1000 if key == "rw_ios_per_sec" else value
        return True

    def bdev_get_iostat(self, name: str = "", names: list[str] | None = None) -> dict[str, Any]:
        if name and self._process.release >= (26, 5):
            raise RefusalError(INTERNAL, "spdk_json_decode_object failed")
        if names is not None and self._process.release < (26, 1):
            raise RefusalError(INTERNAL, "spdk_json_decode_object failed")
        chosen = [self.find(each) for each in names or ([name] if name else list(self.all))]
        return {"tick_rate": 2_000_000_000, "ticks": 1, "bdevs": [_counters(bdev) for bdev in chosen]}


def _detail(bdev: Bdev) -> dict[str, Any]:
    match bdev.kind:
        case "raid":
            member = {"name": bdev.base, "is_configured": True}
            return {"raid": {"raid_level": "raid0", "state": "online", "base_bdevs_list": [member]}}
        case "crypto":
            return {"crypto": {"base_bdev_name": bdev.base, "name": bdev.name, **bdev.detail}}
        case "aio" | "lvol" | "nvme":
            return {bdev.kind: bdev.detail if bdev.kind != "nvme" else [bdev.detail]}
        case _:
            return {}


def _counters(bdev: Bdev) -> dict[str, Any]:
    return {
        "name": bdev.name,
        "bytes_read": bdev.reads * 4096,
        "num_read_ops": bdev.reads,
        "bytes_written": bdev.writes * 4096,
        "num_write_ops": bdev.writes,
        "bytes_unmapped": 0,
        "num_unmap_ops": 0,
        "read_latency_ticks": bdev.reads * 200_000,
        "write_latency_ticks": bdev.writes * 100_000,
        "io_error": {},
    }
