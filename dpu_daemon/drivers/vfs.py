"""A host's virtual functions: those of SR-IOV by sysfs, or plain network devices that stand for them (the lab's)."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog
from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dpu_daemon.drivers.kernel_alarms import KernelAlarms
from dpu_daemon.drivers.netlink import NetlinkLinks
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.vf import VfSeen
from proto.errors import DpuError
from proto.reasons import Reason

SET_MAC_S = 5.0
_AT_WORK = frozenset({"up", "unknown", "dormant"})
"""Of /sys/class/net/DEVICE/operstate; drivers that do not tell say unknown."""

_log = structlog.get_logger("dpu_daemon.vfs")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")


class SysfsVfs:
    """Functions of one physical function, as the kernel's sysfs shows them.

    Args:
        pf: its network device, or its PCI address.
        count: how many to set up where there are none; functions that exist are never set up anew.
        root: where sysfs is mounted; of the same network namespace as this process.
        write: writes a setting.
    """

    def __init__(
        self, pf: str, *, count: int = 0, root: Path = Path("/sys"), write: Callable[[Path, str], None] = _write
    ) -> None:
        self._pf, self._count, self._root, self._write = pf, count, root, write
        self._alarms = KernelAlarms()
        self._version = ""
        self._complaint = ""

    async def start(self, lost: Lost) -> None:
        """Watch, and set functions up where there are none."""
        self._alarms.start(lambda: lost(""))
        await asyncio.to_thread(self._set_up)

    async def stop(self) -> None:
        self._alarms.stop()

    def version(self) -> str:
        return self._version

    async def look(self) -> Mapping[int, VfSeen]:
        """Functions by index.

        Raises:
            DpuError: NOT_FOUND, there is no such physical function.
        """
        return await asyncio.to_thread(self._look)

    async def set_mac(self, vf: int, mac: str) -> None:
        """Set a function's MAC through its physical function.

        Raises:
            DpuError: NOT_FOUND without such a function, UNSUPPORTED where the card leaves it to its DPU.
        """
        names = _names(self._device() / "net")
        if not names:
            raise self._no_pf()
        try:
            async with asyncio.timeout(SET_MAC_S), AsyncIPRoute() as netlink:
                numbers = list(await netlink.link_lookup(ifname=names[0]))
                await netlink.link("set", index=numbers[0] if numbers else 0, vf={"vf": vf, "mac": mac})
        except (NetlinkError, TimeoutError) as error:
            message = f"the MAC of function {vf} of {names[0]} cannot be set: {error or 'no answer'}"
            raise DpuError(Reason.UNSUPPORTED, message, field="mac", remedy="the DPU sets it, where it can") from error

    def _device(self) -> Path:
        """The physical function's folder; there may be none."""
        bus = self._root / "bus/pci/devices" / self._pf
        return (bus if ":" in self._pf else self._root / "class/net" / self._pf / "device").resolve()

    def _look(self) -> dict[int, VfSeen]:
        device = self._device()
        if not device.is_dir():
            raise self._no_pf()
        self._set_up()
        fault = self._fault_of_pf(device)
        links = {int(link.name[6:]): link.resolve() for link in device.glob("virtfn*") if link.name[6:].isdigit()}
        self._version = f"{self._pf} {device.name}, {len(links)} of {_number(device / 'sriov_totalvfs', 0)} functions"
        return {vf: _seen(vf, folder, device.name, fault) for vf, folder in sorted(links.items())}

    def _fault_of_pf(self, device: Path) -> str:
        names = _names(device / "net")
        if not names:
            return f"physical function {self._pf} has no network device"
        state = _text(device / "net" / names[0] / "operstate")
        return "" if state in _AT_WORK else f"physical function {names[0]} is {state or 'gone'}"

    def _set_up(self) -> None:
        """Set functions up where there are none: the number of those that exist changes only by losing all of them."""
        device = self._device()
        if not self._count or not device.is_dir():
            return
        have, most = _number(device / "sriov_numvfs", -1), _number(device / "sriov_totalvfs", 0)
        if have < 0 or self._count > most:
            self._complain(f"{self._pf} can have {most} functions; {self._count} are asked for ([vfs] count)")
        elif 0 < have < self._count:
            self._complain(
                f"{self._pf} has {have} functions, not {self._count}: others may be in use, so none is added"
            )
        elif have == 0:
            try:
                self._write(device / "sriov_numvfs", str(self._count))
            except OSError as error:
                self._complain(f"{self._count} functions of {self._pf} cannot be set up: {error}")
            else:
                _log.info("functions set up", pf=self._pf, count=self._count)

    def _complain(self, sentence: str) -> None:
        if sentence != self._complaint:
            _log.warning(sentence)
        self._complaint = sentence

    def _no_pf(self) -> DpuError:
        message = f"there is no physical function {self._pf}"
        return DpuError(Reason.NOT_FOUND, message, field="vfs.pf", remedy="see `ip link` and lspci", retry=True)


def _seen(vf: int, folder: Path, pf_address: str, fault: str) -> VfSeen:
    names = _names(folder / "net")
    net = folder / "net" / (names[0] if names else "")
    driver = _target(folder / "driver")
    group = _target(folder / "iommu_group")
    seen = VfSeen(
        vf=vf,
        netdev=names[0] if names else "",
        mac=_text(net / "address") if names else "",
        mtu=_number(net / "mtu", 0) if names else 0,
        pci_address=folder.name,
        numa_node=_number(folder / "numa_node", -1),
        driver=driver,
        pf_pci_address=pf_address,
        iommu_group=int(group) if group.isdigit() else -1,
        fault=fault,
    )
    if seen.is_userspace and seen.iommu_group < 0 and "vfio" in driver and not fault:
        return replace(seen, fault=f"function {folder.name} has driver {driver} and no IOMMU group")
    return seen if driver or fault else replace(seen, fault=f"function {folder.name} has no driver")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    """Empty for what is not there: functions come and go while they are read."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _number(path: Path, default: int) -> int:
    try:
        return int(_text(path))
    except ValueError:
        return default


def _target(link: Path) -> str:
    return link.resolve().name if link.is_symlink() else ""


class NetdevVfs:
    """Plain network devices in the place of functions.

    Args:
        pattern: of their names; ``{n}`` stands for the index.
        count: how many there are.
    """

    def __init__(self, pattern: str, count: int) -> None:
        self._names = {vf: pattern.replace("{n}", str(vf)) for vf in range(count)}
        self._links = NetlinkLinks()
        self._alarms = KernelAlarms()

    async def start(self, lost: Lost) -> None:
        """Watch for devices that come and go."""
        self._alarms.start(lambda: lost(""))

    async def stop(self) -> None:
        self._alarms.stop()

    def version(self) -> str:
        return f"{len(self._names)} network devices"

    async def look(self) -> Mapping[int, VfSeen]:
        """All of them; one that a container has is without a network device here."""
        links = await self._links.look()
        found = {}
        for vf, name in self._names.items():
            link = links.get(name)
            found[vf] = VfSeen(vf=vf, netdev=name, mac=link.mac, mtu=link.mtu) if link else VfSeen(vf=vf)
        return found

    async def set_mac(self, vf: int, mac: str) -> None:
        """Not for a device that always is a network device."""
        message = f"function {vf} is a network device: {mac} is set on it"
        raise DpuError(Reason.UNSUPPORTED, message, field="mac", remedy="set it inside the container")
