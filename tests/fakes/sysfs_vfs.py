"""A sysfs of files: one physical function, its virtual ones, their drivers and network devices."""

import shutil
from pathlib import Path

PF = "ens1f0"
PF_ADDRESS = "0000:03:00.0"


class FakeSysfs:
    """As the kernel lays it out; functions come by writing `sriov_numvfs`, as they do there.

    Args:
        root: of the tree.
        most: functions that the card can have.
    """

    def __init__(self, root: Path, *, most: int = 8) -> None:
        self.root = root
        self.writes: list[str] = []
        self.pf = root / "devices/pci0000:00" / PF_ADDRESS
        self._put(self.pf / "sriov_totalvfs", most)
        self._put(self.pf / "sriov_numvfs", 0)
        self._put(self.pf / "net" / PF / "operstate", "up")
        self._put(self.pf / "net" / PF / "address", "02:00:00:00:00:ff")
        (self.pf / "net" / PF / "device").symlink_to(self.pf)
        (root / "class/net").mkdir(parents=True)
        (root / "class/net" / PF).symlink_to(self.pf / "net" / PF)
        (root / "bus/pci/devices").mkdir(parents=True)
        (root / "bus/pci/devices" / PF_ADDRESS).symlink_to(self.pf)

    @staticmethod
    def address(vf: int) -> str:
        return f"0000:03:{(vf + 2) // 8:02x}.{(vf + 2) % 8}"

    def write(self, path: Path, text: str) -> None:
        """What the driver writes with: the kernel makes the functions at once."""
        self.writes.append(text)
        if (self.pf / "sriov_numvfs").read_text().strip() != "0":
            raise OSError(16, "Device or resource busy")
        path.write_text(text)
        self.make(int(text))

    def make(self, count: int) -> None:
        """Functions on two NUMA nodes in turn, with the card's network driver."""
        self._put(self.pf / "sriov_numvfs", count)
        for vf in range(count):
            folder = self.folder(vf)
            self._put(folder / "numa_node", vf % 2)
            self.bind(vf, "mlx5_core", netdev=f"ens1f0v{vf}")
            (self.pf / f"virtfn{vf}").symlink_to(folder)
            (self.root / "bus/pci/devices" / folder.name).symlink_to(folder)

    def folder(self, vf: int) -> Path:
        return self.pf.parent / self.address(vf)

    def bind(self, vf: int, driver: str, *, netdev: str = "", group: int = -1) -> None:
        """Give a function to a driver; without a name for none, nor a network device."""
        folder = self.folder(vf)
        shutil.rmtree(folder / "net", ignore_errors=True)
        for name in ("driver", "iommu_group"):
            (folder / name).unlink(missing_ok=True)
        if driver:
            self._link(folder / "driver", self.root / "bus/pci/drivers" / driver)
        if group >= 0:
            self._link(folder / "iommu_group", self.root / "kernel/iommu_groups" / str(group))
        if netdev:
            self._put(folder / "net" / netdev / "address", f"02:00:00:00:00:{vf:02x}")
            self._put(folder / "net" / netdev / "mtu", 1500)

    def take(self, vf: int) -> None:
        """Its network device goes into a container: this namespace's sysfs shows it no more."""
        shutil.rmtree(self.folder(vf) / "net")

    def remove(self, vf: int) -> None:
        (self.pf / f"virtfn{vf}").unlink()

    def set_pf(self, state: str) -> None:
        self._put(self.pf / "net" / PF / "operstate", state)

    @staticmethod
    def _put(path: Path, value: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")

    @staticmethod
    def _link(path: Path, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
