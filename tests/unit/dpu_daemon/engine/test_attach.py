"""Attaching disks: what is answered, refused, undone and kept."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.intent import AskedDisk
from dpu_daemon.model.disk import AttachmentState, DiskProtocol, FunctionSeen, Qos, TargetAddress
from dpu_daemon.plan.steps import PutUp
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import AWAY, MIB, disk, soon


def acts(world: World) -> list[str]:
    return [call for call in world.calls if not call.endswith(".look")]


async def test_a_new_disk_is_in_place_when_attach_answers(dpu: DpuEngine, world: World) -> None:
    view = await dpu.disks.attach(disk(world, boot_order=1), soon())
    assert view.state is AttachmentState.ATTACHED
    assert view.record.slot == 0
    assert view.pci_address == "0000:01:00.0"
    assert view.live_resize
    assert world.state.functions[0].serial == view.record.spec.serial == view.record.handle


async def test_the_same_call_again_answers_the_same_and_touches_nothing(dpu: DpuEngine, world: World) -> None:
    first = await dpu.disks.attach(disk(world), soon())
    world.calls.clear()
    assert await dpu.disks.attach(disk(world), soon()) == first
    assert acts(world) == []


async def test_two_equal_calls_at_once_do_the_work_once(dpu: DpuEngine, world: World) -> None:
    views = await asyncio.gather(*(dpu.disks.attach(disk(world), soon()) for _ in range(3)))
    assert len({view.record.slot for view in views}) == 1
    assert world.calls.count("bus.plug_disk") == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"volume_id": "vol-x"}, "spec.volume_id"),
        ({"serial": "OTHER"}, "spec.serial"),
        ({"nguid": "f" * 32}, "spec.nguid"),
        ({"protocol": DiskProtocol.NVME}, "spec.protocol"),
        ({"read_only": True}, "spec.read_only"),
        ({"boot_order": 3}, "spec.boot_order"),
        ({"machine_id": "bm-02"}, "spec.machine_id"),
        ({"size_bytes": 2 * MIB}, "spec.size_bytes"),
        ({"qos": Qos(iops=5)}, "spec.qos"),
        ({"source": TargetAddress(transport="nbd+tcp", host="192.0.2.99", port=1, export="a")}, "spec.target"),
    ],
)
async def test_the_same_id_with_another_spec_is_refused_by_field(
    dpu: DpuEngine, world: World, changes: dict[str, Any], field: str
) -> None:
    await dpu.disks.attach(disk(world), soon())
    asked = disk(world)
    with pytest.raises(DpuError) as refused:
        await dpu.disks.attach(replace(asked, spec=replace(asked.spec, **changes)), soon())
    assert (refused.value.reason, refused.value.field) == (Reason.ALREADY_EXISTS, field)


async def test_an_older_size_is_the_same_spec_because_volumes_only_grow(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world), soon())
    world.serve("a", 4 * MIB)
    await dpu.disks.resize("att-a", 4 * MIB, soon())
    assert (await dpu.disks.attach(disk(world), soon())).record.spec.size_bytes == 4 * MIB


async def test_a_newer_generation_may_reach_the_volume_elsewhere_under_the_same_identity(
    dpu: DpuEngine, world: World
) -> None:
    first = await dpu.disks.attach(disk(world), soon())
    moved = disk(world, generation=2)
    moved = replace(moved, spec=replace(moved.spec, source=world.serve("a-g2", MIB)))
    second = await dpu.disks.attach(moved, soon())
    assert (second.record.slot, second.record.handle) == (first.record.slot, first.record.handle)
    assert world.state.disks[first.record.handle].source == moved.spec.source
    assert world.state.plugs == {first.record.spec.serial: 1}


async def test_what_the_host_would_confuse_is_refused_by_field(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world, "a", boot_order=1, serial="S1", nguid="1" * 32), soon())
    wrong: list[tuple[AskedDisk, Reason, str]] = [
        (disk(world, "b", boot_order=1), Reason.ALREADY_EXISTS, "spec.boot_order"),
        (disk(world, "b", serial="S1"), Reason.ALREADY_EXISTS, "spec.serial"),
        (disk(world, "b", nguid="1" * 32), Reason.ALREADY_EXISTS, "spec.nguid"),
        (disk(world, "b", volume_id="vol-a", generation=2), Reason.IN_USE, "spec.volume_id"),
    ]
    for asked, reason, field in wrong:
        with pytest.raises(DpuError) as refused:
            await dpu.disks.attach(asked, soon())
        assert (refused.value.reason, refused.value.field) == (reason, field)
        assert "att-a" in refused.value.message
    assert set(dpu.core.ledger.attachments) == {"att-a"}


async def test_what_a_leaving_disk_still_has_is_worth_asking_for_again(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world, boot_order=1), soon())
    world.faults.down.add("block")
    with pytest.raises(DpuError):
        await dpu.disks.detach("att-a", 1, soon(), force=False)
    with pytest.raises(DpuError) as refused:
        await dpu.disks.attach(disk(world, "b", boot_order=1), soon())
    assert (refused.value.reason, refused.value.field, refused.value.retry) == (
        Reason.IN_FLIGHT,
        "spec.boot_order",
        True,
    )
    world.faults.down.clear()
    await dpu.disks.detach("att-a", 1, soon(), force=False)
    assert (await dpu.disks.attach(disk(world, "b", boot_order=1), soon())).state is AttachmentState.ATTACHED


async def test_when_all_slots_are_taken_the_limit_is_named(dpu: DpuEngine, world: World) -> None:
    for n in range(8):
        await dpu.disks.attach(disk(world, f"n{n}"), soon())
    with pytest.raises(DpuError) as refused:
        await dpu.disks.attach(disk(world, "one-more"), soon())
    assert refused.value.reason is Reason.EXHAUSTED
    assert "all 8 disk slots" in refused.value.message
    assert refused.value.retry


async def test_a_slot_that_somebody_else_holds_is_not_given_away(dpu: DpuEngine, world: World) -> None:
    world.state.functions[1] = FunctionSeen(
        slot=1,
        handle="somebody",
        protocol=DiskProtocol.NVME,
        serial="X",
        nguid="",
        read_only=False,
        boot_order=0,
        present=True,
    )
    assert (await dpu.disks.attach(disk(world), soon())).record.slot == 2
    await dpu.core.audit.once()
    assert world.state.functions[1].handle == "somebody"


async def test_a_slot_that_the_bus_refused_is_left_out_until_no_other_is_free(dpu: DpuEngine, world: World) -> None:
    world.faults.errors["bus.plug_disk"] = [DpuError(Reason.IN_USE, "slot 1 is being removed")] * 2
    with pytest.raises(DpuError):
        await dpu.disks.attach(disk(world), soon())
    world.faults.errors.clear()
    assert (await dpu.disks.attach(disk(world), soon())).record.slot == 2
    for n in range(6):
        await dpu.disks.attach(disk(world, f"n{n}"), soon())
    with pytest.raises(DpuError):
        await dpu.disks.attach(disk(world, "last"), soon())
    assert (await dpu.disks.attach(disk(world, "last"), soon())).record.slot == 1


@pytest.mark.parametrize("call", ["block.connect", "block.limit", "block.expose", "bus.plug_disk"])
async def test_a_new_disk_that_fails_is_undone_and_the_first_error_told(
    dpu: DpuEngine, world: World, call: str
) -> None:
    asked = disk(world, qos=Qos(iops=500))
    world.faults.errors[call] = [AWAY]
    with pytest.raises(DpuError) as failed:
        await dpu.disks.attach(asked, soon())
    assert failed.value is AWAY
    assert not any((world.state.disks, world.state.functions, dpu.core.ledger.attachments))
    assert (await dpu.disks.attach(asked, soon())).state is AttachmentState.ATTACHED


@pytest.mark.parametrize("call", ["block.expose", "bus.plug_disk"])
async def test_a_call_whose_answer_was_lost_is_judged_by_the_second_look(
    dpu: DpuEngine, world: World, call: str
) -> None:
    world.faults.lost_answers[call] = [AWAY]
    assert (await dpu.disks.attach(disk(world), soon())).state is AttachmentState.ATTACHED


async def test_a_driver_that_never_answers_ends_at_the_steps_deadline(
    dpu: DpuEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PutUp, "deadline_s", 0.05)
    world.faults.hung.add("block.connect")
    with pytest.raises(DpuError) as failed:
        await dpu.disks.attach(disk(world), soon())
    assert failed.value.reason is Reason.DEADLINE
    assert dpu.core.ledger.attachments == {}


async def test_an_undo_that_fails_is_finished_by_the_next_audit(dpu: DpuEngine, world: World) -> None:
    world.faults.errors["bus.plug_disk"] = [AWAY]
    world.faults.errors["block.disconnect"] = [AWAY]
    with pytest.raises(DpuError):
        await dpu.disks.attach(disk(world), soon())
    assert not dpu.core.ledger.attachments["att-a"].wanted
    await dpu.core.audit.once()
    assert not any((world.state.disks, dpu.core.ledger.attachments))


async def test_a_disk_that_is_not_whole_any_more_is_degraded_and_never_taken_away(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world), soon())
    world.restart_block_layer()
    world.faults.errors["block.connect"] = [AWAY] * 4
    with pytest.raises(DpuError):
        await dpu.disks.attach(disk(world), soon())
    view = await dpu.disks.reader.view("att-a")
    assert (view.state, view.record.wanted) == (AttachmentState.DEGRADED, True)
    assert "not connected" in view.message
    assert world.state.functions


async def test_a_read_only_nvme_disk_keeps_what_was_chosen(dpu: DpuEngine, world: World) -> None:
    view = await dpu.disks.attach(disk(world, protocol=DiskProtocol.NVME, read_only=True, serial="S"), soon())
    assert (view.record.spec.protocol, view.record.spec.serial, view.live_resize) == (DiskProtocol.NVME, "S", False)
    assert world.state.disks[view.record.handle].read_only


async def test_a_protocol_left_open_is_the_drivers_default(dpu: DpuEngine, world: World) -> None:
    asked = replace(disk(world, protocol=DiskProtocol.NVME), any_protocol=True)
    assert (await dpu.disks.attach(asked, soon())).record.spec.protocol is DiskProtocol.VIRTIO_BLK
    assert (await dpu.disks.attach(asked, soon())).state is AttachmentState.ATTACHED


async def test_a_reader_is_answered_from_the_journal_while_nobody_answers_beneath(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world), soon())
    world.faults.down.add("block")
    view = await dpu.disks.reader.view("att-a")
    assert view.state is AttachmentState.DEGRADED
    assert "does not answer" in view.message
    with pytest.raises(DpuError) as refused:
        await dpu.disks.reader.view("att-b")
    assert refused.value.reason is Reason.NOT_FOUND
