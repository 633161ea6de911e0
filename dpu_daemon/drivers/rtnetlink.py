"""A blocking rtnetlink socket, and the few messages that a container's interface is made of.

Own packing, because encoding by classes costs as much as the kernel's work, and several requests go out in one send.
Source: linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h; man 7 rtnetlink.
"""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

IpInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
ANSWER_TIMEOUT_S = 10.0
"""A link that moves between namespaces waits for some ten milliseconds; a busy machine for a hundred times that."""
READ_BYTES = 1 << 18

NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE, NLM_F_DUMP = 0x1, 0x4, 0x200, 0x400, 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
SOL_NETLINK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 11, 12
NLMSGERR_ATTR_MSG = 1
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
IFA_F_NODAD, IFA_F_PERMANENT = 0x02, 0x80
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTNH_F_ONLINK = 4


class Type(IntEnum):
    """Kinds of messages."""

    NEWLINK = 16
    DELLINK = 17
    GETLINK = 18
    NEWADDR = 20
    DELADDR = 21
    GETADDR = 22
    NEWROUTE = 24
    GETROUTE = 26


class Ifla(IntEnum):
    """Attributes of links."""

    ADDRESS = 1
    IFNAME = 3
    MTU = 4
    LINK = 5
    LINKINFO = 18
    NET_NS_FD = 28


class Ifa(IntEnum):
    """Attributes of addresses."""

    ADDRESS = 1
    LOCAL = 2
    FLAGS = 8


class Rta(IntEnum):
    """Attributes of routes."""

    DST = 1
    OIF = 4
    GATEWAY = 5
    TABLE = 15


INFO_KIND, INFO_DATA, VETH_INFO_PEER = 1, 2, 1
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Request:
    """A message without its number; `tolerated` are refusals that mean that the work is done."""

    kind: Type
    flags: int
    body: bytes
    says: str
    tolerated: frozenset[int] = frozenset()


class KernelRefusedError(OSError):
    """The kernel's answer to a request, with its own sentence when it gave one."""


class RouteSocket:
    """An rtnetlink socket of the namespace that the making thread stands in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def do(self, requests: Sequence[Request]) -> None:
        """Send all in one, wait for all answers.

        Raises:
            KernelRefusedError: the first refusal that is not tolerated; later requests were tried, too.
        """
        waiting: dict[int, Request] = {}
        packed: list[bytes] = []
        for request in requests:
            self._number += 1
            waiting[self._number] = request
            packed.append(_packed(request, self._number, NLM_F_REQUEST | NLM_F_ACK))
        self._socket.send(b"".join(packed))
        refusals: list[KernelRefusedError] = []
        while waiting:
            for kind, flags, number, body in self._answers():
                if kind == NLMSG_ERROR and number in waiting:
                    request = waiting.pop(number)
                    refusal = _refusal(request, flags, body)
                    if refusal is not None:
                        refusals.append(refusal)
        if refusals:
            raise refusals[0]

    def get(self, request: Request, *, dump: bool) -> list[bytes]:
        """Bodies of the answers.

        Raises:
            KernelRefusedError: such as ENODEV.
        """
        self._number += 1
        flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else 0)
        self._socket.send(_packed(request, self._number, flags))
        bodies: list[bytes] = []
        while True:
            for kind, flags, number, body in self._answers():
                if number != self._number:
                    continue
                if kind == NLMSG_DONE:
                    return bodies
                if kind == NLMSG_ERROR:
                    refusal = _refusal(request, flags, body)
                    if refusal is not None:
                        raise refusal
                    return bodies
                bodies.append(body)
                if not dump:
                    return bodies

    def _answers(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(READ_BYTES)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, flags, number, _ = _HEADER.unpack_from(data, at)
            yield kind, flags, number, data[at + _HEADER.size : at + length]
            at += (length + 3) & ~3


def _packed(request: Request, number: int, flags: int) -> bytes:
    head = _HEADER.pack(_HEADER.size + len(request.body), request.kind, request.flags | flags, number, 0)
    return head + request.body


def _refusal(request: Request, flags: int, body: bytes) -> KernelRefusedError | None:
    (code,) = struct.unpack_from("=i", body)
    if not code or -code in request.tolerated:
        return None
    return KernelRefusedError(-code, f"{request.says}: {_sentence(flags, body) or os.strerror(-code)}")


def _sentence(flags: int, body: bytes) -> str:
    if not flags & NLM_F_ACK_TLVS:
        return ""
    (length,) = struct.unpack_from("=I", body, 4)
    at = 4 + (_HEADER.size if flags & NLM_F_CAPPED else (length + 3) & ~3)
    text = attributes(body[at:]).get(NLMSGERR_ATTR_MSG, b"")
    return text.rstrip(b"\0").decode(errors="replace")


def attribute(kind: int, payload: bytes) -> bytes:
    """An attribute, padded."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by kind; the last of a kind."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def link_header(index: int = 0, *, up: bool = False) -> bytes:
    """ifinfomsg; `up` also says that this flag is meant."""
    flag = IFF_UP if up else 0
    return _LINK.pack(0, 0, index, flag, flag)


def link_values(*, name: str = "", mac: str = "", mtu: int = 0, netns: int = -1) -> bytes:
    """Attributes of a link; left-out ones stay as they are."""
    values = b""
    if netns >= 0:
        values += attribute(Ifla.NET_NS_FD, struct.pack("=I", netns))
    if name:
        values += attribute(Ifla.IFNAME, name.encode() + b"\0")
    if mac:
        values += attribute(Ifla.ADDRESS, bytes.fromhex(mac.replace(":", "")))
    if mtu:
        values += attribute(Ifla.MTU, struct.pack("=I", mtu))
    return values


