"""Rules of traffic control at a netdev's ingress: how many there are, and how many its driver took.

Own reading of the messages: of each rule one flag is wanted, and there may be thousands; the published client makes
objects of all that is in them. Source: Linux, include/uapi/linux/{rtnetlink,pkt_sched,pkt_cls}.h.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from dpu_daemon.drivers.netlink_dump import attributes, dump

RTM_GETQDISC = 38
RTM_GETTFILTER = 46
TCMSG = struct.Struct("=BxxxiIII")
TCA_KIND = 1
TCA_OPTIONS = 2
TCA_FLOWER_FLAGS = 22
TCA_CLS_FLAGS_IN_HW = 1 << 2
INGRESS = 0xFFFFFFF2
"""Parent of rules at the ingress: TC_H_CLSACT with minor TC_H_MIN_INGRESS."""
HOOKS = frozenset({b"ingress", b"clsact"})
FLOWER = b"flower"


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
    told = _told(RTM_GETQDISC, 0, 0)
    return frozenset(index for index, values in told if values.get(TCA_KIND, b"").rstrip(b"\0") in HOOKS)


def rules(index: int) -> Rules:
    """Flower rules of the netdev with this number.

    Raises:
        OSError: the kernel does not answer.
    """
    total = taken = 0
    for _, values in _told(RTM_GETTFILTER, index, INGRESS):
        if values.get(TCA_KIND, b"").rstrip(b"\0") != FLOWER:
            continue
        flags = dict(attributes(values.get(TCA_OPTIONS, b""))).get(TCA_FLOWER_FLAGS)
        if flags is None:
            continue  # the head of a priority, which is no rule
        total += 1
        taken += bool(struct.unpack("=I", flags)[0] & TCA_CLS_FLAGS_IN_HW)
    return Rules(total, taken)


def _told(kind: int, index: int, parent: int) -> Iterator[tuple[int, dict[int, bytes]]]:
    """Number of the netdev and attributes of each thing told."""
    for body in dump(socket.NETLINK_ROUTE, kind, TCMSG.pack(0, index, 0, parent, 0)):
        _, found, _, _, _ = TCMSG.unpack_from(body)
        yield found, dict(attributes(body[TCMSG.size :]))
