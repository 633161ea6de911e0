"""Netdevs on the side of the switch, by name: a few ioctls, where a dump of all links takes a hundred times as long.

Source: netdevice(7); rtnetlink(7) for what comes and goes.
"""

import asyncio
import errno
import fcntl
import socket
import struct
from collections.abc import Collection, Mapping

import structlog

from dpu_daemon.engine.protocols import Lost
from dpu_daemon.model.port import LinkSeen
from proto.errors import DpuError
from proto.reasons import Reason

LOG = structlog.get_logger(__name__)

SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
SIOCGIFMTU, SIOCSIFMTU = 0x8921, 0x8922
SIOCGIFHWADDR = 0x8927
IFF_UP, IFF_RUNNING = 0x1, 0x40
RTMGRP_LINK = 0x1
RTM_NEWLINK, RTM_DELLINK = 16, 17
IFLA_IFNAME = 3
NLMSG_HEADER, IFINFO = struct.Struct("=IHHII"), struct.Struct("=BBHiII")
ATTRIBUTE = struct.Struct("=HH")
RECEIVE_BYTES = 1 << 16
BUFFER_BYTES = 4 << 20
"""A hundred containers that come at once are some hundred messages of a kilobyte and more."""


class KernelLinks:
    """A PodLinks for the network namespace that this process stands in."""

    def __init__(self) -> None:
        self._expected: frozenset[str] = frozenset()
        self._there: set[str] = set()
        self._listening: socket.socket | None = None
        self._lost: Lost = lambda _: None

    async def start(self, lost: Lost) -> None:
        """Begins to listen for netdevs that come and go.

        Raises:
            DpuError: WRONG_STATE when it was started already.
        """
        if self._listening is not None:
            raise DpuError(Reason.WRONG_STATE, "the driver of links is started already")
        self._lost = lost
        listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        listening.bind((0, RTMGRP_LINK))
        asyncio.get_running_loop().add_reader(listening, self._heard)
        self._listening = listening

    async def stop(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()

    def version(self) -> str:
        return "ioctl"

    def expect(self, names: Collection[str]) -> None:
        self._expected = frozenset(names)
        self._there = {name for name in self._expected if _exists(name)}

    async def look(self, names: Collection[str]) -> Mapping[str, LinkSeen]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            seen = {name: _look(control, name) for name in names if name}
        return {name: link for name, link in seen.items() if link is not None}

    async def raise_link(self, name: str, *, mtu: int = 0) -> None:
        """Reads first: most netdevs are as they should be, and setting waits for a lock of the whole system."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            link = _look(control, name)
            if link is None:
                message = f"there is no netdev {name}"
                remedy = "a veth is made by its container's side, a representor comes with its function"
                raise DpuError(Reason.NOT_FOUND, message, field="netdev", remedy=remedy, retry=True)
            if link.up and mtu in (0, link.mtu):
                return
            await asyncio.to_thread(_set, control, name, mtu if mtu != link.mtu else 0)

    def _heard(self) -> None:
        listening = self._listening
        while listening is not None:
            try:
                data = listening.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                # Messages were dropped: whatever came or went meanwhile, the next look tells.
                LOG.info("news of links were lost", error=str(error))
                self._lost("")
                return
            for came, name in _changes(data):
                self._take(name, came=came)

    def _take(self, name: str, *, came: bool) -> None:
        if name not in self._expected or came == (name in self._there):
            return
        if came:
            self._there.add(name)
            self._lost(f"netdev {name} is there")
        else:
            self._there.discard(name)
            self._lost(f"netdev {name} went away")


def _exists(name: str) -> bool:
    try:
        return socket.if_nametoindex(name) > 0
    except OSError:
        return False


def _look(control: socket.socket, name: str) -> LinkSeen | None:
    try:
        (flags,) = struct.unpack_from("=H", _ask(control, SIOCGIFFLAGS, name), 16)
        (mtu,) = struct.unpack_from("=i", _ask(control, SIOCGIFMTU, name), 16)
        mac = _ask(control, SIOCGIFHWADDR, name)[18:24]
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise _refusal(name, error) from error
    return LinkSeen(name=name, mac=mac.hex(":"), mtu=mtu, up=bool(flags & IFF_UP), carrier=bool(flags & IFF_RUNNING))


def _set(control: socket.socket, name: str, mtu: int) -> None:
    try:
        if mtu:
            _ioctl(control, SIOCSIFMTU, struct.pack("=16si20x", name.encode(), mtu))
        (flags,) = struct.unpack_from("=H", _ask(control, SIOCGIFFLAGS, name), 16)
        if not flags & IFF_UP:
            _ioctl(control, SIOCSIFFLAGS, struct.pack("=16sH22x", name.encode(), flags | IFF_UP))
    except OSError as error:
        raise _refusal(name, error) from error


def _ask(control: socket.socket, request: int, name: str) -> bytes:
    return _ioctl(control, request, struct.pack("=16s24x", name.encode()))


def _ioctl(control: socket.socket, request: int, argument: bytes) -> bytes:
    return fcntl.ioctl(control, request, argument)


def _refusal(name: str, error: OSError) -> DpuError:
    reasons = {errno.ENODEV: Reason.NOT_FOUND, errno.EINVAL: Reason.INVALID, errno.EPERM: Reason.FORBIDDEN}
    reason = reasons.get(error.errno or 0, Reason.UNAVAILABLE)
    message = f"the kernel refused to change {name}: {error.strerror}"
    return DpuError(reason, message, field="netdev", remedy="look at the netdev, and at this process's rights")


def _changes(data: bytes) -> list[tuple[bool, str]]:
    """Whether each netdev of a message is there now, and its name."""
    found: list[tuple[bool, str]] = []
    at = 0
    while at + NLMSG_HEADER.size <= len(data):
        length, kind, _, _, _ = NLMSG_HEADER.unpack_from(data, at)
        if length < NLMSG_HEADER.size:
            break
        if kind in {RTM_NEWLINK, RTM_DELLINK}:
            name = _name(data[at + NLMSG_HEADER.size + IFINFO.size : at + length])
            found.append((kind == RTM_NEWLINK, name))
        at += (length + 3) & ~3
    return found


def _name(attributes: bytes) -> str:
    at = 0
    while at + ATTRIBUTE.size <= len(attributes):
        length, kind = ATTRIBUTE.unpack_from(attributes, at)
        if length < ATTRIBUTE.size:
            break
        if kind == IFLA_IFNAME:
            return attributes[at + ATTRIBUTE.size : at + length].rstrip(b"\0").decode(errors="replace")
        at += (length + 3) & ~3
    return ""
