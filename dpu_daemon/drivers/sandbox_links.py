"""Containers' ends of links: made or moved in one message, the rest over a socket opened inside the namespace."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from typing import TypeVar

import structlog

from dpu_daemon.drivers import rtnetlink as rt
from dpu_daemon.drivers.announcements import announcements, send_frames
from dpu_daemon.drivers.ethernet import disable_tx_checksum
from dpu_daemon.drivers.netns import OWN, OpenNetns, entered, open_netns
from dpu_daemon.drivers.own_links import give_back, refuse_advertisements, take
from dpu_daemon.engine.cni_protocols import NetnsHold
from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.assignment import PodRoute
from dpu_daemon.model.port import LinkSeen
from dpu_daemon.model.sandbox import NODE, HomeDevice, InsideSeen, InsideWanted
from proto.errors import DpuError
from proto.reasons import Reason

T = TypeVar("T")
THREADS = 16
"""Most of a call is waiting inside the kernel, which takes one change of links at a time anyway."""
LOOPBACK = 1
VETH = "veth"
MADE_INSIDE = frozenset(
    {"bond", "bridge", "dummy", "geneve", "gre", "ifb", "ip6gre", "ip6tnl", "ipip", "ipvlan", "ipvtap", "macsec"}
    | {"macvlan", "macvtap", "sit", "team", "tun", "vlan", "vrf", "vxlan", "wireguard", "xfrm"}
)
"""Kinds of links that a container may make by itself, also with the MAC of the function that it has."""
NO_IPV6 = "/proc/sys/net/ipv6/conf/{}/disable_ipv6"

_log = structlog.get_logger(__name__)


class KernelSandboxLinks:
    """SandboxLinks over rtnetlink.

    Args:
        real_checksums: of veth pairs: let the kernel write them, as a userspace datapath passes on what it is given.
    """

    def __init__(self, *, real_checksums: bool) -> None:
        self._real_checksums = real_checksums
        self._home = open_netns(OWN, "")
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="sandbox")
        self._aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="announce")

    async def start(self, lost: Lost) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        self._threads.shutdown(wait=False)
        self._aside.shutdown(wait=False)

    def version(self) -> str:
        return "rtnetlink"

    def open(self, path: str) -> OpenNetns:
        if path == NODE:
            return open_netns(OWN)
        found = open_netns(path)
        if found.inode == self._home.inode:
            found.close()
            message = f"{path} is the network namespace of dpu-daemon itself"
            remedy = "give the container's own; pods of the host's network need no CNI"
            raise DpuError(Reason.INVALID, message, field="CNI_NETNS", remedy=remedy)
        return found

    async def look(self, hold: NetnsHold, interface: str) -> InsideSeen | None:
        return await self._run(lambda: self._inside(hold, lambda: _look(interface)))

    async def make_pair(self, hold: NetnsHold, outside: str, wanted: InsideWanted) -> bool:
        return await self._run(lambda: self._make_pair(_descriptor(hold), outside, wanted))

    def _make_pair(self, there: int, outside: str, wanted: InsideWanted) -> bool:
        values = rt.link_values(name=wanted.interface, mac=wanted.mac, mtu=wanted.mtu, netns=there)
        make = rt.make_veth(outside, values, wanted.mtu, f"make {outside} and {wanted.interface}")
        with _told("the veth pair"), rt.RouteSocket() as here:
            try:
                here.do((make,))
            except rt.KernelRefusedError as refused:
                if refused.errno != errno.EEXIST or not _is_veth(here, outside):
                    raise
                # Only the holder of this port makes a pair of this name, and that is us: what is there is left over.
                here.do((rt.delete_link(outside, f"remove {outside}"),))
                here.do((make,))
            if self._real_checksums:
                disable_tx_checksum(outside)
        return self._real_checksums

    def _dress(self, there: int, wanted: InsideWanted, *, real_checksums: bool) -> None:
        if self._is_own(there):
            refuse_advertisements(wanted.interface)
        _settle(wanted, real_checksums=real_checksums)

    def _is_own(self, there: int) -> bool:
        return os.fstat(there).st_ino == self._home.inode

    async def move_in(self, hold: NetnsHold, device: str, interface: str) -> bool:
        there = _descriptor(hold)
        if self._is_own(there):
            return await self._run(lambda: self._take(device, interface))
        return await self._run(lambda: _move_in(there, device, interface))

    def _take(self, device: str, interface: str) -> bool:
        with _told(device):
            return take(device, interface) == VETH

    async def dress(self, hold: NetnsHold, wanted: InsideWanted, *, emulated: bool) -> None:
        # Behind an emulated function there is a switch in userspace.
        there = _descriptor(hold)
        await self._run(lambda: self._enter(there, lambda: self._dress(there, wanted, real_checksums=emulated)))

    async def move_out(self, hold: NetnsHold, interface: str, mac: str, home: HomeDevice) -> bool:
        if self._is_own(_descriptor(hold)):
            return await self._run(lambda: self._give_back(interface, mac, home))
        work = lambda: _move_out(interface, mac, home, self._home.fileno())  # noqa: E731
        return await self._run(lambda: self._inside(hold, work))

    def _give_back(self, interface: str, mac: str, home: HomeDevice) -> bool:
        with _told(home.name):
            return give_back(interface, mac, home)

    async def restore(self, device: str, home: HomeDevice) -> None:
        await self._run(lambda: _restore(device, home))

    async def remove_pair(self, outside: str) -> bool:
        return await self._run(lambda: _remove_pair(outside))

    async def outside(self) -> Mapping[str, LinkSeen]:
        return await self._run(_all_links)

    async def announce(self, hold: NetnsHold, wanted: InsideWanted) -> None:
        try:
            there = os.dup(_descriptor(hold))
        except OSError as error:
            _log.info(f"{wanted.interface} was not announced: {error}", mac=wanted.mac)
            return

        def work() -> None:
            try:
                with entered(there, self._home.fileno()):
                    send_frames(announcements(wanted.mac, wanted.addresses), wanted.interface)
            except OSError as error:
                _log.info(f"{wanted.interface} was not announced: {error}", mac=wanted.mac)
            finally:
                os.close(there)

        self._aside.submit(work)

    def _inside(self, hold: NetnsHold, work: Callable[[], T]) -> T:
        return self._enter(_descriptor(hold), work)

    def _enter(self, there: int, work: Callable[[], T]) -> T:
        with _told("the container's interface"), entered(there, self._home.fileno()):
            return work()

    async def _run(self, work: Callable[[], T]) -> T:
        """In a thread; a caller that is cancelled still waits for it, so that an undo never overtakes the work."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            raise


