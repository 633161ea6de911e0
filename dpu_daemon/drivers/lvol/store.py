"""The store: the device that logical volumes lie on, opened after each start of SPDK, and made only when told to.

A device is never overwritten: a store is made on one that reads as zeroes at both ends, and on no other.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from dpu_daemon.drivers.lvol.lists import Bdev, Lists, Lvol, Lvstore, Subsystem
from dpu_daemon.drivers.lvol.names import STORE_BDEV
from dpu_daemon.drivers.spdk.connection import SpdkError
from dpu_daemon.drivers.spdk.rpc import SpdkRpc
from dpu_daemon.drivers.spdk.together import together
from dpu_daemon.model.volume import Clearing
from proto.errors import DpuError
from proto.reasons import Reason

MIB = 1 << 20
LOOKED_AT_BYTES = 4 * MIB
"""At each end: partition tables, file systems, RAID members and stores of others announce themselves there."""

BLANK_PRODUCTS = frozenset({"Malloc disk"})
"""Bdevs that begin empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where volumes lie.

    Attributes:
        name: of the lvstore.
        device: file or block device, opened by AIO; empty when `bdev` is given.
        bdev: one that SPDK has by its own configuration, such as a local NVMe disk.
        make: whether to make a store on a blank device.
        cluster_bytes: of a store that is made; sizes of volumes are multiples of it.
        block_bytes: of the device and so of every volume.
        clearing: of volumes that are made here.
    """

    name: str
    device: str = ""
    bdev: str = ""
    make: bool = False
    cluster_bytes: int = MIB
    block_bytes: int = 512
    clearing: Clearing = Clearing.UNMAP


class Store:
    """The lvstore of one SPDK process.

    Args:
        rpc: the process.
        settings: where it is.
    """

    def __init__(self, rpc: SpdkRpc, settings: StoreSettings) -> None:
        self._rpc = rpc
        self.settings = settings
        self._opening = asyncio.Lock()

    def path(self, lvol: str) -> str:
        """An lvol's name for a call."""
        return f"{self.settings.name}/{lvol}"

    async def lists(self) -> Lists:
        """All that this process has, with the store open.

        Raises:
            DpuError: UNAVAILABLE without contact; WRONG_STATE, naming the setting, without a store.
        """
        store = await self.opened()
        lvols, bdevs, subsystems = await together(
            self._rpc.call("bdev_lvol_get_lvols", {"lvs_name": store.name}, of=list[Lvol]),
            self._rpc.call("bdev_get_bdevs", of=list[Bdev]),
            self._rpc.call("nvmf_get_subsystems", of=list[Subsystem]),
        )
        return Lists(
            store=store,
            lvols={lvol.name: lvol for lvol in lvols},
            bdevs={name: bdev for bdev in bdevs for name in (bdev.name, bdev.uuid, *bdev.aliases)},
            subsystems={subsystem.nqn: subsystem for subsystem in subsystems},
        )

    async def opened(self) -> Lvstore:
        """The store, opened or made now if need be."""
        found = await self._find()
        if found is None:
            async with self._opening:
                found = await self._find() or await self._open()
        return found

    async def _find(self) -> Lvstore | None:
        stores = await self._rpc.call("bdev_lvol_get_lvstores", of=list[Lvstore])
        return next((store for store in stores if store.name == self.settings.name), None)

    async def _open(self) -> Lvstore:
        base = await self._base()
        await self._rpc.call("bdev_wait_for_examine")
        found = await self._find()
        if found is not None:
            return found
        await self._check_blank(base)
        params = {
            "bdev_name": base.name,
            "lvs_name": self.settings.name,
            "cluster_sz": self.settings.cluster_bytes,
            "clear_method": "none",
        }
        try:
            await self._rpc.call("bdev_lvol_create_lvstore", params)
        except SpdkError as error:
            if await self._find() is None:
                message = f"no lvstore {self.settings.name} can be made on {base.name}: {error.said}"
                raise DpuError(Reason.WRONG_STATE, message, field="lvol.store", remedy="see the log of SPDK") from error
        made = await self._find()
        if made is None:
            raise DpuError(Reason.UNAVAILABLE, f"lvstore {self.settings.name} was made and is not there", retry=True)
        return made

    async def _base(self) -> Bdev:
        name = self.settings.bdev or STORE_BDEV
        found = await self._bdev(name)
        if found is None and self.settings.device:
            params = {
                "name": name,
                "filename": self.settings.device,
                "block_size": self.settings.block_bytes,
            }
            try:
                await self._rpc.call("bdev_aio_create", params)
            except SpdkError as error:
                if await self._bdev(name) is None:
                    message = f"SPDK cannot open {self.settings.device}: {error.said}"
                    remedy = "name a file or block device that is there and that SPDK may open"
                    raise DpuError(Reason.UNAVAILABLE, message, field="lvol.device", remedy=remedy) from error
            found = await self._bdev(name)
        if found is None:
            message = f"SPDK has no bdev {name}"
            raise DpuError(Reason.UNAVAILABLE, message, field="lvol.bdev", remedy="see SPDK's own configuration")
        return found

    async def _bdev(self, name: str) -> Bdev | None:
        bdevs = await self._rpc.call("bdev_get_bdevs", of=list[Bdev])
        return next((bdev for bdev in bdevs if name in (bdev.name, *bdev.aliases)), None)

    async def _check_blank(self, base: Bdev) -> None:
        where = self.settings.device or base.name
        if not self.settings.make:
            message = f"{where} has no lvstore {self.settings.name}"
            remedy = "set lvol.make = true to have one made on a blank device, or name the right device"
            raise DpuError(Reason.WRONG_STATE, message, field="lvol.make", remedy=remedy)
        if self.settings.device:
            blank = await asyncio.to_thread(reads_as_zeroes, Path(self.settings.device))
        else:
            blank = base.product_name in BLANK_PRODUCTS and not base.claimed
        if not blank:
            message = f"{where} is not blank, or cannot be seen to be, and is not overwritten"
            remedy = "wipe it yourself, or make the lvstore on it with SPDK's own tools"
            raise DpuError(Reason.WRONG_STATE, message, field="lvol.make", remedy=remedy)


def reads_as_zeroes(path: Path) -> bool:
    """Whether nothing announces itself at either end of a device."""
    with path.open("rb") as device:
        size = device.seek(0, os.SEEK_END)
        for start in {0, max(0, size - LOOKED_AT_BYTES)}:
            device.seek(start)
            if any(device.read(LOOKED_AT_BYTES)):
                return False
    return True
