"""Devices and addresses of routing domains; blocking, for a thread of its own."""

import contextlib
import errno
import ipaddress
from collections.abc import Collection
from pathlib import Path

from dpu_daemon.drivers import rtnetlink
from dpu_daemon.drivers.ethernet import disable_tx_checksum, has_address, shield
from dpu_daemon.drivers.opi_network import namespaces
from dpu_daemon.drivers.rtnetlink import IFF_LOWER_UP, IFF_UP, RouteSocket
from dpu_daemon.model.opi_network_seen import LOOPBACK, DomainSeen, EndSeen
from proto.errors import DpuError

SYSCTL = Path("/proc/sys/net")
SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    # A host can only speak for addresses that are routed to it.
    "ipv4/conf/all/rp_filter": "1",
    # Taking away one of a network's addresses leaves the others.
    "ipv4/conf/all/promote_secondaries": "1",
}
USERSPACE = "netdev"


class Domains:
    """Routing domains, and the pairs of devices that lead into them.

    A domain is a network namespace: routes, addresses and neighbours of two never meet, networks may overlap, and what
    hosts send to their gateway never reaches this system's own sockets. VRF devices and rules over routing tables
    leave local addresses in one table for all; the former are not in every kernel.

    Args:
        prefix: with which names of domains begin.
        datapath: of the bridge; the userspace one needs real checksums, and devices that this system is deaf to.
    """

    def __init__(self, *, prefix: str, datapath: str) -> None:
        self._prefix = prefix
        self._userspace = datapath == USERSPACE

    def look(self) -> tuple[dict[str, EndSeen], dict[str, DomainSeen]]:
        """Devices of this system, and domains; both by name."""
        domains = {}
        for name in namespaces.named(self._prefix):
            # One that goes meanwhile is gone.
            with contextlib.suppress(DpuError), namespaces.inside(name):
                domains[name] = DomainSeen(ends=_ends(), routes=_routes())
        return _ends(), domains

    def raise_link(self, name: str) -> None:
        """Bring a device up; what comes from it is not for this system."""
        if self._userspace and not has_address(name):
            shield(name)
        with RouteSocket() as route:
            route.do([rtnetlink.set_link(_index(route, name), f"bring {name} up", up=True)])

    def make_domain(self, name: str) -> None:
        """Make a domain, or put it right."""
        namespaces.make(name)
        with namespaces.inside(name), RouteSocket() as route:
            route.do([rtnetlink.set_link(_index(route, LOOPBACK), f"bring {LOOPBACK} up", up=True)])
            for key, value in SETTINGS.items():
                path = SYSCTL / key
                if path.exists():
                    path.write_text(value)

    def remove_domain(self, name: str) -> None:
        """Remove a domain with all that is in it."""
        namespaces.remove(name)

    def make_gateway(self, outside: str, inside: str, domain: str, mac: str) -> None:
        """Make a pair of devices, or put it right; a half one is made anew."""
        with namespaces.inside(domain):
            whole = inside in _ends()
        if not (whole and outside in _ends()):
            self.remove_gateway(outside, inside, domain)
            with contextlib.closing(namespaces.opened(domain)) as there, RouteSocket() as route:
                peer = rtnetlink.link_values(name=inside, mac=mac, netns=there.fileno())
                route.do([rtnetlink.make_veth(outside, peer, 0, f"make {outside}")])
        self.raise_link(outside)
        with namespaces.inside(domain), RouteSocket() as route:
            if self._userspace:
                disable_tx_checksum(inside)
            values = rtnetlink.link_values(mac=mac)
            route.do([rtnetlink.set_link(_index(route, inside), f"bring {inside} up", values, up=True)])

    def remove_gateway(self, outside: str, inside: str, domain: str) -> None:
        """Remove a pair of devices, each end by itself: either may be left alone."""
        with RouteSocket() as route:
            route.do([rtnetlink.delete_link(outside, f"remove {outside}")])
        if namespaces.exists(domain):
            with namespaces.inside(domain), RouteSocket() as route:
                route.do([rtnetlink.delete_link(inside, f"remove {inside}")])

    def set_addresses(self, domain: str, name: str, addresses: Collection[str]) -> None:
        """Add what is missing, then remove what is too much."""
        with namespaces.inside(domain), RouteSocket() as route:
            index = _index(route, name)
            there = _ends()[name].given
            wanted = {str(ipaddress.ip_interface(each)) for each in addresses}
            missing = [rtnetlink.add_address(index, ipaddress.ip_interface(each)) for each in sorted(wanted - there)]
            surplus = [rtnetlink.delete_address(index, ipaddress.ip_interface(each)) for each in sorted(there - wanted)]
            # The kernel refuses a message without requests.
            if missing or surplus:
                route.do([*missing, *surplus])


def _ends() -> dict[str, EndSeen]:
    """Devices of the namespace that the calling thread stands in."""
    with RouteSocket() as route:
        links = [rtnetlink.read_link(body) for body in route.get(rtnetlink.get_links(), dump=True)]
        found = [rtnetlink.read_address(body) for body in route.get(rtnetlink.get_addresses(), dump=True)]
    addresses: dict[int, set[str]] = {}
    for index, address in found:
        addresses.setdefault(index, set()).add(str(ipaddress.ip_interface(address)))
    return {
        link.name: EndSeen(
            name=link.name,
            mac=link.mac,
            up=bool(link.flags & IFF_UP),
            carrier=bool(link.flags & IFF_LOWER_UP),
            addresses=frozenset(addresses.get(link.index, ())),
        )
        for link in links
    }


def _routes() -> bool:
    """Whether this namespace passes packets on as a domain shall, in every family that it has."""
    paths = {SYSCTL / key: value for key, value in SETTINGS.items()}
    return all(path.read_text().strip() == value for path, value in paths.items() if path.exists())


def _index(route: RouteSocket, name: str) -> int:
    bodies = route.get(rtnetlink.get_link(name), dump=False)
    if not bodies:
        raise OSError(errno.ENODEV, f"there is no device {name}")
    return rtnetlink.read_link(bodies[0]).index
