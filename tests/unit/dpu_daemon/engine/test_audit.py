"""The audit: recovery at the start, after alarms, with pauses that grow, and words for what is wrong."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from dpu_daemon.engine.change import Change, Said
from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.journal import Journal
from dpu_daemon.engine.ledger import Ledger
from dpu_daemon.model.disk import AttachmentState, DiskProtocol, DiskSeen, FunctionSeen
from dpu_daemon.model.event import EventKind
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.daemon import FAST, NETWORK, fake_drivers
from tests.fakes.drivers import FakeBlock
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import AWAY, disk, soon


async def _events(ledger: Ledger, reason: str) -> list[str]:
    found = []
    async for event in ledger.events(0):
        if event.reason == reason:
            found.append(event.message)
        if event.sequence == ledger.last_event:
            break
    return found


async def test_a_lost_disk_is_put_back_under_the_same_identity(dpu: DpuEngine, world: World) -> None:
    view = await dpu.disks.attach(disk(world), soon())
    world.restart_block_layer()
    await dpu.core.audit.once()
    assert (await dpu.disks.reader.view("att-a")).state is AttachmentState.ATTACHED
    assert world.state.plugs == {view.record.spec.serial: 1}
    assert sorted(await _events(dpu.core.ledger, "Repaired")) == [
        "bridge br-int: missing; put right",
        f"{view.record.handle}: not connected; put right",
    ]


async def test_a_drivers_alarm_is_followed_at_once(tmp_path: Path, world: World) -> None:
    drivers = fake_drivers(world)
    dpu = await DpuEngine.open(Journal(tmp_path / "j.db"), drivers, NETWORK, FAST)
    await dpu.core.start()
    view = await dpu.disks.attach(disk(world), soon())
    await dpu.core.audit.converged.wait()
    world.restart_block_layer()
    assert isinstance(drivers.block, FakeBlock)
    drivers.block.lose("the storage daemon restarted")
    async with asyncio.timeout(30):
        async for event in dpu.core.ledger.events(0):
            if event.reason == "Repaired" and event.subject == "att-a":
                break
    assert view.record.handle in world.state.disks
    assert "the storage daemon restarted" in await _events(dpu.core.ledger, "Noticed")
    await dpu.core.stop(1.0)


async def test_a_disk_of_ours_in_no_journal_goes_and_any_other_stays(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world), soon())
    kept = dict(world.state.disks)
    (function,) = world.state.functions.values()
    for slot, handle in ((5, "d00000000dead"), (6, "somebodys")):
        source = disk(world).spec.source
        seen = DiskSeen(
            handle=handle, source=source, size_bytes=512, read_only=False, qos=disk(world).spec.qos, exposed=True
        )
        world.state.disks[handle] = seen
        world.state.functions[slot] = FunctionSeen(
            slot=slot,
            handle=handle,
            protocol=DiskProtocol.VIRTIO_BLK,
            serial=handle,
            nguid="",
            read_only=False,
            boot_order=0,
            present=True,
        )
    await dpu.core.audit.once()
    assert set(world.state.disks) == {*kept, "somebodys"}
    assert set(world.state.functions) == {function.slot, 6}


async def test_readiness_waits_until_every_side_has_answered(dpu: DpuEngine, world: World) -> None:
    world.faults.down.add("switch")
    await dpu.core.audit.once()
    assert not dpu.core.ready()
    assert "the switch does not answer" in dpu.core.audit.message()
    world.faults.down.clear()
    await dpu.core.audit.once()
    assert dpu.core.ready()
    assert dpu.core.audit.message() == ""


async def test_a_repair_that_fails_is_told_once_and_tried_again_later(tmp_path: Path, world: World) -> None:
    patient = replace(FAST, first_retry_s=600.0, last_retry_s=600.0)
    dpu = await DpuEngine.open(Journal(tmp_path / "j.db"), fake_drivers(world), NETWORK, patient)
    await dpu.core.audit.once()
    await dpu.disks.attach(disk(world), soon())
    world.restart_block_layer()
    world.faults.errors["block.connect"] = [AWAY] * 6
    await dpu.core.audit.once()
    tries = world.calls.count("block.connect")
    assert dpu.core.audit.message().startswith("att-a: the other side is away")
    await dpu.core.audit.once()
    assert world.calls.count("block.connect") == tries, "it was not due yet"
    dpu.core.audit.alarm("look again")
    await dpu.core.audit.once()
    assert world.calls.count("block.connect") > tries
    assert len(await _events(dpu.core.ledger, "RepairFailed")) == 1
    world.faults.errors.clear()
    dpu.core.audit.alarm("look again")
    await dpu.core.audit.once()
    assert dpu.core.audit.message() == ""
    await dpu.core.stop(1.0)


async def test_many_troubles_are_summed_up(dpu: DpuEngine, world: World) -> None:
    for n in range(5):
        await dpu.disks.attach(disk(world, f"n{n}"), soon())
    world.restart_block_layer()
    world.faults.errors["block.connect"] = [AWAY] * 50
    await dpu.core.audit.once()
    assert dpu.core.audit.message().endswith("; and 2 more")


async def test_what_a_caller_works_on_is_left_to_him(dpu: DpuEngine, world: World) -> None:
    gate = world.faults.gates["block.connect"] = asyncio.Event()
    attaching = asyncio.ensure_future(dpu.disks.attach(disk(world), soon()))
    await world.called("block.connect")
    await dpu.core.audit.once()
    assert world.calls.count("block.connect") == 1
    gate.set()
    assert (await attaching).state is AttachmentState.ATTACHED


async def test_a_step_cut_short_by_a_restart_is_told(tmp_path: Path, world: World) -> None:
    journal = Journal(tmp_path / "j.db")
    dpu = await DpuEngine.open(journal, fake_drivers(world), NETWORK, FAST)
    world.faults.gates["block.connect"] = asyncio.Event()
    attaching = asyncio.ensure_future(dpu.disks.attach(disk(world), soon()))
    await world.called("block.connect")
    await dpu.core.stop(0.0)
    with pytest.raises(asyncio.CancelledError):
        await attaching
    world.faults.gates.clear()
    again = await DpuEngine.open(Journal(tmp_path / "j.db"), fake_drivers(world), NETWORK, FAST)
    (told,) = await _events(again.core.ledger, "StepInterrupted")
    assert told.endswith("and expose it: interrupted by a restart of the daemon")
    await again.core.audit.once()
    assert (await again.disks.reader.view("att-a")).state is AttachmentState.ATTACHED
    await again.core.stop(1.0)


async def test_a_watcher_that_fell_behind_the_kept_events_is_told_to_start_anew(
    dpu: DpuEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpu_daemon.engine.journal.KEPT_EVENTS", 2)
    for n in range(5):
        said = Said(kind=EventKind.DAEMON, subject="", reason=f"E{n}", message="m")
        await dpu.core.ledger.commit(Change(events=(said,)))
    with pytest.raises(DpuError) as refused:
        await anext(dpu.core.ledger.events(1))
    assert (refused.value.reason, refused.value.field) == (Reason.GONE, "since")
    assert (await anext(dpu.core.ledger.events(0))).reason == "E3"
    assert (await anext(dpu.core.ledger.events(3))).reason == "E3"


async def test_a_full_journal_refuses_new_disks_and_keeps_the_old(
    dpu: DpuEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dpu.disks.attach(disk(world), soon())
    full = DpuError(Reason.STORAGE_FULL, "journal: database or disk is full")

    def refuse(_: Change) -> None:
        raise full

    monkeypatch.setattr(dpu.core.ledger._journal, "commit", refuse)
    with pytest.raises(DpuError) as refused:
        await dpu.disks.attach(disk(world, "b"), soon())
    assert refused.value is full
    assert set(dpu.core.ledger.attachments) == {"att-a"}
    assert len(world.state.disks) == 1
    assert (await dpu.disks.reader.view("att-a")).state is AttachmentState.ATTACHED


async def test_a_pass_for_a_silent_side_leaves_the_others_alone(dpu: DpuEngine, world: World) -> None:
    world.faults.down.add("switch")
    await dpu.core.audit.once()
    await dpu.disks.attach(disk(world), soon())
    world.restart_block_layer()
    world.faults.down.clear()
    await dpu.core.audit.once(only_silent=True)
    assert dpu.core.audit.message() == ""
    assert not world.state.disks
    await dpu.core.audit.once()
    assert world.state.disks
