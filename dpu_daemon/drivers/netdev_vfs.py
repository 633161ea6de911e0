"""Plain network devices in the place of virtual functions: the lab's, and those of tests."""

import fcntl
import socket
import struct
from collections.abc import Mapping

from dpu_daemon.drivers.kernel_alarms import KernelAlarms
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.vf import VfSeen
from proto.errors import DpuError
from proto.reasons import Reason

SIOCGIFMTU = 0x8921
SIOCGIFHWADDR = 0x8927


class NetdevVfs:
    """Plain network devices in the place of functions.

    Args:
        pattern: of their names; ``{n}`` stands for the index.
        count: how many there are.
    """

    def __init__(self, pattern: str, count: int) -> None:
        self._names = {vf: pattern.replace("{n}", str(vf)) for vf in range(count)}
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
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            return {vf: _device(control, vf, name) for vf, name in self._names.items()}

    async def set_mac(self, vf: int, mac: str) -> None:
        """Not for a device that always is a network device."""
        message = f"function {vf} is a network device: {mac} is set on it"
        raise DpuError(Reason.UNSUPPORTED, message, field="mac", remedy="set it inside the container")


def _device(control: socket.socket, vf: int, name: str) -> VfSeen:
    """A network device by ioctl: naming each costs less than a dump of all devices of a host full of containers."""
    ask = struct.pack("16s24x", name.encode())
    try:
        hardware = fcntl.ioctl(control, SIOCGIFHWADDR, ask)
        (mtu,) = struct.unpack_from("i", fcntl.ioctl(control, SIOCGIFMTU, ask), 16)
    except OSError:
        return VfSeen(vf=vf)
    return VfSeen(vf=vf, netdev=name, mac=hardware[18:24].hex(":"), mtu=mtu)
