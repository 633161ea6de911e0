"""PCI functions and their kernel drivers. Source: sysfs-bus-pci, driver_override; vfio's groups."""

from collections.abc import Callable
from pathlib import Path

from csi_plugin.node.model import HostDriver
from csi_plugin.node.threads import in_thread
from proto.errors import DpuError
from proto.reasons import Reason

BIND_TIMEOUT_S = 20.0


class SysfsFunctions:
    """Writes below a sysfs.

    Args:
        sysfs: where it is mounted.
        dev: where the nodes of devices are.
        write: puts words into an attribute; the kernel acts upon them.
    """

    def __init__(
        self, sysfs: Path = Path("/sys"), dev: Path = Path("/dev"), write: Callable[[Path, str], None] | None = None
    ) -> None:
        self._bus = sysfs / "bus" / "pci"
        self._dev = dev
        self._write = write or _write

    async def give(self, address: str, driver: HostDriver) -> str:
        """Bind a function to a driver; one that it has already is left.

        Returns:
            Path of the node of its IOMMU group.

        Raises:
            DpuError: WRONG_STATE, with what is missing.
        """
        await _soon(lambda: self._bind(address, driver), f"binding {address} to {driver.value}")
        group = self._function(address) / "iommu_group"
        if not group.exists():
            message = f"PCI function {address} is in no IOMMU group"
            raise DpuError(Reason.WRONG_STATE, message, remedy="switch the IOMMU on: kernel parameter intel_iommu=on")
        return str(self._dev / "vfio" / group.resolve().name)

    async def give_back(self, address: str) -> None:
        if self._function(address).exists():
            await _soon(lambda: self._unbind(address), f"giving {address} back to its own driver")

    def _function(self, address: str) -> Path:
        return self._bus / "devices" / address

    def _bind(self, address: str, driver: HostDriver) -> None:
        function = self._function(address)
        if self._driver(address) == driver.value:
            return
        if not (self._bus / "drivers" / driver.value).exists():
            message = f"the kernel has no driver {driver.value}"
            raise DpuError(Reason.WRONG_STATE, message, remedy=f"modprobe {driver.value}")
        self._write(function / "driver_override", driver.value)
        self._probe_anew(address)
        if self._driver(address) != driver.value:
            self._write(function / "driver_override", "\n")
            message = f"PCI function {address} has the driver {self._driver(address) or 'none'}, not {driver.value}"
            raise DpuError(Reason.WRONG_STATE, message, remedy="see the kernel's log")

    def _unbind(self, address: str) -> None:
        self._write(self._function(address) / "driver_override", "\n")
        self._probe_anew(address)

    def _probe_anew(self, address: str) -> None:
        unbind = self._function(address) / "driver" / "unbind"
        if unbind.exists():
            self._write(unbind, address)
        self._write(self._bus / "drivers_probe", address)

    def _driver(self, address: str) -> str:
        link = self._function(address) / "driver"
        return link.resolve().name if link.exists() else ""


def _write(attribute: Path, words: str) -> None:
    attribute.write_text(words, encoding="ascii")


async def _soon(act: Callable[[], None], what: str) -> None:
    try:
        await in_thread(what, act, BIND_TIMEOUT_S)
    except (OSError, TimeoutError) as error:
        message = f"{what}: {str(error) or 'no answer'}"
        raise DpuError(Reason.UNAVAILABLE, message, remedy="see the kernel's log; the call may be repeated") from error
