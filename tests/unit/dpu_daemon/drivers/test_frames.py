from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpu_daemon.drivers.frames import (
    ARP_REQUEST,
    BROADCAST,
    ECHO_REPLY,
    ECHO_REQUEST,
    SHORTEST_FRAME_BYTES,
    Arp,
    Echo,
    Frame,
    build,
    checksum,
    mac_bytes,
    parse,
)

MACS = st.binary(min_size=6, max_size=6)
ADDRESSES = st.builds(IPv4Address, st.integers(0, 2**32 - 1))
WORDS = st.integers(0, 0xFFFF)
ARPS = st.builds(
    Arp,
    operation=st.sampled_from([1, 2]),
    sender_mac=MACS,
    sender=ADDRESSES,
    target_mac=MACS,
    target=ADDRESSES,
)
ECHOES = st.builds(
    Echo,
    kind=st.sampled_from([ECHO_REPLY, ECHO_REQUEST]),
    source=ADDRESSES,
    destination=ADDRESSES,
    identifier=WORDS,
    sequence=WORDS,
)
FRAMES = st.builds(Frame, destination=MACS, source=MACS, vlan=st.integers(0, 4094), content=st.one_of(ARPS, ECHOES))


@given(FRAMES)
def test_what_is_built_is_read_back(frame: Frame) -> None:
    raw = build(frame)
    assert len(raw) >= SHORTEST_FRAME_BYTES
    assert parse(raw) == frame


@given(FRAMES)
def test_a_tag_that_the_kernel_took_out_is_put_back(frame: Frame) -> None:
    raw = build(frame)
    if frame.vlan:
        raw = raw[:12] + raw[16:]
    assert parse(raw, stripped_vlan=frame.vlan) == frame


@given(st.binary(max_size=200))
def test_no_input_makes_the_reader_fail(raw: bytes) -> None:
    parse(raw)


@given(st.builds(Frame, destination=MACS, source=MACS, vlan=st.just(0), content=ECHOES), st.data())
def test_a_flipped_bit_in_a_checked_part_makes_an_echo_unreadable(frame: Frame, data: st.DataObject) -> None:
    raw = bytearray(build(frame))
    position = data.draw(st.integers(14, 14 + 20 + 8 - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    assert parse(bytes(raw)) != frame


@given(st.binary(max_size=100).filter(lambda data: len(data) % 2 == 0))
def test_data_with_its_checksum_sums_to_zero(data: bytes) -> None:
    assert checksum(data + checksum(data).to_bytes(2)) == 0


def test_an_arp_question_is_what_rfc_826_draws() -> None:
    frame = Frame(
        destination=BROADCAST,
        source=mac_bytes("02:00:00:00:00:01"),
        vlan=7,
        content=Arp(
            operation=ARP_REQUEST,
            sender_mac=mac_bytes("02:00:00:00:00:01"),
            sender=IPv4Address("10.0.0.1"),
            target_mac=bytes(6),
            target=IPv4Address("10.0.0.2"),
        ),
    )
    wanted = "ffffffffffff 020000000001 8100 0007 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002"
    assert build(frame).rstrip(b"\0")[:46] == bytes.fromhex(wanted)


def test_a_fragment_is_no_echo() -> None:
    echo = Echo(kind=ECHO_REPLY, source=IPv4Address(1), destination=IPv4Address(2), identifier=3, sequence=4)
    raw = bytearray(build(Frame(destination=bytes(6), source=bytes(6), vlan=0, content=echo)))
    raw[14 + 6] = 0x20  # more fragments follow
    raw[14 + 10 : 14 + 12] = bytes(2)
    raw[14 + 10 : 14 + 12] = checksum(bytes(raw[14:34])).to_bytes(2)
    assert parse(bytes(raw)) is None


@pytest.mark.parametrize("text", ["", "02:00", "02:00:00:00:00:zz", "02:00:00:00:00:00:00"])
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        mac_bytes(text)
