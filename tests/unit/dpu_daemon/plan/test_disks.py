"""Plans of disks: what is done for each difference between wanted and seen, and what is left alone."""

from dataclasses import replace

import pytest

from dpu_daemon.model.disk import (
    BlockSeen,
    DiskProtocol,
    DiskSeen,
    DiskWorld,
    FunctionSeen,
    Qos,
    SeedFile,
    TargetAddress,
    TargetPath,
)
from dpu_daemon.plan.disks import plan_disk, plan_stray_disk, stray_disks
from dpu_daemon.plan.plan import Plan
from dpu_daemon.plan.steps import (
    Conceal,
    Disconnect,
    GrowDisk,
    GrowFunction,
    PlugDisk,
    PutUp,
    SetLimits,
    Step,
    UnplugDisk,
)
from tests.unit.dpu_daemon.things import DISK, DISK_SEEN, FUNCTION_SEEN, MIB, SPEC, disk_world

ELSEWHERE = TargetAddress(transport="nbd+tcp", host="192.0.2.11", port=10809, export="v1-g2")


def kinds(plan: Plan) -> list[type[Step]]:
    return [type(step) for step in plan.steps]


def test_a_disk_that_is_right_is_not_touched() -> None:
    plan = plan_disk(DISK, disk_world())
    assert plan.settled
    assert plan.why == "d0123456789ab is in slot 0, in the running host"


def test_a_disk_of_a_host_that_is_off_waits_for_power_on() -> None:
    assert plan_disk(DISK, disk_world(host_on=False)).why.endswith("ready for the host's next power-on")


def test_a_new_disk_is_put_up_and_then_plugged() -> None:
    plan = plan_disk(DISK, disk_world(None, None))
    assert kinds(plan) == [PutUp, PlugDisk]
    assert plan.why == "d0123456789ab: not connected, not in slot 0"


def test_a_restarted_block_layer_gets_its_disk_back_while_the_host_keeps_its_function() -> None:
    assert kinds(plan_disk(DISK, disk_world(disk=None))) == [PutUp]


@pytest.mark.parametrize(
    ("seen", "steps"),
    [
        (replace(DISK_SEEN, size_bytes=32 * MIB), [GrowDisk]),
        (replace(DISK_SEEN, qos=Qos(iops=5)), [SetLimits]),
        (replace(DISK_SEEN, exposed=False), [PutUp]),
        (replace(DISK_SEEN, whole=False, size_bytes=0), [PutUp]),
        (replace(DISK_SEEN, size_bytes=128 * MIB), []),
        (replace(DISK_SEEN, source=None), []),
    ],
)
def test_only_what_differs_in_the_block_layer_is_put_right(seen: DiskSeen, steps: list[type[Step]]) -> None:
    assert kinds(plan_disk(DISK, disk_world(seen))) == steps


@pytest.mark.parametrize("exposed", [True, False])
def test_a_disk_with_another_source_is_made_anew_and_the_host_keeps_its_function(*, exposed: bool) -> None:
    plan = plan_disk(DISK, disk_world(replace(DISK_SEEN, source=ELSEWHERE, exposed=exposed)))
    gone = [Conceal, Disconnect] if exposed else [Disconnect]
    assert kinds(plan) == [*gone, PutUp]
    assert "has another source" in plan.why


@pytest.mark.parametrize(
    ("seen", "difference"),
    [
        (replace(FUNCTION_SEEN, handle="dffffffffffff"), "disk dffffffffffff"),
        (replace(FUNCTION_SEEN, serial="other"), "serial other"),
        (replace(FUNCTION_SEEN, nguid="f" * 32), "NGUID"),
        (replace(FUNCTION_SEEN, protocol=DiskProtocol.NVME), "protocol"),
        (replace(FUNCTION_SEEN, read_only=True), "read-only"),
        (replace(FUNCTION_SEEN, boot_order=0), "boot order 0"),
    ],
)
def test_a_function_that_differs_is_replaced_and_the_difference_is_named(seen: FunctionSeen, difference: str) -> None:
    plan = plan_disk(DISK, disk_world(function=seen))
    assert kinds(plan) == [UnplugDisk, PlugDisk]
    assert difference in plan.why


def test_somebody_elses_function_in_our_slot_is_not_waited_for() -> None:
    plan = plan_disk(DISK, disk_world(function=replace(FUNCTION_SEEN, handle="dffffffffffff")))
    assert isinstance(plan.steps[0], UnplugDisk)
    assert plan.steps[0].force


def test_a_function_that_is_not_present_is_plugged_again() -> None:
    assert kinds(plan_disk(DISK, disk_world(function=replace(FUNCTION_SEEN, present=False)))) == [PlugDisk]


