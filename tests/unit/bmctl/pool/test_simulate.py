import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bmctl.commands.pool.spans import span
from bmctl.exits import Exit
from tests.unit.bmctl.pool.scene import MACHINES, PODS, Scene


def figures(scene: Scene, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(scene.ok("simulate", *arguments, "-o", "json"))
    return found


def test_a_dump_is_played_on_until_nothing_happens_any_more(scene: Scene) -> None:
    told = figures(scene, "--dump", scene.dump, "--pools", scene.pools)
    assert (told["machines_added"], told["started"], told["never_started"]) == (2, 5, 1)
    assert (told["samples"][0]["machines"], told["machines_most"]) == (5, 7)
    assert told["pending_s"]["p50"] == 0
    assert told["pending_s"]["p99"] == 180


def test_a_repacked_dump_starts_without_machines(scene: Scene) -> None:
    told = figures(scene, "--dump", scene.dump, "--pools", scene.pools, "--repack")
    assert told["samples"][0]["machines"] == 0
    assert told["started"] == 15


def test_a_dump_may_come_by_standard_input(scene: Scene) -> None:
    text = Path(scene.dump).read_text()
    assert "most machines" in scene.ok("simulate", "--dump", "-", "--pools", scene.pools, stdin=text)


def test_a_trace_grows_and_empties_the_pools_that_its_machines_make(scene: Scene) -> None:
    told = figures(scene, "--pods", scene.pods, "--machines", scene.machines)
    assert told["settings"]["pools"] == "16c-32Gi, 8c-32Gi"
    assert told["started"] == 20
    assert told["samples"][-1]["machines"] == 0
    assert told["machines_added"] == told["machines_removed"] > 0
    assert 0 < told["compaction"]["score"] <= told["compaction"]["stock"] == 6


def test_accelerators_count_when_asked_for(scene: Scene) -> None:
    with_gpus = figures(scene, "--pods", scene.pods, "--machines", scene.machines, "--gpus")
    assert with_gpus["settings"]["pools"] == "16c-32Gi-1xV100, 8c-32Gi"
    assert (
        with_gpus["pending_s"]["p100"]
        > figures(scene, "--pods", scene.pods, "--machines", scene.machines)["pending_s"]["p100"]
    )


def test_the_same_command_prints_the_same(scene: Scene) -> None:
    line = ("simulate", "--pods", scene.pods, "--machines", scene.machines, "-o", "json")
    assert scene.ok(*line) == scene.ok(*line)


def test_a_window_of_the_trace_is_played(scene: Scene) -> None:
    told = figures(scene, "--pods", scene.pods, "--pools", scene.pools, "--from", "10m", "--until", "15m")
    assert told["settings"]["pods"] == "16"
    assert told["samples"][0]["at_s"] >= 600
    assert told["samples"][-1]["at_s"] <= 900


def test_all_at_once_forgets_the_times(scene: Scene) -> None:
    told = figures(scene, "--pods", scene.pods, "--pools", scene.pools, "--at-once", "--keep")
    assert told["samples"][0]["pending"] == 20
    assert told["machines_removed"] == 0
    assert told["samples"][-1]["running"] == 20


def test_slower_machines_make_longer_waits(scene: Scene) -> None:
    waits = [
        figures(scene, "--pods", scene.pods, "--pools", scene.pools, "--boot-s", boot)["pending_s"]["p100"]
        for boot in ("0", "60", "600")
    ]
    assert all(one < other for one, other in pairwise(waits))


def test_the_table_tells_figures_course_and_reasons(scene: Scene) -> None:
    shown = scene.ok("simulate", "--dump", scene.dump, "--pools", scene.pools)
    assert "compaction score" in shown
    assert "MACHINES OVER TIME" in shown
    assert "standard has reached its maximum of 6 nodes" in shown
    assert "NotAutoscaled" in shown


def test_the_csv_has_a_line_per_decision(scene: Scene) -> None:
    rows = list(
        csv.DictReader(scene.ok("simulate", "--pods", scene.pods, "--pools", scene.pools, "-o", "csv").splitlines())
    )
    assert rows[0]["at_s"] == "0.0"
    assert max(int(row["machines"]) for row in rows) > 0


def test_the_report_is_one_page(scene: Scene, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = scene.run("simulate", "--dump", scene.dump, "--pools", scene.pools, "--report", str(page))
    assert f"wrote {page}" in result.stderr
    text = page.read_text()
    assert text.count("<svg") == 4
    assert "dump.json" in text
    assert "standard has reached its maximum" in text


def test_a_load_that_depends_on_neighbours_has_no_score_and_says_why(scene: Scene) -> None:
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}]}}  # fmt: skip
    document = json.loads(Path(scene.dump).read_text())
    document["items"][5]["spec"]["affinity"] = affinity
    told = figures(scene, "--dump", scene.path("apart.json", document), "--pools", scene.pools)
    assert told["compaction"]["score"] is None
    assert "own node only" in told["compaction"]["why_not"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--pools", "x"],
        ["--dump", "x", "--pods", "y", "--pools", "z"],
        ["--dump", "x"],
        ["--pods", "x"],
        ["--pods", "x", "--pools", "z", "--from", "soon"],
        ["--pods", "x", "--pools", "z", "--loop-s", "0"],
    ],
)
def test_contradictory_options_are_wrong_usage(scene: Scene, arguments: list[str]) -> None:
    assert "Usage:" in scene.fails(Exit.USAGE, "simulate", *arguments)


