"""The prober against machines that are written out by hand: what it answers, whom it believes, what it refuses."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from dpu_daemon.drivers import probe as probe_module
from dpu_daemon.drivers.frames import (
    ARP_REPLY,
    ARP_REQUEST,
    BROADCAST,
    ECHO_REPLY,
    Arp,
    Echo,
    Frame,
    mac_bytes,
)
from dpu_daemon.drivers.probe import FrameProber
from dpu_daemon.model.port import ProbeResult
from proto.errors import DpuError
from proto.reasons import Reason

MAC = "02:00:00:00:00:05"
MACHINE = mac_bytes(MAC)
STRANGER = mac_bytes("02:00:00:00:00:66")
ADDRESS = IPv4Address("10.1.0.5")
PROBE = IPv4Address("10.1.0.2")

Machine = Callable[[Frame], list[Frame]]


class Wire:
    """Stands in for the packet socket: each frame sent goes to the machine, whose answers come back."""

    def __init__(self, machine: Machine) -> None:
        self.sent: list[Frame] = []
        self.closed = False
        self._machine = machine
        self._coming: asyncio.Queue[Frame] = asyncio.Queue()

    def send(self, frame: Frame) -> None:
        self.sent.append(frame)
        for answer in self._machine(frame):
            self._coming.put_nowait(answer)

    async def receive(self) -> Frame:
        return await self._coming.get()

    def close(self) -> None:
        self.closed = True


def _arp(operation: int, frame: Frame, *, source: bytes = MACHINE) -> Frame:
    content = Arp(operation=operation, sender_mac=source, sender=ADDRESS, target_mac=frame.source, target=PROBE)
    return Frame(destination=frame.source, source=source, vlan=frame.vlan, content=content)


def _honest(frame: Frame) -> list[Frame]:
    content = frame.content
    if isinstance(content, Arp):
        return [_arp(ARP_REPLY, frame)] if content.operation == ARP_REQUEST else []
    answer = replace(content, kind=ECHO_REPLY, source=content.destination, destination=content.source)
    return [Frame(destination=frame.source, source=MACHINE, vlan=frame.vlan, content=answer)]


class Forgetful:
    """Answers an echo only after it has asked who asks."""

    def __init__(self) -> None:
        self._waiting: list[Frame] = []

    def __call__(self, frame: Frame) -> list[Frame]:
        content = frame.content
        if isinstance(content, Echo):
            self._waiting.append(frame)
            return [replace(_arp(ARP_REQUEST, frame), destination=BROADCAST)]
        return _honest(self._waiting.pop()) if content.operation == ARP_REPLY else _honest(frame)


def _impostor(frame: Frame) -> list[Frame]:
    return [replace(answer, source=STRANGER) for answer in _honest(frame)]


def _curious_stranger(frame: Frame) -> list[Frame]:
    """Somebody else asks for the probe's address."""
    return [_arp(ARP_REQUEST, frame, source=STRANGER)] if frame.destination == BROADCAST else []


def _other_network(frame: Frame) -> list[Frame]:
    return [replace(answer, vlan=answer.vlan + 1) for answer in _honest(frame)]


def _deaf_to_echo(frame: Frame) -> list[Frame]:
    return _honest(frame) if isinstance(frame.content, Arp) else []


def _late_echo(frame: Frame) -> list[Frame]:
    """Answers with the number of another question."""
    answers = _honest(frame)
    if isinstance(frame.content, Echo):
        return [replace(each, content=replace(frame.content, kind=ECHO_REPLY, sequence=999)) for each in answers]
    return answers


async def _probe(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, *, timeout_s: float = 0.0
) -> tuple[list[ProbeResult], Wire]:
    wire = Wire(machine)
    monkeypatch.setattr(probe_module, "ATTEMPT_S", 0.5)
    monkeypatch.setattr(probe_module, "make_deaf", lambda _: None)
    monkeypatch.setattr(probe_module, "PacketSocket", lambda _netdev, _mac: wire)
    prober = FrameProber(netdev="probe0")
    results = [
        each
        async for each in prober.probe(
            bridge="br-int", vlan=7, mac=MAC, address="10.1.0.5/24", probe_address="10.1.0.2", timeout_s=timeout_s
        )
    ]
    assert wire.closed
    return results, wire


@pytest.mark.parametrize("machine", [_honest, Forgetful()])
async def test_a_machine_that_answers_is_believed(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    results, wire = await _probe(monkeypatch, machine)
    assert [(each.arp_answered, each.answered) for each in results] == [(True, True)]
    assert results[0].round_trip_us > 0
    assert {frame.vlan for frame in wire.sent} == {7}
    assert wire.sent[0].destination == BROADCAST
    assert all(frame.destination == MACHINE for frame in wire.sent[1:])


@pytest.mark.parametrize("machine", [_impostor, _other_network, _curious_stranger])
async def test_nobody_else_is_believed_or_answered(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    results, wire = await _probe(monkeypatch, machine)
    assert [(each.arp_answered, each.answered) for each in results] == [(False, False)]
    assert [frame.destination for frame in wire.sent] == [BROADCAST]


@pytest.mark.parametrize("machine", [_deaf_to_echo, _late_echo])
async def test_an_address_that_resolves_but_does_not_answer_is_told_as_that(
    monkeypatch: pytest.MonkeyPatch, machine: Machine
) -> None:
    results, _ = await _probe(monkeypatch, machine, timeout_s=0.7)
    assert [(each.attempt, each.arp_answered, each.answered) for each in results] == [
        (1, True, False),
        (2, True, False),
    ]


async def test_every_probe_of_a_network_has_one_made_up_address(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {(await _probe(monkeypatch, _honest))[1].sent[0].source for _ in range(2)}
    assert len(sources) == 1
    assert sources.pop()[0] & 0b11 == 0b10  # local, unicast


@pytest.mark.parametrize(
    ("wrong", "reason", "field"),
    [
        ({"mac": "nonsense"}, Reason.INVALID, "mac"),
        ({"address": "10.1.0"}, Reason.INVALID, "address"),
        ({"probe_address": ""}, Reason.INVALID, "probe_address"),
        ({"address": "fd00::5/64"}, Reason.UNSUPPORTED, "address"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_its_field(
    wrong: dict[str, str], reason: Reason, field: str
) -> None:
    asked = {"mac": MAC, "address": "10.1.0.5", "probe_address": "10.1.0.2"} | wrong
    with pytest.raises(DpuError) as refused:
        await anext(FrameProber(netdev="probe0").probe(bridge="br-int", vlan=0, timeout_s=1, **asked))
    assert (refused.value.reason, refused.value.field) == (reason, field)


async def test_without_its_netdev_a_probe_is_unavailable() -> None:
    prober = FrameProber(netdev="none0")
    with pytest.raises(DpuError) as refused:
        await anext(
            prober.probe(bridge="b", vlan=0, mac=MAC, address="10.1.0.5", probe_address="10.1.0.2", timeout_s=1)
        )
    assert (refused.value.reason, refused.value.retry) == (Reason.UNAVAILABLE, True)
