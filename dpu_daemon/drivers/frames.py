"""Ethernet frames of a probe: ARP and ICMP echo, built and read; pure.

Source: RFC 826 (ARP), RFC 791 and 792 (IPv4, ICMP), IEEE 802.1Q.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

BROADCAST = b"\xff" * 6
TYPE_ARP = 0x0806
TYPE_IPV4 = 0x0800
TYPE_VLAN = 0x8100
ARP_HEADER = struct.pack(">HHBB", 1, TYPE_IPV4, 6, 4)
ARP_REQUEST = 1
ARP_REPLY = 2
PROTOCOL_ICMP = 1
ECHO_REPLY = 0
ECHO_REQUEST = 8
TIME_TO_LIVE = 64
SHORTEST_FRAME_BYTES = 60
VLAN_MASK = 0x0FFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Arp:
    """An ARP packet for IPv4 on Ethernet."""

    operation: int
    sender_mac: bytes
    sender: IPv4Address
    target_mac: bytes
    target: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """An ICMP echo request or reply."""

    kind: int
    source: IPv4Address
    destination: IPv4Address
    identifier: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame that concerns a probe; `vlan` 0 is untagged."""

    destination: bytes
    source: bytes
    vlan: int
    content: Arp | Echo


def build(frame: Frame) -> bytes:
    """The frame as it goes out, padded to Ethernet's minimum."""
    tag = struct.pack(">HH", TYPE_VLAN, frame.vlan) if frame.vlan else b""
    if isinstance(frame.content, Arp):
        kind, payload = TYPE_ARP, _arp(frame.content)
    else:
        kind, payload = TYPE_IPV4, _echo(frame.content)
    whole = frame.destination + frame.source + tag + struct.pack(">H", kind) + payload
    return whole.ljust(SHORTEST_FRAME_BYTES, b"\0")


def parse(raw: bytes, *, stripped_vlan: int = 0) -> Frame | None:
    """The frame when it is an ARP packet or an ICMP echo, whole and with right checksums; None for all else.

    Args:
        raw: as received; the length may include padding.
        stripped_vlan: the tag that the kernel took out of the frame before handing it over.
    """
    if len(raw) < 14:
        return None
    (kind,) = struct.unpack_from(">H", raw, 12)
    vlan, start = stripped_vlan, 14
    if kind == TYPE_VLAN and len(raw) >= 18:
        tag, kind = struct.unpack_from(">HH", raw, 14)
        vlan, start = tag & VLAN_MASK, 18
    body = raw[start:]
    content: Arp | Echo | None = None
    if kind == TYPE_ARP:
        content = _read_arp(body)
    elif kind == TYPE_IPV4:
        content = _read_echo(body)
    if content is None:
        return None
    return Frame(destination=raw[:6], source=raw[6:12], vlan=vlan, content=content)


def checksum(data: bytes) -> int:
    """Internet checksum; 0 over data that holds its own right one."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac_bytes(text: str) -> bytes:
    """Six bytes of ``02:00:00:00:00:01``.

    Raises:
        ValueError: it is no MAC address.
    """
    raw = bytes.fromhex(text.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"{text!r} is no MAC address")
    return raw


def _arp(arp: Arp) -> bytes:
    return (
        ARP_HEADER
        + struct.pack(">H", arp.operation)
        + arp.sender_mac
        + arp.sender.packed
        + arp.target_mac
        + arp.target.packed
    )


def _read_arp(body: bytes) -> Arp | None:
    if len(body) < 28 or not body.startswith(ARP_HEADER):
        return None
    (operation,) = struct.unpack_from(">H", body, 6)
    return Arp(
        operation=operation,
        sender_mac=body[8:14],
        sender=IPv4Address(body[14:18]),
        target_mac=body[18:24],
        target=IPv4Address(body[24:28]),
    )


def _echo(echo: Echo) -> bytes:
    icmp = struct.pack(">BBHHH", echo.kind, 0, 0, echo.identifier, echo.sequence)
    icmp = icmp[:2] + struct.pack(">H", checksum(icmp)) + icmp[4:]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(icmp), 0, 0, TIME_TO_LIVE, PROTOCOL_ICMP, 0)
    head += echo.source.packed + echo.destination.packed
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + icmp


def _read_echo(body: bytes) -> Echo | None:
    if len(body) < 28 or body[0] >> 4 != 4:
        return None
    head_bytes = (body[0] & 0x0F) * 4
    (length,) = struct.unpack_from(">H", body, 2)
    head, icmp = body[:head_bytes], body[head_bytes:length]
    fragment = struct.unpack_from(">H", body, 6)[0] & 0x3FFF
    if head_bytes < 20 or len(icmp) < 8 or fragment or body[9] != PROTOCOL_ICMP or checksum(head) or checksum(icmp):
        return None
    kind, code, _, identifier, sequence = struct.unpack_from(">BBHHH", icmp)
    if code or kind not in (ECHO_REPLY, ECHO_REQUEST):
        return None
    return Echo(
        kind=kind,
        source=IPv4Address(body[12:16]),
        destination=IPv4Address(body[16:20]),
        identifier=identifier,
        sequence=sequence,
    )
