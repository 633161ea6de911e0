"""Disks by what sysfs says of them: NGUID and serial of NVMe, serial of virtio-blk; never by name."""

import asyncio
import contextlib
import re
from pathlib import Path

from csi_plugin.node.discovery.uevents import listening, seconds_left
from csi_plugin.node.model import Device, DiskIdentity
from proto.errors import DpuError
from proto.reasons import Reason

SECTOR_BYTES = 512
"""What sysfs counts sizes in, whatever the disk's own blocks."""
NOT_SHOWN = ("loop", "ram", "zram", "dm-", "md", "nbd", "fd", "sr")
"""Disks that no DPU shows."""
_PCI_ADDRESS = re.compile(r"/([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])(?=/)")
_NVME_NAMESPACE = re.compile(r"nvme\d+n\d+")


class SysfsDiscovery:
    """Looks below a sysfs.

    Args:
        sysfs: where it is mounted.
        dev: where the nodes of devices are.
    """

    def __init__(self, sysfs: Path = Path("/sys"), dev: Path = Path("/dev")) -> None:
        self._sysfs = sysfs
        self._dev = dev

    async def look(self, disk: DiskIdentity) -> Device | None:
        """A disk of that NGUID; where a disk tells none, of that serial. One of size 0 is still being made.

        Raises:
            DpuError: WRONG_STATE.
        """
        found = [block for block in self._blocks() if self._matches(block, disk)]
        if len(found) > 1:
            names = ", ".join(block.name for block in found)
            message = f"{names} all have {disk}"
            remedy = "detach what should not be here; with several paths to one disk, switch on nvme_core.multipath"
            raise DpuError(Reason.WRONG_STATE, message, field="publish_context", remedy=remedy)
        device = self._device(found[0]) if found else None
        return device if device is not None and device.size_bytes else None

    async def wait(self, disk: DiskIdentity, timeout_s: float) -> Device:
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with listening() as uevents:
            while True:
                device = await self.look(disk)
                if device is not None:
                    return device
                if seconds_left(deadline) <= 0:
                    raise self._missing(disk, timeout_s)
                await uevents.next(seconds_left(deadline))

    async def grown(self, disk: DiskIdentity, size_bytes: int, timeout_s: float) -> Device:
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with listening() as uevents:
            while True:
                device = await self.wait(disk, max(0.0, seconds_left(deadline)))
                if device.size_bytes >= size_bytes:
                    return device
                if seconds_left(deadline) <= 0:
                    message = f"{device.name} has {device.size_bytes} bytes after {timeout_s:g} s, not {size_bytes}"
                    remedy = "a disk that does not grow live shows its new size when it is attached again"
                    raise DpuError(Reason.UNAVAILABLE, message, field="capacity_range", remedy=remedy)
                self._rescan(device)
                await uevents.next(seconds_left(deadline))

    async def release(self, disk: DiskIdentity) -> None:
        """Nothing was made."""

    def _blocks(self) -> list[Path]:
        """Disks that can be opened; the single paths below an NVMe multipath disk cannot."""
        found = [path for path in (self._sysfs / "block").glob("*") if not path.name.startswith(NOT_SHOWN)]
        return sorted(path for path in found if _read(path / "hidden") != "1")

    def _matches(self, block: Path, disk: DiskIdentity) -> bool:
        nguid = _bare(_read(block / "nguid"))
        if disk.nguid and nguid:
            return nguid == _bare(disk.nguid)
        return bool(disk.serial) and _serial(block) == disk.serial

    def _device(self, block: Path) -> Device:
        return Device(
            name=block.name,
            path=str(self._dev / block.name),
            number=_read(block / "dev"),
            size_bytes=int(_read(block / "size") or "0") * SECTOR_BYTES,
            read_only=_read(block / "ro") == "1",
            pci_address=_pci_address(block),
        )

    def _rescan(self, device: Device) -> None:
        """A namespace that changed is announced, but announcements get lost; virtio has only the announcement."""
        if _NVME_NAMESPACE.fullmatch(device.name):
            with contextlib.suppress(OSError):
                (self._sysfs / "block" / device.name / "device" / "rescan_controller").write_text("1")

    def _missing(self, disk: DiskIdentity, timeout_s: float) -> DpuError:
        expected = f"no disk with {disk} came within {timeout_s:g} s"
        where = " and ".join(
            word for word in (disk.slot and f"slot {disk.slot}", disk.pci_address and f"PCI {disk.pci_address}") if word
        )
        sentences = [expected + (f"; expected in {where}" if where else "")]
        if disk.pci_address:
            sentences.append(self._function(disk.pci_address))
        blocks = self._blocks()
        here = ", ".join(f"{block.name} (serial {_serial(block) or 'unknown'})" for block in blocks)
        sentences.append(f"this host has {here or 'no disk at all'}")
        remedy = "look on the DPU whether it is attached to this host; the call may be repeated"
        return DpuError(Reason.DEADLINE, "; ".join(sentences), field="publish_context", remedy=remedy)

    def _function(self, address: str) -> str:
        function = self._sysfs / "bus" / "pci" / "devices" / address
        if not function.exists():
            return f"no PCI function {address} is here"
        driver = function / "driver"
        if not driver.exists():
            return f"PCI function {address} is here without a driver"
        return f"PCI function {address} is here with the driver {driver.resolve().name}"


def _serial(block: Path) -> str:
    """Of a virtio disk itself, of the controller or subsystem of an NVMe namespace."""
    return _read(block / "serial") or _read(block / "device" / "serial")


def _pci_address(block: Path) -> str:
    found: list[str] = _PCI_ADDRESS.findall(f"{block.resolve()}/")
    return found[-1] if found else ""


def _bare(nguid: str) -> str:
    """Only the digits; none when they are all 0, which means that there is none."""
    bare = nguid.replace("-", "").lower()
    return bare if bare.strip("0") else ""


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
