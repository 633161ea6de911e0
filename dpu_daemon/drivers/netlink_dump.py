"""Dumps over netlink whose messages are read by hand: of each a few attributes are wanted, and there may be thousands.

Source: Linux, include/uapi/linux/netlink.h, genetlink.h.
"""

import socket
import struct
from collections.abc import Iterator

NLM_F_REQUEST = 0x1
NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
NLMSG_DONE = 3
HEAD = struct.Struct("=IHHII")
NLMSGERR = struct.Struct("=i")
RECEIVE_BYTES = 1 << 20
TIMEOUT_S = 2.0

NETLINK_GENERIC = 16
GENL_ID_CTRL = 0x10
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2
GENL_HEAD = struct.Struct("=BBxx")

Attribute = tuple[int, bytes]


def dump(protocol: int, kind: int, body: bytes, flags: int = NLM_F_DUMP) -> Iterator[bytes]:
    """Bodies of all answers to one request.

    Args:
        protocol: such as ``socket.NETLINK_ROUTE``.
        kind: type of the request.
        body: what follows the header.
        flags: besides that of a request; none for a request that has one answer.

    Raises:
        OSError: the kernel refuses, or does not answer in time.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as asked:
        asked.settimeout(TIMEOUT_S)
        asked.send(HEAD.pack(HEAD.size + len(body), kind, NLM_F_REQUEST | flags, 1, 0) + body)
        while True:
            data = asked.recv(RECEIVE_BYTES)
            at = 0
            while at + HEAD.size <= len(data):
                length, number, _, _, _ = HEAD.unpack_from(data, at)
                if number == NLMSG_DONE:
                    return
                if number == NLMSG_ERROR:
                    (code,) = NLMSGERR.unpack_from(data, at + HEAD.size)
                    raise OSError(-code, "the kernel refused to tell")
                yield data[at + HEAD.size : at + length]
                at += (length + 3) & ~3
            if not flags:
                return


def attributes(data: bytes) -> Iterator[Attribute]:
    """Number and value of each attribute in a row of them."""
    at = 0
    while at + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield number & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


def packed(number: int, value: bytes) -> bytes:
    """One attribute."""
    return struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)


def family(name: str) -> int:
    """Message type of a generic netlink family.

    Raises:
        OSError: ENOENT; this kernel has no such family.
    """
    body = GENL_HEAD.pack(CTRL_CMD_GETFAMILY, 1) + packed(CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0")
    answer = next(dump(NETLINK_GENERIC, GENL_ID_CTRL, body, flags=0))
    found = dict(attributes(answer[GENL_HEAD.size :]))
    return int(struct.unpack_from("=H", found[CTRL_ATTR_FAMILY_ID])[0])