@pytest.mark.parametrize(
    ("option", "name", "content", "said"),
    [
        ("--pods", "pods.csv", f"{PODS}\np0,many,1,0,0,1\n", ["pods.csv", "'many'", "line 2, cpu_milli"]),
        ("--pods", "pods.csv", "a,b\n1,2\n", ["pods.csv", "no known trace"]),
        ("--pods", "pods.csv", f"{MACHINES}\n", ["pods.csv", "lists machines"]),
        ("--machines", "machines.csv", f"{PODS}\n", ["machines.csv", "lists pods", "header"]),
        ("--pools", "pools.yaml", "pools: [{name: a, cpu: 1q, memory: 1}]", ["pools.yaml", "pool a", "pools[0].cpu"]),
        ("--pools", "pools.yaml", "pools: [", ["pools.yaml", "no YAML"]),
        ("--pools", "pools.yaml", "\ttab", ["pools.yaml", "no YAML"]),
        ("--dump", "dump.json", '{"items": 7}', ["dump.json", "no list of objects", "items"]),
        ("--dump", "dump.json", '{"items": [', ["dump.json", "no JSON"]),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_file_object_and_field(
    scene: Scene, option: str, name: str, content: str, said: list[str]
) -> None:
    given = {"--pools": scene.pools} | ({} if option == "--dump" else {"--pods": scene.pods})
    given[option] = scene.path(name, content)
    message = scene.fails(
        Exit.FAILED if "no known trace" in said else Exit.INVALID,
        "simulate", *(word for pair in given.items() for word in pair),
    )  # fmt: skip
    for words in said:
        assert words in message


def test_a_missing_file_is_not_found(scene: Scene) -> None:
    assert "is not there" in scene.fails(Exit.NOT_FOUND, "simulate", "--pods", "nowhere.csv", "--pools", scene.pools)


def test_bad_objects_of_a_dump_are_named_and_the_rest_goes_on(scene: Scene) -> None:
    document = json.loads(Path(scene.dump).read_text())
    document["items"][0]["status"]["allocatable"]["cpu"] = "lots"
    result = scene.run("simulate", "--dump", scene.path("bad.json", document), "--pools", scene.pools)
    assert result.exit_code == 0
    assert "left out: node std-0: status.allocatable.cpu" in result.stderr


def test_an_empty_window_is_refused(scene: Scene) -> None:
    line = ("simulate", "--pods", scene.pods, "--pools", scene.pools)
    assert "no pod of the trace" in scene.fails(Exit.INVALID, *line, "--from", "9d")
    assert "not after the start" in scene.fails(Exit.INVALID, *line, "--from", "2h", "--until", "1h")
    assert "no pod of the trace" in scene.fails(Exit.INVALID, *line, "--role", "CN")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (600, "10.0 min"), (9000, "2.5 h"), (864_000, "10.0 d")]
)
def test_moments_are_told_in_the_unit_that_suits_them(seconds: float, words: str) -> None:
    assert span(seconds) == words