def _descriptor(hold: NetnsHold) -> int:
    if not isinstance(hold, OpenNetns):
        raise DpuError(Reason.INTERNAL, f"{hold!r} is no namespace of this driver", remedy="report this bug")
    return hold.fileno()


def _settle(wanted: InsideWanted, *, real_checksums: bool) -> None:
    """All that a new interface inside lacks, in two messages to the kernel."""
    addresses = [ip_interface(each) for each in wanted.addresses]
    if any(each.version == 6 for each in addresses):
        _allow_ipv6(wanted.interface)
    with rt.RouteSocket() as inside:
        index = rt.read_link(inside.get(rt.get_link(wanted.interface), dump=False)[0]).index
        values = rt.link_values(mac=wanted.mac, mtu=wanted.mtu)
        requests = [rt.set_link(index, f"bring up {wanted.interface}", values, up=True)]
        requests += [rt.add_address(index, each) for each in addresses]
        requests += [rt.add_route(index, each.dst, each.via) for each in wanted.routes]
        requests.append(rt.set_link(LOOPBACK, "bring up lo", up=True))
        if real_checksums:
            disable_tx_checksum(wanted.interface)
        inside.do(requests)


def _allow_ipv6(interface: str) -> None:
    """Runtimes turn IPv6 off in new namespaces; a container that is given an address of it is meant to have it."""
    for name in (interface, "lo"):
        switch = Path(NO_IPV6.format(name))
        if switch.exists() and switch.read_text().strip() != "0":
            switch.write_text("0")


def _look(interface: str) -> InsideSeen | None:
    with rt.RouteSocket() as inside:
        try:
            link = rt.read_link(inside.get(rt.get_link(interface), dump=False)[0])
        except rt.KernelRefusedError as refused:
            if refused.errno == errno.ENODEV:
                return None
            raise
        addresses = [rt.read_address(body) for body in inside.get(rt.get_addresses(), dump=True)]
        routes = [
            rt.read_route(body)
            for family in (socket.AF_INET, socket.AF_INET6)
            for body in inside.get(rt.get_routes(family), dump=True)
        ]
    return InsideSeen(
        interface=link.name,
        mac=link.mac,
        mtu=link.mtu,
        up=bool(link.flags & rt.IFF_UP),
        addresses=frozenset(address for index, address in addresses if index == link.index),
        routes=frozenset(PodRoute(dst=dst, via=via) for index, dst, via in routes if index == link.index),
    )


