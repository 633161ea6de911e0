"""A PCI function changes hands by driver_override, in a sysfs whose kernel is the test."""

from pathlib import Path

import pytest

from csi_plugin.node.functions import SysfsFunctions
from csi_plugin.node.model import HostDriver
from proto.errors import DpuError
from proto.reasons import Reason

ADDRESS = "0000:03:00.0"


class Kernel:
    """Acts on what is written, as sysfs-bus-pci describes it."""

    def __init__(self, sysfs: Path) -> None:
        self.bus = sysfs / "bus" / "pci"
        self.function = self.bus / "devices" / ADDRESS
        self.function.mkdir(parents=True)
        (self.function / "driver_override").write_text("(null)")
        for driver in ("nvme", "vfio-pci"):
            (self.bus / "drivers" / driver).mkdir(parents=True)
            (self.bus / "drivers" / driver / "unbind").touch()
        group = sysfs / "kernel" / "iommu_groups" / "7"
        group.mkdir(parents=True)
        (self.function / "iommu_group").symlink_to(group)
        self.refuses = False
        self.bind("nvme")

    def bind(self, driver: str) -> None:
        (self.function / "driver").symlink_to(self.bus / "drivers" / driver)

    def driver(self) -> str:
        link = self.function / "driver"
        return link.resolve().name if link.exists() else ""

    def write(self, attribute: Path, words: str) -> None:
        if attribute.name == "driver_override":
            attribute.write_text(words.strip() or "(null)")
        elif attribute.name == "unbind":
            (self.function / "driver").unlink()
        elif attribute.name == "drivers_probe" and not self.driver():
            override = (self.function / "driver_override").read_text()
            wanted = "nvme" if override == "(null)" else override
            if not (self.refuses and wanted == "vfio-pci"):
                self.bind(wanted)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


@pytest.fixture
def functions(tmp_path: Path, kernel: Kernel) -> SysfsFunctions:
    return SysfsFunctions(tmp_path, Path("/dev"), kernel.write)


async def test_a_function_is_given_to_a_driver_and_back_again(kernel: Kernel, functions: SysfsFunctions) -> None:
    for _ in range(2):
        assert await functions.give(ADDRESS, HostDriver.VFIO_PCI) == "/dev/vfio/7"
        assert kernel.driver() == "vfio-pci"
    for _ in range(2):
        await functions.give_back(ADDRESS)
        assert kernel.driver() == "nvme"


async def test_a_driver_that_the_kernel_has_not_is_named(kernel: Kernel, functions: SysfsFunctions) -> None:
    (kernel.bus / "drivers" / "vfio-pci" / "unbind").unlink()
    (kernel.bus / "drivers" / "vfio-pci").rmdir()
    with pytest.raises(DpuError, match="no driver vfio-pci") as refused:
        await functions.give(ADDRESS, HostDriver.VFIO_PCI)
    assert (refused.value.reason, kernel.driver()) == (Reason.WRONG_STATE, "nvme")


async def test_a_function_that_the_driver_does_not_take_is_told(kernel: Kernel, functions: SysfsFunctions) -> None:
    kernel.refuses = True
    with pytest.raises(DpuError, match="has the driver none, not vfio-pci"):
        await functions.give(ADDRESS, HostDriver.VFIO_PCI)
    await functions.give_back(ADDRESS)
    assert kernel.driver() == "nvme"


async def test_without_an_iommu_nothing_can_be_opened(kernel: Kernel, functions: SysfsFunctions) -> None:
    (kernel.function / "iommu_group").unlink()
    with pytest.raises(DpuError, match="IOMMU"):
        await functions.give(ADDRESS, HostDriver.VFIO_PCI)


async def test_a_function_that_is_gone_is_given_back_already(functions: SysfsFunctions) -> None:
    await functions.give_back("0000:04:00.0")
