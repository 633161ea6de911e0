"""Frames that tell the neighbours who has an address now."""

import struct
from ipaddress import IPv6Address

from dpu_daemon.drivers.announcements import announcements

MAC = "0a:58:0a:10:00:05"
OWN = bytes.fromhex(MAC.replace(":", ""))


def test_an_ipv4_address_is_announced_by_arp_to_everybody() -> None:
    (frame,) = announcements(MAC, ["10.16.0.5/16"])
    assert frame[:6] == b"\xff" * 6
    assert frame[6:12] == OWN
    assert frame[12:14] == b"\x08\x06"
    address = bytes([10, 16, 0, 5])
    assert frame[22:42] == OWN + address + bytes(6) + address


def test_an_ipv6_address_is_advertised_to_all_nodes_with_a_checksum_that_holds() -> None:
    (frame,) = announcements(MAC, ["fd00:10::5/64"])
    assert frame[:6] == bytes.fromhex("333300000001")
    address = IPv6Address("fd00:10::5").packed
    header, packet = frame[14:54], frame[54:]
    assert header[7] == 255
    assert header[8:24] == address
    assert (packet[0], packet[8:24], packet[26:32]) == (136, address, OWN)
    assert struct.unpack(">I", packet[4:8])[0] == 0x20000000
    whole = header[8:40] + struct.pack(">II", len(packet), 58) + packet
    total = sum(struct.unpack(f">{len(whole) // 2}H", whole))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_each_address_has_a_frame() -> None:
    assert len(list(announcements(MAC, ["10.16.0.5/16", "fd00::5/64", "10.17.0.5/16"]))) == 3
