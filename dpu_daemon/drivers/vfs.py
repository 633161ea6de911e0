"""A host's virtual functions of SR-IOV, as sysfs shows them."""

# A look is on the way of every ADD: it names files by strings, which takes a quarter of what path objects take.
# ruff: noqa: PTH112, PTH115, PTH119, PTH208

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog
from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from dpu_daemon.drivers.kernel_alarms import KernelAlarms
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.vf import VfSeen
from proto.errors import DpuError
from proto.reasons import Reason

SET_MAC_S = 5.0
_READ_BYTES = 4096
"""More than any value of sysfs."""
_VIRTFN = re.compile(r"virtfn\d+")
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
        self._setting_up = asyncio.Lock()
        """Held while the card makes functions, which takes seconds; until then the kernel answers nothing of them."""

    async def start(self, lost: Lost) -> None:
        """Watch, and set functions up where there are none."""
        self._alarms.start(lambda: lost(""))
        async with self._setting_up:
            await asyncio.to_thread(self._set_up)

    async def stop(self) -> None:
        self._alarms.stop()

    def version(self) -> str:
        return self._version

    async def look(self) -> Mapping[int, VfSeen]:
        """Functions by index; the kernel answers from memory, so that the event loop may wait for it.

        Raises:
            DpuError: NOT_FOUND, there is no such physical function.
        """
        async with self._setting_up:
            if self._wants_more():
                await asyncio.to_thread(self._set_up)
        return self._look()

    async def set_mac(self, vf: int, mac: str) -> None:
        """Set a function's MAC through its physical function.

        Raises:
            DpuError: NOT_FOUND without such a function, UNSUPPORTED where the card leaves it to its DPU.
        """
        names = _names(f"{self._device()}/net")
        if not names:
            raise self._no_pf()
        try:
            async with asyncio.timeout(SET_MAC_S), AsyncIPRoute() as netlink:
                numbers = list(await netlink.link_lookup(ifname=names[0]))
                await netlink.link("set", index=numbers[0] if numbers else 0, vf={"vf": vf, "mac": mac})
        except (NetlinkError, TimeoutError) as error:
            message = f"the MAC of function {vf} of {names[0]} cannot be set: {error or 'no answer'}"
            raise DpuError(Reason.UNSUPPORTED, message, field="mac", remedy="the DPU sets it, where it can") from error

    def _device(self) -> str:
        """The physical function's folder; there may be none."""
        bus = f"{self._root}/bus/pci/devices/{self._pf}"
        return os.path.realpath(bus if ":" in self._pf else f"{self._root}/class/net/{self._pf}/device")

    def _look(self) -> dict[int, VfSeen]:
        device = self._device()
        try:
            links = sorted((int(name[6:]), name) for name in os.listdir(device) if _VIRTFN.fullmatch(name))
        except OSError as error:
            raise self._no_pf() from error
        fault, address = self._fault_of_pf(device), os.path.basename(device)
        most = _number(f"{device}/sriov_totalvfs", 0)
        self._version = f"{self._pf} {address}, {len(links)} of {most} functions"
        found = {vf: _seen(vf, f"{device}/{name}", address, fault) for vf, name in links}
        return {vf: function for vf, function in found.items() if function is not None}

    def _fault_of_pf(self, device: str) -> str:
        names = _names(f"{device}/net")
        if not names:
            return f"physical function {self._pf} has no network device"
        state = _text(f"{device}/net/{names[0]}/operstate")
        return "" if state in _AT_WORK else f"physical function {names[0]} is {state or 'gone'}"

    def _wants_more(self) -> bool:
        if not self._count:
            return False
        return _number(f"{self._device()}/sriov_numvfs", -1) < self._count

    def _set_up(self) -> None:
        """Set functions up where there are none: the number of those that exist changes only by losing all of them."""
        device = self._device()
        if not self._count or not os.path.isdir(device):
            return
        have, most = _number(f"{device}/sriov_numvfs", -1), _number(f"{device}/sriov_totalvfs", 0)
        if have < 0 or self._count > most:
            self._complain(f"{self._pf} can have {most} functions; {self._count} are asked for ([vfs] count)")
        elif 0 < have < self._count:
            self._complain(
                f"{self._pf} has {have} functions, not {self._count}: others may be in use, so none is added"
            )
        elif have == 0:
            try:
                self._write(Path(device) / "sriov_numvfs", str(self._count))
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


def _seen(vf: int, link: str, pf_address: str, fault: str) -> VfSeen | None:
    """A function; None for one that went meanwhile."""
    address = _target(link)
    names = _names(f"{link}/net")
    net = f"{link}/net/{names[0]}" if names else ""
    driver, group = _target(f"{link}/driver"), _target(f"{link}/iommu_group")
    seen = VfSeen(
        vf=vf,
        netdev=names[0] if names else "",
        mac=_text(f"{net}/address") if net else "",
        mtu=_number(f"{net}/mtu", 0) if net else 0,
        pci_address=address,
        numa_node=_number(f"{link}/numa_node", -1),
        driver=driver,
        pf_pci_address=pf_address,
        iommu_group=int(group) if group.isdigit() else -1,
        fault=fault,
    )
    if not address:
        return None
    if "vfio" in driver and seen.iommu_group < 0 and not fault:
        return replace(seen, fault=f"function {address} has driver {driver} and no IOMMU group")
    return seen if driver or fault else replace(seen, fault=f"function {address} has no driver")


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _text(path: str) -> str:
    """Empty for what is not there: functions come and go while they are read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(file, _READ_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""
    finally:
        os.close(file)


def _number(path: str, default: int) -> int:
    try:
        return int(_text(path))
    except ValueError:
        return default


def _target(link: str) -> str:
    """Last part of what a link leads to; empty for none."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return ""
