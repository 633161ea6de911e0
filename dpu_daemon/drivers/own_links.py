"""The node's own interface: a function that stays in the daemon's network namespace, taken and given back by name."""

import errno
from ipaddress import ip_interface
from pathlib import Path

from dpu_daemon.drivers import rtnetlink as rt
from dpu_daemon.model.sandbox import HomeDevice

LOOPBACK = 1
ACCEPT_RA = "/proc/sys/net/ipv6/conf/{}/accept_ra"


def refuse_advertisements(interface: str) -> None:
    """The pods' routers advertise themselves; a node's own default route is none of their business.

    Raises:
        OSError: the kernel refused.
    """
    switch = Path(ACCEPT_RA.format(interface))
    if switch.exists():
        switch.write_text("0")


def take(device: str, interface: str) -> str:
    """A device gets another name, without what it had on it, and stays down; answers its kind.

    Raises:
        OSError: the kernel refused; ENODEV when it is gone.
    """
    with rt.RouteSocket() as here:
        link = rt.read_link(here.get(rt.get_link(device), dump=False)[0])
        _strip(here, link.index, device)
        here.do((rt.set_link(link.index, f"name {device} {interface}", rt.link_values(name=interface)),))
    return link.kind


def give_back(interface: str, mac: str, home: HomeDevice) -> bool:
    """The device of this name, or else the only one with this MAC, is as it was; False when there is none.

    Raises:
        OSError: the kernel refused.
    """
    with rt.RouteSocket() as here:
        link = _named(here, interface) or _of_mac(here, mac)
        if link is None:
            return False
        _strip(here, link.index, link.name)
        name = home.name if link.name != home.name else ""
        values = rt.link_values(name=name, mac=home.mac, mtu=home.mtu)
        here.do((rt.set_link(link.index, f"give {home.name} back", values),))
    return True


def _named(here: rt.RouteSocket, name: str) -> rt.Link | None:
    try:
        return rt.read_link(here.get(rt.get_link(name), dump=False)[0])
    except rt.KernelRefusedError as refused:
        if refused.errno == errno.ENODEV:
            return None
        raise


def _of_mac(here: rt.RouteSocket, mac: str) -> rt.Link | None:
    """Somebody gave it another name; a bridge or a VLAN over it has its MAC, too, and then nobody is taken for it."""
    links = [rt.read_link(body) for body in here.get(rt.get_links(), dump=True)] if mac else []
    found = [link for link in links if link.mac == mac and link.index != LOOPBACK]
    return found[0] if len(found) == 1 else None


def _strip(here: rt.RouteSocket, index: int, name: str) -> None:
    """Down, and without addresses: its routes go with that."""
    addresses = [rt.read_address(body) for body in here.get(rt.get_addresses(), dump=True)]
    gone = [rt.delete_address(index, ip_interface(text)) for at, text in addresses if at == index]
    here.do((rt.take_down(index, f"take {name} down"), *gone))
