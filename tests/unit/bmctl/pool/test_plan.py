import gzip
import json
from pathlib import Path

from bmctl.exits import Exit
from tests.unit.bmctl.pool.scene import Scene


def test_a_plan_says_what_is_added_what_fits_and_why_the_rest_waits(scene: Scene) -> None:
    shown = scene.ok("plan", "--dump", scene.dump, "--pools", scene.pools)
    assert shown.startswith("grow standard by 2 to 6")
    assert "default/big-0   fits std-2" in shown
    assert "default/huge" in shown
    assert "standard: template-standard has 8 cpu free, the pod needs 60" in shown
    assert "small   NoPodFits" in shown


def test_a_plan_names_each_node_that_stays_with_a_remedy(scene: Scene) -> None:
    shown = scene.ok("plan", "--dump", scene.dump, "--pools", scene.pools)
    assert "stray   NotAutoscaled" in shown
    assert "add the node to a pool" in shown


def test_a_settled_plan_removes_at_once_what_waits_for_its_timer(scene: Scene) -> None:
    document = json.loads(Path(scene.dump).read_text())
    document["items"] = [one for one in document["items"] if one["kind"] != "Pod" or one["spec"]["nodeName"]]
    quiet = scene.path("quiet.json", document)
    assert "remove  " not in scene.ok("plan", "--dump", quiet, "--pools", scene.pools)
    settled = scene.ok("plan", "--dump", quiet, "--pools", scene.pools, "--settled")
    assert "remove   standard   std-3, 0 pods move" in settled


def test_the_expander_priority_takes_the_priorities_of_the_pools_file(scene: Scene) -> None:
    for first, second in (("red", "blue"), ("blue", "red")):
        ranked = [
            {"name": name, "cpu": 8, "memory": "32Gi", "priority": priority}
            for name, priority in ((first, 10), (second, -3))
        ]
        pools = scene.path("ranked.yaml", {"pools": ranked})
        line = ("--dump", scene.dump, "--pools", pools, "--expander", "priority")
        assert scene.ok("plan", *line).startswith(f"grow {first} by")
    wrong = scene.path("wrong.yaml", {"pools": [{"name": "red", "cpu": 8, "memory": "32Gi", "priority": "high"}]})
    assert "pools[0].priority" in scene.fails(Exit.INVALID, "plan", "--dump", scene.dump, "--pools", wrong)


def test_a_plan_without_pools_still_says_where_pods_fit(scene: Scene) -> None:
    assert "fits std-" in scene.ok("plan", "--dump", scene.dump)


def test_the_order_of_the_dump_does_not_matter(scene: Scene) -> None:
    document = json.loads(Path(scene.dump).read_text())
    document["items"].reverse()
    line = ("--pools", scene.pools, "-o", "json")
    assert scene.ok("plan", "--dump", scene.dump, *line) == scene.ok(
        "plan", "--dump", scene.path("reversed.json", document), *line
    )


def test_a_recorded_plan_replays_to_the_same_bytes_packed_or_plain(scene: Scene, tmp_path: Path) -> None:
    record = tmp_path / "loop.json"
    scene.ok("plan", "--dump", scene.dump, "--pools", scene.pools, "--record", str(record))
    assert "verdict   byte-equal" in scene.ok("replay", str(record))
    packed = tmp_path / "loop.json.gz"
    packed.write_bytes(gzip.compress(record.read_bytes()))
    assert json.loads(scene.ok("replay", str(packed), "-o", "json"))["equal"] is True


def test_a_record_that_decides_otherwise_now_fails_and_names_the_fields(scene: Scene, tmp_path: Path) -> None:
    record = tmp_path / "loop.json"
    scene.ok("plan", "--dump", scene.dump, "--pools", scene.pools, "--record", str(record))
    told = json.loads(record.read_text())
    told["decision"]["grow"][0]["add"] = 1
    record.write_text(json.dumps(told))
    result = scene.run("replay", str(record))
    assert result.exit_code == Exit.FAILED
    assert "different in grow" in result.stdout


def test_a_damaged_record_is_refused_by_name(scene: Scene, tmp_path: Path) -> None:
    packed = tmp_path / "loop.json.gz"
    packed.write_bytes(gzip.compress(b"{}" * 100)[:-9])
    assert str(packed) in scene.fails(Exit.FAILED, "replay", str(packed))
    assert "no loop record" in scene.fails(Exit.FAILED, "replay", scene.path("r.json", "{}"))


def test_a_record_is_not_written_where_there_is_no_folder(scene: Scene, tmp_path: Path) -> None:
    wrong = str(tmp_path / "no" / "loop.json")
    assert "--record" in scene.fails(Exit.INVALID, "plan", "--dump", scene.dump, "--record", wrong)
