"""Random histories of a DPU: duplicated, reordered, late, concurrent calls, with faults beneath, always end right."""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpu_daemon.engine.deadline import Deadline
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.intent import AskedDisk
from dpu_daemon.engine.journal import Journal
from dpu_daemon.model.disk import AttachmentSpec, DiskProtocol, TargetAddress
from dpu_daemon.model.port import PortSpec
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.world import World

VOLUMES = ("a", "b", "c")
FAILING = ("block.connect", "block.expose", "bus.plug_disk", "bus.unplug_disk", "block.disconnect", "switch.add_port")
MIB = 1 << 20


@dataclass(frozen=True)
class Attach:
    volume: str
    generation: int


@dataclass(frozen=True)
class Detach:
    volume: str
    generation: int
    force: bool


@dataclass(frozen=True)
class Plug:
    port: str
    generation: int


@dataclass(frozen=True)
class Unplug:
    port: str
    generation: int


@dataclass(frozen=True)
class Fail:
    """The next such call fails, before or after it did its work."""

    call: str
    after_work: bool


@dataclass(frozen=True)
class Restart:
    """The block layer beneath loses everything."""


Event = Attach | Detach | Plug | Unplug | Fail | Restart

GENERATIONS = st.integers(1, 4)
EVENTS = st.one_of(
    st.builds(Attach, st.sampled_from(VOLUMES), GENERATIONS),
    st.builds(Detach, st.sampled_from(VOLUMES), GENERATIONS, st.booleans()),
    st.builds(Plug, st.sampled_from(("p", "q")), GENERATIONS),
    st.builds(Unplug, st.sampled_from(("p", "q")), GENERATIONS),
    st.builds(Fail, st.sampled_from(FAILING), st.booleans()),
    st.just(Restart()),
)
BATCHES = st.lists(st.lists(EVENTS, min_size=1, max_size=4), min_size=1, max_size=8)
"""Batches run one after the other; what is in one batch runs at the same time."""


def _asked(world: World, event: Attach) -> AskedDisk:
    spec = AttachmentSpec(
        volume_id=f"vol-{event.volume}",
        size_bytes=MIB,
        source=TargetAddress(transport="nbd+tcp", host="192.0.2.10", port=10809, export=event.volume),
        protocol=DiskProtocol.VIRTIO_BLK,
        serial="",
        nguid="",
    )
    return AskedDisk(attachment_id=f"att-{event.volume}", generation=event.generation, spec=spec)


async def _perform(dpu: DpuEngine, world: World, event: Event) -> str:
    soon = Deadline.after(20)
    match event:
        case Attach():
            await dpu.disks.attach(_asked(world, event), soon)
        case Detach(volume=volume, generation=generation, force=force):
            return await dpu.disks.detach(f"att-{volume}", generation, soon, force=force)
        case Plug(port=port, generation=generation):
            mac = {"p": "02:00:00:00:01:01", "q": "02:00:00:00:01:02"}[port]
            spec = PortSpec(mac=mac, addresses=(), network_id="net", bridge="")
            await dpu.ports.plug(port, generation, spec, soon)
        case Unplug(port=port, generation=generation):
            return await dpu.ports.unplug(port, generation, soon, force=False)
        case Fail(call=call, after_work=after_work):
            faults = world.faults.lost_answers if after_work else world.faults.errors
            faults.setdefault(call, []).append(DpuError(Reason.UNAVAILABLE, f"{call} failed"))
        case Restart():
            world.restart_block_layer()
    return ""


async def _history(path: Path, batches: list[list[Event]]) -> None:
    world = World()
    world.add_links(NETWORK.vf_pattern, NETWORK.vf_count)
    for volume in VOLUMES:
        world.serve(volume, MIB)
    dpu = await DpuEngine.open(Journal(path), fake_drivers(world), NETWORK, FAST)
    highest: dict[str, int] = {}
    serials: dict[str, tuple[int, str]] = {}
    for batch in batches:
        outcomes = await asyncio.gather(*(_perform(dpu, world, event) for event in batch), return_exceptions=True)
        for event, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, DpuError):
                raise outcome
            _check_fences(event, outcome, highest, alone=len(batch) == 1)
        _check_no_place_given_twice(dpu)
        _check_identity_kept(dpu, serials)
    world.faults.errors.clear()
    world.faults.lost_answers.clear()
    for _ in range(3):
        dpu.core.audit.alarm("the faults are over")
        await dpu.core.audit.once()
    _check_world_is_as_journalled(dpu, world)
    await dpu.core.ledger.close()


def _check_fences(event: Event, outcome: object, highest: dict[str, int], *, alone: bool) -> None:
    """What was taken away with a generation is never put up again with that one or a lower one."""
    if isinstance(event, Attach) and not isinstance(outcome, BaseException):
        assert not alone or event.generation > highest.get(event.volume, 0), f"{event} came too late"
    if isinstance(event, Detach) and not isinstance(outcome, BaseException) and "fenced" not in str(outcome):
        highest[event.volume] = max(highest.get(event.volume, 0), event.generation)


def _check_no_place_given_twice(dpu: DpuEngine) -> None:
    disks, ports = dpu.core.ledger.attachments.values(), dpu.core.ledger.ports.values()
    assert len({disk.slot for disk in disks}) == len({disk.handle for disk in disks}) == len(disks)
    assert len({port.vf for port in ports}) == len({port.representor for port in ports}) == len(ports)


def _check_identity_kept(dpu: DpuEngine, serials: dict[str, tuple[int, str]]) -> None:
    """As long as an attachment is wanted, slot and serial stay."""
    now = {key: (disk.slot, disk.spec.serial) for key, disk in dpu.core.ledger.attachments.items() if disk.wanted}
    for key in now.keys() & serials.keys():
        assert now[key][1] == serials[key][1]
    serials.clear()
    serials.update(now)


def _check_world_is_as_journalled(dpu: DpuEngine, world: World) -> None:
    disks, ports = dpu.core.ledger.attachments, dpu.core.ledger.ports
    assert all(disk.wanted for disk in disks.values())
    assert all(port.wanted for port in ports.values())
    assert {disk.handle for disk in disks.values()} == set(world.state.disks)
    assert {(d.slot, d.handle) for d in disks.values()} == {(f.slot, f.handle) for f in world.state.functions.values()}
    assert all(seen.exposed for seen in world.state.disks.values())
    assert set(ports) == {nic.port_id for nic in world.state.nics.values()}
    assert set(ports) == {port.iface_id for port in world.state.switch_ports.values() if port.iface_id}


@pytest.mark.timeout(900)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BATCHES)
def test_every_history_ends_with_the_world_as_journalled(batches: list[list[Event]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_history(Path(directory, "journal.db"), batches))
