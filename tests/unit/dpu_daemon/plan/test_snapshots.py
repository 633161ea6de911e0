"""Plans of snapshots after their cut, and of volumes around one."""

from dataclasses import replace

import pytest

from dpu_daemon.model.volume import CutState, Member, Snapshot, SnapshotSeen, TargetSeen
from dpu_daemon.plan.snapshots import plan_snapshot
from dpu_daemon.plan.steps import AbandonSnapshots, CutSnapshots, DropSnapshot
from dpu_daemon.plan.volumes import Below, plan_volume
from tests.unit.dpu_daemon.things import MIB, VOLUME, VOLUME_SEEN, target_seen

SNAPSHOT = Snapshot(
    snapshot_id="snap-1",
    volume_id="vol-1",
    handle=f"{VOLUME.handle}.1",
    volume_handle=VOLUME.handle,
    number=1,
    group="snap-1",
    size_bytes=64 * MIB,
    state=CutState.DONE,
)
SEEN = SnapshotSeen(handle=SNAPSHOT.handle, size_bytes=64 * MIB, allocated_bytes=MIB, users=1)
UNWANTED = replace(SNAPSHOT, wanted=False)
MEMBERS = (Member(volume=VOLUME, snapshot=replace(SNAPSHOT, state=CutState.ORDERED)),)


def _seen(snapshot: SnapshotSeen | None = SEEN) -> TargetSeen:
    return TargetSeen(snapshots={snapshot.handle: snapshot} if snapshot else {})


@pytest.mark.parametrize(
    ("want", "seen", "why"),
    [
        (SNAPSHOT, SEEN, "is there"),
        (UNWANTED, None, "is gone"),
        (replace(SNAPSHOT, state=CutState.ORDERED), None, "is not cut yet"),
        (replace(UNWANTED, state=CutState.VOID), None, "never was cut"),
        (UNWANTED, replace(SEEN, users=3), "is kept, unseen, for 3 others that stand on it"),
        (UNWANTED, replace(SEEN, merging=True), "moves its content to what stands on it"),
    ],
)
def test_a_snapshot_that_nothing_can_be_done_about_is_left(want: Snapshot, seen: SnapshotSeen | None, why: str) -> None:
    plan = plan_snapshot(want, _seen(seen), cloning=False)
    assert plan.settled
    assert plan.why == f"snapshot {SNAPSHOT.handle} {why}"


@pytest.mark.parametrize("users", [0, 1])
def test_an_unwanted_snapshot_with_one_user_at_most_is_dropped(users: int) -> None:
    plan = plan_snapshot(UNWANTED, _seen(replace(SEEN, users=users)), cloning=False)
    assert plan.steps == (DropSnapshot(snapshot=UNWANTED),)
    assert plan_snapshot(UNWANTED, _seen(replace(SEEN, users=users)), cloning=True).settled


def test_a_wanted_snapshot_that_is_not_there_is_lost() -> None:
    assert plan_snapshot(SNAPSHOT, _seen(None), cloning=False).hopeless


@pytest.mark.parametrize("step", [CutSnapshots(members=MEMBERS), AbandonSnapshots(members=MEMBERS)])
@pytest.mark.parametrize("wanted", [True, False])
def test_a_cut_that_is_under_way_comes_before_all_else(step: CutSnapshots | AbandonSnapshots, *, wanted: bool) -> None:
    seen = target_seen(replace(VOLUME_SEEN, opened=False))
    plan = plan_volume(replace(VOLUME, wanted=wanted), Below(first=step), seen)
    assert plan.steps[0] == step
    assert len(plan.steps) == 2


def test_steps_say_what_they_do_and_shredding_takes_its_time() -> None:
    assert CutSnapshots(members=MEMBERS).says() == f"cut {SNAPSHOT.handle}"
    assert AbandonSnapshots(members=MEMBERS).says() == f"abandon {SNAPSHOT.handle}"
    shred = DropSnapshot(snapshot=replace(UNWANTED, shred=True))
    assert (shred.says(), shred.deadline_s) == (f"shred snapshot {SNAPSHOT.handle}", 600.0)
    assert DropSnapshot(snapshot=UNWANTED).says() == f"drop snapshot {SNAPSHOT.handle}"
    assert CutSnapshots(members=MEMBERS * 20).deadline_s > CutSnapshots(members=MEMBERS).deadline_s
