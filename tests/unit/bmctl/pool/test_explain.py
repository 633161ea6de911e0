import json
from pathlib import Path

from bmctl.exits import Exit
from tests.unit.bmctl.pool.scene import Scene


def explain(scene: Scene, name: str, *more: str) -> str:
    return scene.ok("explain", name, "--dump", scene.dump, "--pools", scene.pools, *more)


def test_a_pod_is_explained_on_every_node_and_for_every_pool(scene: Scene) -> None:
    shown = explain(scene, "huge")
    assert "smallest change: free 52 cpu" in shown
    for place in ("std-0", "stray", "new node of small", "new node of standard"):
        assert place in shown
    assert "free 4Gi memory" in shown


def test_a_pod_that_fits_says_where(scene: Scene) -> None:
    assert explain(scene, "default/big-0").startswith("default/big-0 fits std-2") or "fits std-3" in explain(
        scene, "default/big-0"
    )


def test_a_running_pod_needs_no_explanation(scene: Scene) -> None:
    assert explain(scene, "web-0", "-n", "default") == "default/web-0 runs on std-0\n"


def test_a_node_is_explained_by_every_pod_that_keeps_it(scene: Scene) -> None:
    shown = explain(scene, "std-2")
    assert "std-2 stays: default/db has no controller" in shown
    assert "(and 1 more)" in shown
    assert "NotSafeToEvictAnnotation" in shown
    assert "remove the annotation" in shown


def test_a_free_node_says_that_it_can_go(scene: Scene) -> None:
    assert explain(scene, "std-3") == "std-3 can go: 0 pods fit elsewhere\n"


def test_an_explanation_as_json_has_the_same_content(scene: Scene) -> None:
    told = json.loads(explain(scene, "stray", "-o", "json"))
    assert told["node"] == "stray"
    assert [one["reason"] for one in told["obstacles"]] == ["NotAutoscaled"]


def test_a_name_that_nothing_has_is_not_found(scene: Scene) -> None:
    assert "no pod and no node nobody" in scene.fails(Exit.NOT_FOUND, "explain", "nobody", "--dump", scene.dump)
    assert "no pod a/b" in scene.fails(Exit.NOT_FOUND, "explain", "a/b", "--dump", scene.dump)


def test_a_name_in_two_namespaces_has_to_be_written_in_full(scene: Scene) -> None:
    document = json.loads(Path(scene.dump).read_text())
    twin = json.loads(json.dumps(document["items"][-2]))
    twin["metadata"]["namespace"] = "other"
    document["items"].append(twin)
    said = scene.fails(Exit.INVALID, "explain", "huge", "--dump", scene.path("two.json", document))
    assert "huge may be default/huge, other/huge" in said
