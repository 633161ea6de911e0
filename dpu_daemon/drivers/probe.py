"""Asks through the switch whether a machine answers, from a port of the switch that has no address of its own.

The DPU's own network stack takes no part: frames are built and read here, the sender's MAC is made up, and the kernel
is told to answer nothing on that netdev.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from dpu_daemon.drivers.ethernet import make_deaf
from dpu_daemon.drivers.frames import (
    ARP_REPLY,
    ARP_REQUEST,
    BROADCAST,
    ECHO_REPLY,
    ECHO_REQUEST,
    Arp,
    Echo,
    Frame,
    mac_bytes,
)
from dpu_daemon.drivers.packets import PacketSocket
from dpu_daemon.model.port import ProbeResult
from proto.errors import DpuError
from proto.reasons import Reason

ATTEMPT_S = 0.2
NO_MAC = bytes(6)

Plug = Callable[[str, str], Awaitable[object]]
"""Makes sure that a bridge has an internal port of this name, carrying all VLANs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Who is asked, by whom; MACs as six bytes."""

    vlan: int
    mac: bytes
    address: IPv4Address
    own_mac: bytes
    own_address: IPv4Address
    identifier: int

    def question(self) -> Frame:
        """Who has the address? Broadcast, as a machine that just booted is in no table."""
        return self._arp(BROADCAST, ARP_REQUEST, NO_MAC)

    def reply(self) -> Frame:
        return self._arp(self.mac, ARP_REPLY, self.mac)

    def echo(self, sequence: int) -> Frame:
        content = Echo(
            kind=ECHO_REQUEST,
            source=self.own_address,
            destination=self.address,
            identifier=self.identifier,
            sequence=sequence,
        )
        return Frame(destination=self.mac, source=self.own_mac, vlan=self.vlan, content=content)

    def sent(self, frame: Frame) -> bool:
        """Whether a frame comes from this machine and nobody else."""
        return frame.source == self.mac and frame.vlan == self.vlan

    def _arp(self, destination: bytes, operation: int, target_mac: bytes) -> Frame:
        content = Arp(
            operation=operation,
            sender_mac=self.own_mac,
            sender=self.own_address,
            target_mac=target_mac,
            target=self.address,
        )
        return Frame(destination=destination, source=self.own_mac, vlan=self.vlan, content=content)


class FrameProber:
    """A Prober.

    Args:
        netdev: name of the internal port that it sends from; one bridge can hold it at a time.
        plug: called with bridge and `netdev` before each probe; None when somebody else makes the port.
    """

    def __init__(self, *, netdev: str, plug: Plug | None = None) -> None:
        self._netdev = netdev
        self._plug = plug

    async def probe(
        self, *, bridge: str, vlan: int, mac: str, address: str, probe_address: str, timeout_s: float, at: str = ""
    ) -> AsyncIterator[ProbeResult]:
        """One result each 200 ms; ends after the first echo reply or at the deadline.

        Args:
            bridge: where the machine's port is.
            vlan: of its network; 0 is untagged.
            mac: of the machine; an answer from any other is none.
            address: of the machine, IPv4, with or without prefix length.
            probe_address: an address of the subnet that nobody else has.
            timeout_s: until the last attempt begins.
            at: the machine's representor, to ask there: on a bridge that OVN rules, a port that is no logical port is
                heard by nobody. What leaves a representor is untagged.

        Raises:
            DpuError: INVALID for an address, UNSUPPORTED for IPv6, UNAVAILABLE when the netdev cannot be used.
        """
        target = _target(0 if at else vlan, mac, address, probe_address)
        if self._plug is not None and not at:
            await self._plug(bridge, self._netdev)
        packets = self._open_at(at, target.own_mac) if at else self._open(target.own_mac)
        try:
            end = time.monotonic() + timeout_s
            attempt = 0
            while attempt == 0 or time.monotonic() < end:
                attempt += 1
                result = await _attempt(packets, target, attempt)
                yield result
                if result.answered:
                    return
        finally:
            packets.close()

    def _open(self, own_mac: bytes) -> PacketSocket:
        try:
            make_deaf(self._netdev)
            return PacketSocket(self._netdev, own_mac)
        except OSError as error:
            message = f"netdev {self._netdev} cannot be used for a probe: {error}"
            remedy = "look whether the switch has made that port"
            raise DpuError(Reason.UNAVAILABLE, message, remedy=remedy) from error

    def _open_at(self, netdev: str, own_mac: bytes) -> PacketSocket:
        try:
            return PacketSocket(netdev, own_mac)
        except OSError as error:
            message = f"no machine can be asked at {netdev}: {error}"
            raise DpuError(Reason.UNAVAILABLE, message, remedy="a representor comes with its NIC") from error


async def _attempt(packets: PacketSocket, target: _Target, attempt: int) -> ProbeResult:
    """Asks, answers what the machine asks in return, and waits out the attempt's time."""
    arp_answered, sent_at = False, 0.0
    packets.send(target.question())
    try:
        async with asyncio.timeout(ATTEMPT_S):
            while True:
                frame = await packets.receive()
                if not target.sent(frame):
                    continue
                if _asks(target, frame):
                    packets.send(target.reply())
                elif _tells(target, frame) and not arp_answered:
                    arp_answered, sent_at = True, time.monotonic()
                    packets.send(target.echo(attempt))
                elif _echoes(target, frame, attempt):
                    microseconds = max(1, round((time.monotonic() - sent_at) * 1e6))
                    return ProbeResult(attempt=attempt, arp_answered=True, answered=True, round_trip_us=microseconds)
    except TimeoutError:
        return ProbeResult(attempt=attempt, arp_answered=arp_answered, answered=False)


