"""When snapshots are cut, with which others, and when they and their volumes may go."""

from typing import Any

import pytest

from coordinator.core.objects.storage import Snapshot
from coordinator.core.storage.snapshot import SnapshotStep, plan_snapshot
from coordinator.core.storage.source import Origins
from coordinator.core.storage.volume import Users, VolumeStep, plan_volume
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.storage.things import NOW, snapshot, volume

LEAVING = {"deletionTimestamp": NOW}


def grouped(name: str, of: str, size: int = 2, **more: Any) -> Snapshot:
    return snapshot(name, of, groupId="g", groupSize=size, **more)


def test_a_snapshot_is_cut_when_its_volume_is_there() -> None:
    one = snapshot()
    assert plan_snapshot(one, [], {"v": volume(made=False)}, []).step is SnapshotStep.WAIT
    plan = plan_snapshot(one, [], {"v": volume()}, [])
    assert plan.step is SnapshotStep.CUT
    assert [member.snapshot.metadata.name for member in plan.members] == ["s"]
    assert plan_snapshot(snapshot(cut=True), [], {}, []).step is SnapshotStep.NONE


def test_a_snapshot_of_no_volume_is_refused() -> None:
    with pytest.raises(DpuError) as told:
        plan_snapshot(snapshot(), [], {}, [])
    assert (told.value.reason, told.value.field) == (Reason.NOT_FOUND, "spec.volumeRef.name")


def test_a_volume_on_its_way_out_gets_no_new_snapshot_but_the_one_that_was_begun() -> None:
    volumes = {"v": volume(meta=LEAVING)}
    with pytest.raises(DpuError) as told:
        plan_snapshot(snapshot(meta={"finalizers": []}), [], volumes, [])
    assert told.value.reason is Reason.WRONG_STATE
    assert plan_snapshot(snapshot(), [], volumes, []).step is SnapshotStep.CUT


def test_a_group_waits_until_it_is_whole_and_is_cut_by_one() -> None:
    volumes = {"v": volume(), "w": volume("w")}
    first, second = grouped("a", "v"), grouped("b", "w")
    waiting = plan_snapshot(first, [first], volumes, [])
    assert waiting.step is SnapshotStep.WAIT
    assert waiting.why.startswith("1 of the 2 snapshots of group g are there")
    both = [first, second]
    plan = plan_snapshot(first, both, volumes, [])
    assert [member.snapshot.metadata.name for member in plan.members] == ["b", "a"]
    follower = plan_snapshot(second, both, volumes, [])
    assert (follower.step, follower.why) == (SnapshotStep.WAIT, "cut together with a")


def test_a_group_of_which_one_was_cut_goes_on_whoever_has_left() -> None:
    volumes = {"v": volume(), "w": volume("w"), "x": volume("x")}
    left = [grouped("b", "w", 3, cut=True), grouped("c", "x", 3)]
    plan = plan_snapshot(left[1], left, volumes, [])
    assert [member.snapshot.metadata.name for member in plan.members] == ["b", "c"]


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ([grouped("a", "v"), grouped("b", "w", 3)], "snapshot b says that the group has 3"),
        ([grouped("a", "v"), grouped("b", "v")], "volume v is in the group twice"),
        ([grouped("a", "v"), grouped("b", "w"), grouped("c", "x")], "the group has 3 snapshots, not 2"),
        ([grouped("a", "v"), grouped("b", "far")], "the volumes of the group are at backends fast and file"),
        ([grouped("a", "v"), grouped("b", "w", meta=LEAVING)], "snapshot b left the group before it was cut"),
        ([snapshot("a", "v", groupId="g")], "groupId and groupSize go together"),
    ],
)
def test_a_group_that_makes_no_sense_is_refused_with_a_remedy(group: list[Snapshot], says: str) -> None:
    volumes = {"v": volume(), "w": volume("w"), "x": volume("x"), "far": volume("far", backend="fast")}
    with pytest.raises(DpuError) as told:
        plan_snapshot(group[0], group, volumes, [])
    assert says in told.value.message
    assert told.value.field == "spec.groupId"
    assert told.value.remedy


def test_a_snapshot_stays_until_the_clone_that_is_being_made_is_there() -> None:
    clone = volume("new", made=False, source={"snapshotRef": {"name": "s"}})
    leaving = snapshot(cut=True, meta=LEAVING)
    assert plan_snapshot(leaving, [], {}, [clone]).step is SnapshotStep.WAIT
    assert plan_snapshot(leaving, [], {}, [volume("new")]).step is SnapshotStep.DELETE


def test_a_volume_goes_after_its_snapshots_and_after_the_clones_being_made_of_it() -> None:
    leaving = volume(meta=LEAVING)
    for users, says in (
        (Users(snapshots=[snapshot(cut=True)]), "its 1 snapshots are gone (s)"),
        (Users(snapshots=[snapshot()]), "its 1 snapshots are gone (s)"),
        (Users(clones=[volume("new", made=False)]), "when volume new has been cloned"),
    ):
        plan = plan_volume(leaving, Origins(), users)
        assert plan.step is VolumeStep.WAIT
        assert says in plan.why


def test_a_volume_goes_before_clones_that_are_made_and_snapshots_that_never_were() -> None:
    failed = snapshot(meta={"finalizers": []})
    earlier = snapshot("old", cut=True)
    users = Users(snapshots=[failed], clones=[volume("new")])
    assert plan_volume(volume(meta=LEAVING), Origins(), users).step is VolumeStep.DELETE
    namesake = volume(meta=LEAVING | {"uid": "another"})
    assert plan_volume(namesake, Origins(), Users(snapshots=[earlier])).step is VolumeStep.DELETE
