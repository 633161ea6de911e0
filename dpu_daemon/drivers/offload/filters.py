"""Rules of traffic control at a netdev's ingress: how many there are, and how many its driver took.

Own reading of the messages: of each rule one flag is wanted, and there may be thousands; the published client makes
objects of all that is in them. Source: Linux, include/uapi/linux/{rtnetlink,pkt_sched,pkt_cls}.h.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

RTM_GETTFILTER = 46
RTM_GETQDISC = 38
NLM_F_REQUEST = 0x1
NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_BYTES = 16
TCMSG = struct.Struct("BxxxiIII")
TCA_KIND = 1
TCA_OPTIONS = 2
TCA_FLOWER_FLAGS = 22
TCA_CLS_FLAGS_IN_HW = 1 << 2
INGRESS = 0xFFFFFFF1
INGRESS_BLOCK = 0xFFFFFFF2
"""Parent of rules at the ingress; minor number of TC_H_CLSACT's own."""
KINDS = frozenset({b"ingress", b"clsact"})
RECEIVE_BYTES = 1 << 20
TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Flower rules of a netdev's ingress."""

    all: int = 0
    in_hw: int = 0


def tapped() -> frozenset[int]:
    """Numbers of the netdevs whose ingress has a hook for rules.

    Raises:
        OSError: the kernel does not answer.
    """
    found = set()
    for index, parent, attributes in _dump(RTM_GETQDISC, 0, 0):
        del parent
        kind = next((value for number, value in attributes if number == TCA_KIND), b"")
        if kind.rstrip(b"\0") in KINDS:
            found.add(index)
    return frozenset(found)


def rules(index: int) -> Rules:
    """Flower rules of the netdev with this number.

    Raises:
        OSError: the kernel does not answer.
    """
    total = taken = 0
    for _, _, attributes in _dump(RTM_GETTFILTER, index, INGRESS_BLOCK):
        values = dict(attributes)
        if values.get(TCA_KIND, b"").rstrip(b"\0") != b"flower":
            continue
        flags = dict(_attributes(values.get(TCA_OPTIONS, b""))).get(TCA_FLOWER_FLAGS)
        if flags is None:
            continue  # the head of a priority, which is no rule
        total += 1
        taken += bool(struct.unpack("I", flags)[0] & TCA_CLS_FLAGS_IN_HW)
    return Rules(total, taken)


def _dump(kind: int, index: int, parent: int) -> Iterator[tuple[int, int, list[tuple[int, bytes]]]]:
    """Number of the netdev, parent and attributes of each thing told."""
    body = TCMSG.pack(0, index, 0, parent, 0)
    head = struct.pack("IHHII", NLMSG_BYTES + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
        asked.settimeout(TIMEOUT_S)
        asked.send(head + body)
        while True:
            data = asked.recv(RECEIVE_BYTES)
            at = 0
            while at + NLMSG_BYTES <= len(data):
                length, number = struct.unpack_from("IH", data, at)
                if number == NLMSG_DONE:
                    return
                if number == NLMSG_ERROR:
                    (code,) = struct.unpack_from("i", data, at + NLMSG_BYTES)
                    raise OSError(-code, "the kernel refused to tell of traffic control")
                _, told, _, above, _ = TCMSG.unpack_from(data, at + NLMSG_BYTES)
                yield told, above, list(_attributes(data[at + NLMSG_BYTES + TCMSG.size : at + length]))
                at += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, number = struct.unpack_from("HH", data, at)
        if length < 4:
            return
        yield number & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3
