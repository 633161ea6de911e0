"""Gratuitous ARP and unsolicited neighbour advertisements: who has these addresses now.

Source: RFC 5227 section 3 (ARP announcement), RFC 4861 sections 4.4 and 7.2.6 (unsolicited advertisement).
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_interface

from dpu_daemon.drivers.frames import ARP_REQUEST, BROADCAST, Arp, Frame, build

TYPE_IPV6 = 0x86DD
NEXT_ICMPV6 = 58
ADVERTISEMENT = 136
OVERRIDE = 0x20000000
TARGET_LINK_LAYER = b"\x02\x01"
ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_MAC = bytes.fromhex("333300000001")
HOPS = 255


def announcements(mac: str, addresses: Iterable[str]) -> Iterator[bytes]:
    """A frame for each address.

    Args:
        mac: of the interface.
        addresses: with prefix lengths.
    """
    own = bytes.fromhex(mac.replace(":", ""))
    for text in addresses:
        address = ip_interface(text).ip
        yield _arp(own, address) if isinstance(address, IPv4Address) else _advertisement(own, address)


def _arp(own: bytes, address: IPv4Address) -> bytes:
    content = Arp(operation=ARP_REQUEST, sender_mac=own, sender=address, target_mac=bytes(6), target=address)
    return build(Frame(destination=BROADCAST, source=own, vlan=0, content=content))


def _advertisement(own: bytes, address: IPv6Address) -> bytes:
    body = struct.pack(">I", OVERRIDE) + address.packed + TARGET_LINK_LAYER + own
    pseudo = address.packed + ALL_NODES.packed + struct.pack(">II", len(body) + 4, NEXT_ICMPV6)
    checksum = _checksum(pseudo + struct.pack(">BBH", ADVERTISEMENT, 0, 0) + body)
    packet = struct.pack(">BBH", ADVERTISEMENT, 0, checksum) + body
    header = struct.pack(">IHBB", 6 << 28, len(packet), NEXT_ICMPV6, HOPS) + address.packed + ALL_NODES.packed
    return ALL_NODES_MAC + own + struct.pack(">H", TYPE_IPV6) + header + packet


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send_frames(frames: Iterable[bytes], interface: str) -> None:
    """Put frames on an interface of the namespace that the calling thread stands in.

    Raises:
        OSError: there is no such interface, or it is down.
    """
    # Protocol 0 hears nothing, so that the kernel need not hook it in; closing still waits, so this is nobody's way.
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        for frame in frames:
            out.sendto(frame, (interface, 0))
