"""Representors of a DPU, as its card's driver tells them: devlink, or where that says nothing, sysfs.

Source: Linux, include/uapi/linux/devlink.h; Documentation/networking/devlink/devlink-port.rst, switchdev.rst.
"""

import re
import struct
import time
from pathlib import Path

import structlog

from dpu_daemon.drivers.netlink_dump import GENL_HEAD, NETLINK_GENERIC, attributes, dump, family
from dpu_daemon.model.representor import RepresentorSeen, of_function

LOG = structlog.get_logger(__name__)

FAMILY = "devlink"
PORT_GET = 5
BUS_NAME, DEV_NAME, NETDEV_NAME, FLAVOUR, PF_NUMBER, VF_NUMBER, CONTROLLER = 1, 2, 7, 77, 127, 128, 150
PORT_FUNCTION, FUNCTION_ADDRESS = 145, 1
FLAVOUR_PCI_VF = 4
PORT_NAME = re.compile(r"(?:c(?P<controller>\d+))?pf(?P<pf>\d+)vf(?P<vf>\d+)")
SYSFS = Path("/sys")
FRESH_S = 1.0


def devlink_representors() -> tuple[RepresentorSeen, ...]:
    """Ports of flavour pcivf that have a netdev here.

    Raises:
        OSError: this kernel has no devlink, or does not answer.
    """
    found = []
    for body in dump(NETLINK_GENERIC, family(FAMILY), GENL_HEAD.pack(PORT_GET, 1)):
        values = dict(attributes(body[GENL_HEAD.size :]))
        if _number(values, FLAVOUR) != FLAVOUR_PCI_VF or NETDEV_NAME not in values:
            continue
        found.append(
            RepresentorSeen(
                netdev=_text(values[NETDEV_NAME]),
                controller=_number(values, CONTROLLER),
                pf=_number(values, PF_NUMBER),
                vf=_number(values, VF_NUMBER),
                device=f"{_text(values.get(BUS_NAME, b''))}/{_text(values.get(DEV_NAME, b''))}",
                mac=dict(attributes(values.get(PORT_FUNCTION, b""))).get(FUNCTION_ADDRESS, b"").hex(":"),
            )
        )
    return tuple(found)


def sysfs_representors(sysfs: Path = SYSFS) -> tuple[RepresentorSeen, ...]:
    """The same by ``phys_port_name``, of netdevs that belong to a switch."""
    found = []
    for netdev in sorted((sysfs / "class" / "net").iterdir()):
        named = PORT_NAME.fullmatch(_line(netdev / "phys_port_name"))
        if named is None or not _line(netdev / "phys_switch_id"):
            continue
        found.append(
            RepresentorSeen(
                netdev=netdev.name,
                controller=int(named["controller"] or 0),
                pf=int(named["pf"]),
                vf=int(named["vf"]),
            )
        )
    return tuple(found)


def representors(sysfs: Path = SYSFS) -> tuple[RepresentorSeen, ...]:
    """All that can be found, devlink's word first."""
    try:
        found = devlink_representors()
    except OSError as error:
        LOG.debug("devlink tells nothing", error=str(error))
        found = ()
    return found or sysfs_representors(sysfs)


class FoundRepresentors:
    """A Naming: finds the representor of a function when it is asked for; looking costs the kernel a millisecond.

    Args:
        pf: number of the physical function whose virtual ones the host has.
        controller: None for the host's.
    """

    def __init__(self, *, pf: int = 0, controller: int | None = None) -> None:
        self._pf = pf
        self._controller = controller
        self._known: dict[int, str] = {}
        self._looked_at = float("-inf")

    def netdevs(self) -> dict[int, str]:
        """Netdevs by index of the function, not older than a second."""
        now = time.monotonic()
        if now - self._looked_at > FRESH_S:
            self._known = of_function(representors(), pf=self._pf, controller=self._controller)
            self._looked_at = now
        return self._known


def _number(values: dict[int, bytes], attribute: int) -> int:
    value = values.get(attribute, b"")
    shape = {2: "=H", 4: "=I"}.get(len(value))
    return int(struct.unpack(shape, value)[0]) if shape else 0


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


def _line(path: Path) -> str:
    """Content of a file of sysfs; empty when the netdev has no such thing."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