def _move_in(there: int, device: str, interface: str) -> bool:
    with _told(device), rt.RouteSocket() as here:
        link = rt.read_link(here.get(rt.get_link(device), dump=False)[0])
        values = rt.link_values(name=interface, netns=there)
        here.do((rt.set_link(link.index, f"move {device} into the container", values),))
    return link.kind == VETH


def _move_out(interface: str, mac: str, home: HomeDevice, there: int) -> bool:
    """Find the device by the name or the MAC that it was given: a container may have changed either."""
    with rt.RouteSocket() as inside:
        links = [rt.read_link(body) for body in inside.get(rt.get_links(), dump=True)]
        ours = _function_of(links, interface, mac)
        if ours is None:
            return False
        # What stands on a function stays on it when it moves, and would hear the next container's frames.
        upon = [link.name for link in links if link.kind in MADE_INSIDE and link.below == ours.index]
        values = rt.link_values(name=home.name, mac=home.mac, mtu=home.mtu, netns=there)
        moved = rt.set_link(ours.index, f"move {home.name} out of the container", values)
        inside.do((*(rt.delete_link(name, f"remove {name} of the container") for name in upon), moved))
    return True


def _function_of(links: Iterable[rt.Link], interface: str, mac: str) -> rt.Link | None:
    """The function among a container's links; never one that the container made on it, or with its MAC, for itself."""
    found = [link for link in links if link.kind not in MADE_INSIDE and link.index != LOOPBACK]
    ours = [link for link in found if (mac and link.mac == mac) or link.name == interface]
    # A veth is an emulated function, or a container's own where the function is a real one, which goes first.
    return min(ours, key=lambda link: (link.kind == VETH, link.mac != mac, link.name != interface), default=None)


def _restore(device: str, home: HomeDevice) -> None:
    with _told(device), rt.RouteSocket() as here:
        link = rt.read_link(here.get(rt.get_link(device), dump=False)[0])
        name = home.name if link.name != home.name else ""
        values = rt.link_values(name=name, mac=home.mac, mtu=home.mtu)
        here.do((rt.set_link(link.index, f"restore {home.name}", values),))


def _remove_pair(outside: str) -> bool:
    with _told(outside), rt.RouteSocket() as here:
        if not _is_veth(here, outside):
            return False
        here.do((rt.delete_link(outside, f"remove {outside}"),))
    return True


def _is_veth(here: rt.RouteSocket, name: str) -> bool:
    try:
        return rt.read_link(here.get(rt.get_link(name), dump=False)[0]).kind == VETH
    except rt.KernelRefusedError as refused:
        if refused.errno == errno.ENODEV:
            return False
        raise


def _all_links() -> Mapping[str, LinkSeen]:
    with _told("the links"), rt.RouteSocket() as here:
        links = [rt.read_link(body) for body in here.get(rt.get_links(), dump=True)]
    return {
        link.name: LinkSeen(
            name=link.name,
            mac=link.mac,
            mtu=link.mtu,
            up=bool(link.flags & rt.IFF_UP),
            carrier=bool(link.flags & rt.IFF_LOWER_UP),
        )
        for link in links
    }


_REASONS = {
    errno.EEXIST: Reason.ALREADY_EXISTS,
    errno.ENODEV: Reason.NOT_FOUND,
    errno.EINVAL: Reason.INVALID,
    errno.ERANGE: Reason.INVALID,
    errno.EADDRNOTAVAIL: Reason.INVALID,
    errno.EPERM: Reason.FORBIDDEN,
}


@contextmanager
def _told(what: str) -> Iterator[None]:
    """A refusal of the kernel as an error of ours."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, Reason.UNAVAILABLE)
        message = f"{what}: the kernel refused: {error.strerror or error}"
        remedy = "look at the device and at this process's rights (CAP_NET_ADMIN, CAP_SYS_ADMIN)"
        raise DpuError(reason, message, remedy=remedy) from error
