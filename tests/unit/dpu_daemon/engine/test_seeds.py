"""Seeds and machines: what tells a machine who it is, and what is left between tenants."""

from pathlib import Path

import pytest

from dpu_daemon.engine.dpu import DpuEngine
from dpu_daemon.engine.seeds import digest
from proto.errors import DpuError
from proto.reasons import Reason
from tests.fakes.world import World
from tests.unit.dpu_daemon.engine.asking import AWAY, SEED, disk, port, soon

OTHER = {**SEED, "user-data": "#!/bin/sh\necho other\n"}


def _all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_a_seed_is_a_read_only_disk_of_its_content(dpu: DpuEngine, world: World) -> None:
    view = await dpu.seeds.put("bm-01", 1, SEED, soon())
    assert view.present
    assert view.record.sha256 == digest(SEED)
    assert world.state.functions[view.slot].read_only
    assert list(world.state.seed_files.values()) == [SEED]
    assert await dpu.disks.reader.views() == ()


async def test_the_content_is_in_the_seed_file_alone(
    dpu: DpuEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await dpu.seeds.put("bm-01", 1, {**SEED, "user-data": "password: hunter2"}, soon())
    kept = _all_bytes(tmp_path)
    assert b"bm-01" in kept
    assert b"hunter2" not in kept
    assert "hunter2" not in "".join(capsys.readouterr())


async def test_the_same_content_again_touches_nothing(dpu: DpuEngine, world: World) -> None:
    first = await dpu.seeds.put("bm-01", 1, SEED, soon())
    world.calls.clear()
    assert await dpu.seeds.put("bm-01", 1, SEED, soon()) == first
    assert all(call.endswith(".look") for call in world.calls)
    assert (await dpu.seeds.put("bm-01", 2, SEED, soon())).record.generation == 2


async def test_other_content_needs_a_higher_generation(dpu: DpuEngine, world: World) -> None:
    await dpu.seeds.put("bm-01", 1, SEED, soon())
    with pytest.raises(DpuError) as refused:
        await dpu.seeds.put("bm-01", 1, OTHER, soon())
    assert (refused.value.reason, refused.value.field) == (Reason.ALREADY_EXISTS, "generation")
    view = await dpu.seeds.put("bm-01", 2, OTHER, soon())
    assert view.record.sha256 == digest(OTHER)
    assert list(world.state.seed_files.values()) == [OTHER]


async def test_a_deleted_seed_leaves_no_file_and_its_late_put_is_refused(dpu: DpuEngine, world: World) -> None:
    await dpu.seeds.put("bm-01", 2, SEED, soon())
    assert await dpu.seeds.delete("bm-01", 1, soon()) == "fenced by generation 2; nothing done"
    assert await dpu.seeds.delete("bm-01", 2, soon()) == "seed of machine bm-01 removed"
    assert await dpu.seeds.delete("bm-01", 2, soon()) == "seed of machine bm-01 was absent"
    assert not any((world.state.seed_files, world.state.disks, dpu.core.ledger.seeds))
    assert await dpu.seeds.view("bm-01") is None
    with pytest.raises(DpuError) as refused:
        await dpu.seeds.put("bm-01", 2, SEED, soon())
    assert refused.value.reason is Reason.STALE_GENERATION


async def test_a_seed_that_fails_is_undone_with_its_file(dpu: DpuEngine, world: World) -> None:
    world.faults.errors["bus.plug_disk"] = [AWAY]
    with pytest.raises(DpuError):
        await dpu.seeds.put("bm-01", 1, SEED, soon())
    assert not any((world.state.seed_files, dpu.core.ledger.seeds, dpu.core.ledger.attachments))


async def test_files_that_no_record_knows_are_removed_by_the_audit(dpu: DpuEngine, world: World) -> None:
    await dpu.seeds.put("bm-01", 1, SEED, soon())
    world.state.seed_files["sdeadbeef0000-000000000000"] = OTHER
    await dpu.core.audit.once()
    assert list(world.state.seed_files.values()) == [SEED]


async def test_a_seed_whose_disk_was_cut_off_goes_when_the_bus_is_back(dpu: DpuEngine, world: World) -> None:
    await dpu.seeds.put("bm-01", 1, SEED, soon())
    world.faults.down.add("bus")
    await dpu.seeds.delete("bm-01", 1, soon(), force=True)
    assert "bm-01" in dpu.core.ledger.seeds
    world.faults.down.clear()
    dpu.core.audit.alarm("the bus is back")
    await dpu.core.audit.once()
    assert not any((world.state.seed_files, world.state.functions, dpu.core.ledger.seeds))


async def test_a_released_machine_has_nothing_here_and_others_keep_theirs(dpu: DpuEngine, world: World) -> None:
    for n, machine in enumerate(("bm-01", "bm-02")):
        await dpu.disks.attach(disk(world, f"d{n}", machine_id=machine), soon())
        await dpu.ports.plug(f"p{n}", 1, port(n, machine_id=machine), soon())
        await dpu.seeds.put(machine, 1, SEED, soon())
    view = dpu.machines.view("bm-01")
    assert (view.attachment_ids, view.port_ids, view.seed_present) == (("att-d0",), ("p0",), True)
    released = await dpu.machines.release("bm-01", 1, soon(), force=False)
    assert len(released) == 3
    assert dpu.machines.view("bm-01").attachment_ids == ()
    assert await dpu.machines.release("bm-01", 1, soon(), force=False) == ()
    other = dpu.machines.view("bm-02")
    assert (other.attachment_ids, other.port_ids, other.seed_present) == (("att-d1",), ("p1",), True)


async def test_a_release_tries_everything_before_it_fails(dpu: DpuEngine, world: World) -> None:
    await dpu.disks.attach(disk(world, machine_id="bm-01"), soon())
    await dpu.ports.plug("p1", 1, port(machine_id="bm-01"), soon())
    world.faults.errors["bus.unplug_disk"] = [AWAY]
    with pytest.raises(DpuError):
        await dpu.machines.release("bm-01", 1, soon(), force=False)
    assert dpu.core.ledger.ports == {}
    assert await dpu.machines.release("bm-01", 1, soon(), force=False)
    assert dpu.core.ledger.attachments == {}
