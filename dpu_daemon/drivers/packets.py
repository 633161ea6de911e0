"""A raw socket on one netdev that hands over the frames of probes."""

import asyncio
import socket
import struct

from dpu_daemon.drivers.frames import Frame, build, parse

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_AUXDATA = 8
AUXDATA = struct.Struct("IIIHHHH")
STATUS_VLAN_VALID = 1 << 4
VLAN_MASK = 0x0FFF
PACKET_OUTGOING = 4
LONGEST_FRAME_BYTES = 2048
BACKLOG = 64
"""Answers come one by one; what a noisy network sends beyond is dropped here instead of piling up."""


class PacketSocket:
    """Sends frames and keeps the latest that came for `own_mac` or for everybody.

    Args:
        netdev: it must be up.
        own_mac: six bytes; frames to other addresses are not for us.
    """

    def __init__(self, netdev: str, own_mac: bytes) -> None:
        self._own_mac = own_mac
        self._frames: asyncio.Queue[Frame] = asyncio.Queue(BACKLOG)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self._socket.bind((netdev, ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._receive)

    def send(self, frame: Frame) -> None:
        """Sends, or drops the frame when the queue of the netdev is full: the next attempt sends again."""
        try:
            self._socket.send(build(frame))
        except BlockingIOError:
            return

    async def receive(self) -> Frame:
        return await self._frames.get()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _receive(self) -> None:
        try:
            raw, ancillary, _, address = self._socket.recvmsg(LONGEST_FRAME_BYTES, socket.CMSG_SPACE(AUXDATA.size))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # The netdev went down or away; whoever waits runs into its deadline.
            return
        if address[2] == PACKET_OUTGOING:
            return
        frame = parse(raw, stripped_vlan=_stripped_vlan(ancillary))
        if frame is None or (frame.destination != self._own_mac and not frame.destination[0] & 1):
            return
        if not self._frames.full():
            self._frames.put_nowait(frame)


def _stripped_vlan(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The tag that the kernel took out of the frame."""
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA and len(data) >= AUXDATA.size:
            status, _, _, _, _, tag, _ = AUXDATA.unpack_from(data)
            return tag & VLAN_MASK if status & STATUS_VLAN_VALID else 0
    return 0
