"""Settings of OPI's network on a DPU."""

import ipaddress
import re
from collections.abc import Iterator

from dpu_daemon.config_switch import SwitchSection
from dpu_daemon.sections import Section

NAME_LETTERS = 15
_DOMAINS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class OpiNetworkSection(Section, frozen=True):
    """OPI's own part of the switch.

    Attributes:
        bridge: of the switch; made with the first object, and nobody else's: not OVN's, not that of bare-metal ports.
        uplink: network device that carries the VLANs of logical bridges without a vni; empty for none.
        vtep: address of this DPU where VXLAN tunnels begin, where a logical bridge names none; empty for none.
        remotes: addresses of the other DPUs; each logical bridge with a vni has a tunnel to each.
        domains: with which names of routing domains' network namespaces begin; two daemons on one system need two.
    """

    bridge: str = "br-opi"
    uplink: str = ""
    vtep: str = ""
    remotes: tuple[str, ...] = ()
    domains: str = "opi-"


def opi_network_faults(section: OpiNetworkSection, switch: SwitchSection) -> Iterator[tuple[str, str]]:
    """Keys, and what is wrong with them."""
    if not 0 < len(section.bridge) <= NAME_LETTERS:
        yield "opi_network.bridge", "is not a device name of 1 to 15 characters"
    if section.bridge == switch.bridge:
        yield "opi_network.bridge", f"{section.bridge} is switch.bridge: OPI needs one of its own"
    if section.uplink and section.uplink == switch.uplink:
        yield "opi_network.uplink", f"{section.uplink} is switch.uplink: a device is in one bridge"
    if not _DOMAINS.fullmatch(section.domains):
        yield "opi_network.domains", "does not begin file names: use letters, digits, '_' and '-'"
    for key, address in (("vtep", section.vtep), *(("remotes", each) for each in section.remotes)):
        if address and not _is_address(address):
            yield f"opi_network.{key}", f"{address!r} is not a numeric address"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
