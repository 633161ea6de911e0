"""Detaching, fencing, growing and limiting disks."""

import pytest

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.model.disk import AttachmentState, DiskProtocol, Qos
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import AWAY, MIB, disk, soon


async def test_a_detached_disk_leaves_nothing_behind(dpu: DpuEngine, world: World) -> None:
    view = await dpu.disks.attach(disk(world), soon())
    said = await dpu.disks.detach("att-a", 1, soon(), force=False)
    assert said == f"{view.record.handle} detached from slot 1"
    assert not any((world.state.disks, world.state.functions, dpu.core.ledger.attachments))


async def test_detaching_what_is_not_there_succeeds(dpu: DpuEngine) -> None:
    assert await dpu.disks.detach("att-a", 1, soon(), force=False) == "attachment att-a was absent"
    assert await dpu.disks.detach("att-a", 1, soon(), force=False) == "attachment att-a was absent"


async def test_a_late_detach_of_an_older_generation_does_nothing(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world, generation=3), soon())
    assert await dpu.disks.detach("att-a", 2, soon(), force=True) == "fenced by generation 3; nothing done"
    assert (await dpu.disks.reader.view("att-a")).state is AttachmentState.ATTACHED


@pytest.mark.parametrize("was_attached", [True, False])
async def test_a_late_attach_of_what_was_detached_is_refused(
    dpu: DpuEngine, world: World, *, was_attached: bool
) -> None:
    if was_attached:
        await dpu.disks.attach(disk(world, generation=2), soon())
    await dpu.disks.detach("att-a", 2, soon(), force=False)
    for generation in (1, 2):
        with pytest.raises(DpuError) as refused:
            await dpu.disks.attach(disk(world, generation=generation), soon())
        assert (refused.value.reason, refused.value.field) == (Reason.STALE_GENERATION, "generation")
    assert (await dpu.disks.attach(disk(world, generation=3), soon())).state is AttachmentState.ATTACHED


async def test_a_late_attach_of_the_volume_under_another_id_is_refused(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world, generation=5), soon())
    await dpu.disks.detach("att-a", 5, soon(), force=False)
    with pytest.raises(DpuError) as refused:
        await dpu.disks.attach(disk(world, "b", generation=4, volume_id="vol-a"), soon())
    assert refused.value.reason is Reason.STALE_GENERATION


async def test_a_host_that_does_not_let_go_is_told_and_asked_again(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world), soon())
    world.faults.host_holds = True
    with pytest.raises(DpuError) as refused:
        await dpu.disks.detach("att-a", 1, soon(), force=False)
    assert "did not let go" in refused.value.message
    assert (await dpu.disks.reader.view("att-a")).state is AttachmentState.DETACHING
    world.faults.host_holds = False
    await dpu.core.audit.once()
    assert dpu.core.ledger.attachments == {}


async def test_force_does_not_wait_for_the_host(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world), soon())
    world.faults.host_holds = True
    await dpu.disks.detach("att-a", 1, soon(), force=True)
    assert not any((world.state.disks, world.state.functions))


@pytest.mark.parametrize(("silent", "named"), [("bus", "host's bus"), ("block", "block layer")])
async def test_force_cuts_off_what_it_can_and_the_rest_goes_later(
    dpu: DpuEngine, world: World, silent: str, named: str
) -> None:
    await dpu.disks.attach(disk(world), soon())
    world.faults.down.add(silent)
    said = await dpu.disks.detach("att-a", 1, soon(), force=True)
    assert said.endswith(f"the rest goes when the {named} answers again")
    with pytest.raises(DpuError) as refused:
        await dpu.disks.attach(disk(world, generation=2), soon())
    assert refused.value.reason in {Reason.IN_FLIGHT, Reason.UNAVAILABLE}
    world.faults.down.clear()
    dpu.core.audit.alarm("it answers again")
    await dpu.core.audit.once()
    assert not any((world.state.disks, world.state.functions, dpu.core.ledger.attachments))


async def test_a_grown_volume_is_told_to_the_running_host(dpu: DpuEngine, world: World) -> None:
    view = await dpu.disks.attach(disk(world), soon())
    world.serve("a", 4 * MIB)
    await dpu.disks.resize("att-a", 4 * MIB, soon())
    assert world.state.shown_bytes[view.record.slot] == 4 * MIB


async def test_a_disk_that_cannot_grow_live_grows_for_the_next_power_on(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world, protocol=DiskProtocol.NVME), soon())
    world.serve("a", 4 * MIB)
    view = await dpu.disks.resize("att-a", 4 * MIB, soon())
    assert view.state is AttachmentState.ATTACHED
    assert "bus.grow_disk" not in world.calls


async def test_a_disk_does_not_shrink(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world), soon())
    with pytest.raises(DpuError) as refused:
        await dpu.disks.resize("att-a", 512, soon())
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "size_bytes")


async def test_a_change_that_fails_is_not_wanted_any_more(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world), soon())
    with pytest.raises(DpuError):
        await dpu.disks.resize("att-a", 4 * MIB, soon())
    world.faults.errors["block.limit"] = [AWAY]
    with pytest.raises(DpuError):
        await dpu.disks.set_qos("att-a", Qos(iops=9), soon())
    view = await dpu.disks.reader.view("att-a")
    assert (view.record.spec.size_bytes, view.record.spec.qos) == (MIB, Qos())
    assert view.state is AttachmentState.ATTACHED


async def test_what_is_not_attached_cannot_be_changed(dpu: DpuEngine) -> None:
    for call in (
        dpu.disks.resize("att-x", MIB, soon()),
        dpu.disks.set_qos("att-x", Qos(), soon()),
        dpu.disks.reader.stats("att-x"),
    ):
        with pytest.raises(DpuError) as refused:
            await call
        assert refused.value.reason is Reason.NOT_FOUND