def _asks(target: _Target, frame: Frame) -> bool:
    arp = frame.content
    return isinstance(arp, Arp) and arp.operation == ARP_REQUEST and arp.target == target.own_address


def _tells(target: _Target, frame: Frame) -> bool:
    arp = frame.content
    if not isinstance(arp, Arp) or arp.operation != ARP_REPLY:
        return False
    return arp.sender == target.address and arp.sender_mac == target.mac


def _echoes(target: _Target, frame: Frame, sequence: int) -> bool:
    echo = frame.content
    if not isinstance(echo, Echo) or echo.kind != ECHO_REPLY:
        return False
    return (echo.source, echo.identifier, echo.sequence) == (target.address, target.identifier, sequence)


def _target(vlan: int, mac: str, address: str, probe_address: str) -> _Target:
    try:
        machine = mac_bytes(mac)
    except ValueError as error:
        raise DpuError(Reason.INVALID, str(error), field="mac", remedy="write it as 02:00:00:00:00:01") from error
    return _Target(
        vlan=vlan,
        mac=machine,
        address=_ipv4("address", address),
        own_mac=_made_up_mac(probe_address, vlan),
        own_address=_ipv4("probe_address", probe_address),
        identifier=int.from_bytes(os.urandom(2)),
    )


def _ipv4(field: str, text: str) -> IPv4Address:
    bare = text.partition("/")[0]
    if ":" in bare:
        message = f"{bare} is an IPv6 address, which this prober does not ask"
        raise DpuError(Reason.UNSUPPORTED, message, field=field, remedy="probe the machine's IPv4 address")
    try:
        return IPv4Address(bare)
    except AddressValueError as error:
        remedy = "write it as 10.0.0.1"
        raise DpuError(Reason.INVALID, f"{text!r} is no IPv4 address", field=field, remedy=remedy) from error


def _made_up_mac(probe_address: str, vlan: int) -> bytes:
    """The same for each probe of a network, so that the switch learns one address; locally administered, unicast."""
    return b"\x02" + hashlib.sha256(f"probe/{probe_address}/{vlan}".encode()).digest()[:5]
