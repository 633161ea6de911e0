import pytest

from tests.unit.bmctl.stage import Stage
from tests.unit.bmctl.volume.things import GIB, names, put, read, ready, tell, volume


def test_a_blank_volume_has_what_was_asked_for(stage: Stage) -> None:
    said = stage.ok(
        "volume", "create", "data", "--size", "2Gi", "--backend", "fast", "--encrypt", "key", "--shred",
        "--iops", "2k", "--read-bandwidth", "10Mi", "--parameter", "tier=gold",
    )  # fmt: skip
    assert said == "volume/data created, 2Gi\n"
    spec = read(stage, "Volume", "data")["spec"]
    assert (spec["backend"], spec["deletionPolicy"], spec["parameters"]) == ("fast", "Shred", {"tier": "gold"})
    assert spec["encryption"] == {"secretRef": {"name": "key"}}
    assert spec["qos"] == {"iops": 2000, "readBytesPerSecond": 10 << 20}


def test_a_blank_volume_needs_a_size(stage: Stage) -> None:
    complaint = stage.fails(8, "volume", "create", "data")
    assert "spec.size" in complaint
    assert "--size 10Gi" in complaint
    assert names(stage, "Volume") == []


def test_a_clone_of_an_image_has_its_size_and_is_never_smaller(stage: Stage) -> None:
    spec = {"source": "tiny.img", "backend": "fast"}
    put(stage, "Image", "tiny", spec, {"phase": "Ready", "sizeBytes": (64 << 20) + 1})
    stage.ok("volume", "create", "root", "--image", "tiny")
    made = read(stage, "Volume", "root")["spec"]
    assert (made["size"], made["backend"], made["source"]) == ("65Mi", "fast", {"imageRef": {"name": "tiny"}})
    assert "at least --size 65Mi" in stage.fails(8, "volume", "create", "small", "--image", "tiny", "--size", "8Mi")


def test_a_clone_takes_over_size_backend_and_encryption(stage: Stage) -> None:
    volume(stage, backend="fast", encryption={"secretRef": {"name": "key"}})
    stage.ok("volume", "clone", "data", "copy")
    made = read(stage, "Volume", "copy")["spec"]
    assert made["source"] == {"volumeRef": {"name": "data"}}
    assert (made["size"], made["backend"], made["encryption"]["secretRef"]["name"]) == ("1Gi", "fast", "key")


def test_a_snapshot_is_cloned_by_its_whole_name(stage: Stage) -> None:
    status = {"phase": "Ready", "readyToUse": True, "sizeBytes": GIB, "backend": "fast"}
    put(stage, "Snapshot", "monday", {"volumeRef": {"name": "gone"}}, status)
    assert "write snapshot/monday" in stage.fails(3, "volume", "clone", "monday", "copy")
    stage.ok("volume", "clone", "snapshot/monday", "copy")
    assert read(stage, "Volume", "copy")["spec"]["source"] == {"snapshotRef": {"name": "monday"}}
    stage.ok("volume", "create", "second", "--snapshot", "monday")
    assert read(stage, "Volume", "second")["spec"]["backend"] == "fast"


def test_one_source_is_enough(stage: Stage) -> None:
    stage.fails(2, "volume", "create", "x", "--image", "a", "--snapshot", "b")


def test_create_waits_until_the_volume_is_there_or_has_failed(stage: Stage) -> None:
    actor = stage.soon(lambda: tell(stage, "Volume", "data", {"phase": "Available"}))
    assert stage.ok("volume", "create", "data", "--size", "1Gi", "--wait").endswith("data is ready\n")
    actor.join()
    bad = {"phase": "Failed", "conditions": [ready("backend fast has no room", "Exhausted")]}
    actor = stage.soon(lambda: tell(stage, "Volume", "big", bad))
    assert "backend fast has no room" in stage.fails(1, "volume", "create", "big", "--size", "1Ti", "--wait")
    actor.join()


def test_progress_tells_what_a_volume_waits_for(stage: Stage) -> None:
    why = [ready("snapshot monday is not ready yet", "Waiting")]

    def provide() -> None:
        tell(stage, "Volume", "data", {"phase": "Pending", "conditions": why})
        tell(stage, "Volume", "data", {"phase": "Available"})

    actor = stage.soon(provide)
    result = stage.run("volume", "create", "data", "--size", "1Gi", "--wait")
    actor.join()
    assert "data: Pending: snapshot monday is not ready yet" in result.stderr


def test_one_snapshot_stands_for_itself(stage: Stage) -> None:
    volume(stage)
    assert stage.ok("volume", "snapshot", "data", "--name", "s") == "snapshot/s of volume/data created\n"
    assert read(stage, "Snapshot", "s")["spec"] == {"volumeRef": {"name": "data"}}


def test_several_snapshots_are_one_group_of_their_number(stage: Stage) -> None:
    volume(stage, "a")
    volume(stage, "b")
    stage.ok("volume", "snapshot", "a", "b", "--name", "mon")
    specs = [read(stage, "Snapshot", name)["spec"] for name in ("a-mon", "b-mon")]
    assert [(one["groupId"], one["groupSize"]) for one in specs] == [("mon", 2), ("mon", 2)]


def test_a_group_that_cannot_be_whole_leaves_nothing_behind(stage: Stage) -> None:
    volume(stage, "a")
    volume(stage, "b")
    put(stage, "Snapshot", "b-mon", {"volumeRef": {"name": "b"}})
    stage.fails(4, "volume", "snapshot", "a", "b", "--name", "mon")
    assert names(stage, "Snapshot") == ["b-mon"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("a", "a"), 8, "named twice"),
        (("a", "nope"), 3, "not found"),
        (("a", "far"), 8, "backends fast and file"),
        (tuple(f"v{number}" for number in range(65)), 8, "at most 64"),
    ],
)
def test_what_can_never_be_cut_is_refused_before_anything_is_made(
    stage: Stage, arguments: tuple[str, ...], status: int, words: str
) -> None:
    volume(stage, "a")
    volume(stage, "far", backend="fast")
    assert words in stage.fails(status, "volume", "snapshot", *arguments)
    assert names(stage, "Snapshot") == []


def test_snapshot_waits_for_every_member(stage: Stage) -> None:
    volume(stage, "a")
    volume(stage, "b")
    done = {"phase": "Ready", "readyToUse": True}
    actors = [
        stage.soon(lambda: tell(stage, "Snapshot", "a-m", done)),
        stage.soon(lambda: tell(stage, "Snapshot", "b-m", done), watch=2),
    ]
    said = stage.ok("volume", "snapshot", "a", "b", "--name", "m", "--wait")
    for actor in actors:
        actor.join()
    assert said.endswith("a-m is ready\nb-m is ready\n")