def set_link(index: int, says: str, values: bytes = b"", *, up: bool = False) -> Request:
    """Change a link; everything in one message, because each may wait for the kernel."""
    return Request(Type.NEWLINK, 0, link_header(index, up=up) + values, says)


def take_down(index: int, says: str) -> Request:
    """Have a link down, which its new name needs, and its routes gone."""
    return Request(Type.NEWLINK, 0, _LINK.pack(0, 0, index, 0, IFF_UP), says)


def delete_link(name: str, says: str) -> Request:
    """Remove a link, gone is fine."""
    body = link_header() + link_values(name=name)
    return Request(Type.DELLINK, 0, body, says, frozenset({errno.ENODEV}))


def make_veth(outside: str, peer_values: bytes, mtu: int, says: str) -> Request:
    """A pair whose peer is made where `peer_values` say."""
    peer = attribute(VETH_INFO_PEER, link_header() + peer_values)
    info = attribute(INFO_KIND, b"veth\0") + attribute(INFO_DATA, peer)
    body = link_header(up=True) + link_values(name=outside, mtu=mtu) + attribute(Ifla.LINKINFO, info)
    return Request(Type.NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, says)


def get_link(name: str) -> Request:
    """Asks for one link."""
    return Request(Type.GETLINK, 0, link_header() + link_values(name=name), f"look for {name}")


def get_links() -> Request:
    """Asks for all links."""
    return Request(Type.GETLINK, 0, link_header(), "list the links")


def add_address(index: int, address: IpInterface) -> Request:
    """Without duplicate address detection, which would hold a new IPv6 address back for a second or two."""
    packed, family = address.ip.packed, _family(address.version)
    body = _ADDRESS.pack(family, address.network.prefixlen, IFA_F_NODAD if address.version == 6 else 0, 0, index)
    body += attribute(Ifa.LOCAL, packed) + attribute(Ifa.ADDRESS, packed)
    if address.version == 6:
        body += attribute(Ifa.FLAGS, struct.pack("=I", IFA_F_NODAD))
    return Request(Type.NEWADDR, NLM_F_CREATE, body, f"add {address}", frozenset({errno.EEXIST}))


def delete_address(index: int, address: IpInterface) -> Request:
    """Take an address away, gone is fine."""
    body = _ADDRESS.pack(_family(address.version), address.network.prefixlen, 0, 0, index)
    body += attribute(Ifa.LOCAL, address.ip.packed)
    return Request(Type.DELADDR, 0, body, f"remove {address}", frozenset({errno.EADDRNOTAVAIL}))


def get_addresses() -> Request:
    """Asks for all addresses."""
    return Request(Type.GETADDR, 0, _ADDRESS.pack(0, 0, 0, 0, 0), "list the addresses")


def add_route(index: int, dst: str, via: str) -> Request:
    """A route; its gateway need not be within a prefix of the link."""
    network = ipaddress.ip_network(dst)
    scope = RT_SCOPE_UNIVERSE if via or network.version == 6 else RT_SCOPE_LINK
    body = _ROUTE.pack(
        _family(network.version), network.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST,
        RTNH_F_ONLINK if via else 0,
    )  # fmt: skip
    if network.prefixlen:
        body += attribute(Rta.DST, network.network_address.packed)
    body += attribute(Rta.OIF, struct.pack("=I", index))
    if via:
        body += attribute(Rta.GATEWAY, ipaddress.ip_address(via).packed)
    return Request(Type.NEWROUTE, NLM_F_CREATE, body, f"add route {dst}", frozenset({errno.EEXIST}))


def get_routes(family: int) -> Request:
    """Asks for all routes of a family."""
    return Request(Type.GETROUTE, 0, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "list the routes")


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


@dataclass(frozen=True, slots=True)
class Link:
    """A link as the kernel tells it; `below` is the index of what it stands on, or is paired with."""

    index: int
    name: str
    mac: str
    mtu: int
    flags: int
    kind: str
    below: int = 0


def read_link(body: bytes) -> Link:
    """The link of an answer."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    values = attributes(body[_LINK.size :])
    info: Mapping[int, bytes] = attributes(values.get(Ifla.LINKINFO, b""))
    return Link(
        index=index,
        name=_text(values.get(Ifla.IFNAME, b"")),
        mac=values.get(Ifla.ADDRESS, b"").hex(":"),
        mtu=int.from_bytes(values.get(Ifla.MTU, b""), "little"),
        flags=flags,
        kind=_text(info.get(INFO_KIND, b"")),
        below=int.from_bytes(values.get(Ifla.LINK, b""), "little"),
    )


def read_address(body: bytes) -> tuple[int, str]:
    """Index of the link and address with prefix length."""
    family, prefix, _, _, index = _ADDRESS.unpack_from(body)
    values = attributes(body[_ADDRESS.size :])
    packed = values.get(Ifa.LOCAL) or values.get(Ifa.ADDRESS, b"")
    return index, f"{_address(family, packed)}/{prefix}"


def read_route(body: bytes) -> tuple[int, str, str]:
    """Index of the link, prefix, gateway (empty for none); index 0 for what is not in the main table."""
    family, prefix, _, _, table, _, _, _, _ = _ROUTE.unpack_from(body)
    values = attributes(body[_ROUTE.size :])
    if table != RT_TABLE_MAIN or Rta.OIF not in values:
        return 0, "", ""
    empty = bytes(4 if family == socket.AF_INET else 16)
    via = values.get(Rta.GATEWAY)
    index = int.from_bytes(values[Rta.OIF], "little")
    return index, f"{_address(family, values.get(Rta.DST, empty))}/{prefix}", _address(family, via) if via else ""


def _address(family: int, packed: bytes) -> str:
    return socket.inet_ntop(family, packed)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