def test_a_grown_disk_is_told_to_the_host_after_the_block_layer_knows() -> None:
    want = replace(DISK, spec=replace(SPEC, size_bytes=128 * MIB))
    assert kinds(plan_disk(want, disk_world())) == [GrowDisk, GrowFunction]


def test_an_unwanted_disk_leaves_the_host_first() -> None:
    plan = plan_disk(replace(DISK, wanted=False, force=True), disk_world())
    assert kinds(plan) == [UnplugDisk, Conceal, Disconnect]
    assert isinstance(plan.steps[0], UnplugDisk)
    assert plan.steps[0].force


def test_an_unwanted_disk_is_found_in_whatever_slot_it_is() -> None:
    plan = plan_disk(replace(DISK, wanted=False), disk_world(None, replace(FUNCTION_SEEN, slot=5)))
    assert plan.steps == (UnplugDisk(slot=5, handle=DISK.handle),)


def test_an_unwanted_disk_that_is_gone_needs_nothing() -> None:
    assert plan_disk(replace(DISK, wanted=False), disk_world(None, None)).why == "d0123456789ab is gone"


def test_a_forced_removal_goes_on_with_the_side_that_answers() -> None:
    unwanted = replace(DISK, wanted=False, force=True)
    block = BlockSeen(disks={DISK.handle: DISK_SEEN})
    assert kinds(plan_disk(unwanted, DiskWorld(block=block, functions=None))) == [Conceal, Disconnect]
    assert kinds(plan_disk(unwanted, DiskWorld(block=None, functions={0: FUNCTION_SEEN}))) == [UnplugDisk]


def test_strays_are_our_handles_that_nobody_wants_and_others_are_left_alone() -> None:
    block = BlockSeen(
        disks={name: replace(DISK_SEEN, handle=name) for name in (DISK.handle, "daaaaaaaaaaaa", "foreign")}
    )
    functions = {4: replace(FUNCTION_SEEN, slot=4, handle="sbbbbbbbbbbbb"), 5: replace(FUNCTION_SEEN, handle="usb")}
    seen = DiskWorld(block=block, functions=functions)
    assert stray_disks({DISK.handle}, seen) == ("daaaaaaaaaaaa", "sbbbbbbbbbbbb")
    assert stray_disks((), DiskWorld()) == ()


def test_a_stray_is_taken_from_the_host_by_force_and_then_from_the_block_layer() -> None:
    assert kinds(plan_stray_disk(DISK.handle, disk_world())) == [UnplugDisk, Conceal, Disconnect]
    assert plan_stray_disk(DISK.handle, disk_world(None, None)).settled
    assert kinds(plan_stray_disk(DISK.handle, DiskWorld(functions={0: FUNCTION_SEEN}))) == [UnplugDisk]


def test_limits_that_the_block_layer_rounds_are_not_set_again() -> None:
    want = replace(DISK, spec=replace(SPEC, qos=Qos(iops=1)))
    seen = disk_world(replace(DISK_SEEN, qos=Qos(iops=1000)))
    assert plan_disk(want, seen, Qos(iops=1000)).settled
    assert plan_disk(want, seen).steps == (SetLimits(handle=DISK.handle, qos=Qos(iops=1)),)


def test_a_source_is_the_same_whatever_a_look_cannot_tell() -> None:
    paths = (TargetPath(host="192.0.2.11", port=4420),)
    nvme = TargetAddress(
        transport="nvme+tcp", host="192.0.2.10", port=4420, export="nqn.x:1", credentials="secret", paths=paths
    )
    want = replace(DISK, spec=replace(SPEC, source=nvme))
    plain = replace(nvme, credentials="", nsid=1)
    for seen in (plain, replace(plain, paths=()), replace(plain, host="192.0.2.11", paths=())):
        assert plan_disk(want, disk_world(replace(DISK_SEEN, source=seen))).settled
    for other in (replace(plain, export="nqn.x:2"), replace(plain, host="192.0.2.99"), SeedFile(path="/s")):
        assert PutUp in kinds(plan_disk(want, disk_world(replace(DISK_SEEN, source=other))))
    second = replace(want, spec=replace(SPEC, source=replace(nvme, nsid=2)))
    assert PutUp in kinds(plan_disk(second, disk_world(replace(DISK_SEEN, source=plain))))


def test_a_disk_that_is_not_encrypted_as_it_should_be_is_made_anew() -> None:
    want = replace(DISK, spec=replace(SPEC, encryption="vault-1"))
    assert kinds(plan_disk(want, disk_world())) == [Conceal, Disconnect, PutUp]
