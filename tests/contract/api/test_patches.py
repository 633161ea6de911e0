"""Merge patch, JSON patch and strategic merge patch."""

from tests.contract.api.cluster import JSON_PATCH, STRATEGIC, Cluster


def test_a_merge_patch_sets_merges_and_removes(cluster: Cluster) -> None:
    cluster.create("one", options={"a": "1", "b": "2"}, replicas=2)
    new = cluster.patch("one", {"spec": {"options": {"a": None, "c": "3"}, "tags": ["x"]}})
    assert new["spec"]["options"] == {"b": "2", "c": "3"}
    assert new["spec"]["tags"] == ["x"]
    assert new["spec"]["replicas"] == 2


def test_a_merge_patch_replaces_lists(cluster: Cluster) -> None:
    cluster.create("one", parts=[{"name": "wheel"}, {"name": "frame"}])
    new = cluster.patch("one", {"spec": {"parts": [{"name": "bell"}]}})
    assert new["spec"]["parts"] == [{"name": "bell", "coated": False}]


def test_a_patch_with_a_stale_version_is_a_conflict(cluster: Cluster) -> None:
    made = cluster.create("one")
    cluster.patch("one", {"spec": {"color": "green"}})
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "spec": {"color": "blue"}}
    assert cluster.patch("one", stale, status=409)["reason"] == "Conflict"
    assert cluster.get("one")["spec"]["color"] == "green"


def test_a_json_patch_adds_replaces_moves_copies_and_removes(cluster: Cluster) -> None:
    cluster.create("one", tags=["a", "b"], options={"x/y": "1"})
    operations = [
        {"op": "test", "path": "/spec/color", "value": "red"},
        {"op": "replace", "path": "/spec/color", "value": "blue"},
        {"op": "add", "path": "/spec/tags/1", "value": "between"},
        {"op": "add", "path": "/spec/tags/-", "value": "end"},
        {"op": "remove", "path": "/spec/tags/0"},
        {"op": "move", "from": "/spec/options/x~1y", "path": "/spec/options/moved"},
        {"op": "copy", "from": "/spec/options/moved", "path": "/spec/options/copied"},
    ]
    new = cluster.patch("one", operations, JSON_PATCH)
    assert new["spec"]["color"] == "blue"
    assert new["spec"]["tags"] == ["between", "b", "end"]
    assert new["spec"]["options"] == {"moved": "1", "copied": "1"}


def test_a_json_patch_whose_test_fails_changes_nothing(cluster: Cluster) -> None:
    cluster.create("one")
    operations = [
        {"op": "replace", "path": "/spec/color", "value": "blue"},
        {"op": "test", "path": "/spec/replicas", "value": 7},
    ]
    assert cluster.patch("one", operations, JSON_PATCH, status=422)["reason"] == "Invalid"
    assert cluster.get("one")["spec"]["color"] == "red"


def test_a_json_patch_to_nowhere_is_unprocessable(cluster: Cluster) -> None:
    cluster.create("one")
    cluster.patch("one", [{"op": "remove", "path": "/spec/nope"}], JSON_PATCH, status=422)
    cluster.patch("one", [{"op": "frobnicate", "path": "/spec"}], JSON_PATCH, status=400)


def test_custom_kinds_take_no_strategic_merge_patch(cluster: Cluster) -> None:
    cluster.create("one")
    refusal = cluster.patch("one", {"spec": {"replicas": 2}}, STRATEGIC, status=415)
    assert refusal["reason"] == "UnsupportedMediaType"


def test_an_unknown_patch_language_is_refused(cluster: Cluster) -> None:
    cluster.create("one")
    cluster.patch("one", {}, "application/json", status=415)


def test_plain_kinds_merge_lists_by_key_strategically(cluster: Cluster) -> None:
    name = f"node-{cluster.namespace}"
    node = {"metadata": {"name": name}, "kind": "Node", "apiVersion": "v1"}
    assert cluster.http.post("/api/v1/nodes", json=node).status_code == 201
    path = f"/api/v1/nodes/{name}/status"
    for kind, status in (("Ready", "False"), ("DiskPressure", "False"), ("Ready", "True")):
        patch = {"status": {"conditions": [{"type": kind, "status": status, "reason": "R"}]}}
        new = cluster.patch_path(path, patch, STRATEGIC)
    found = {each["type"]: each["status"] for each in new["status"]["conditions"]}
    assert found == {"Ready": "True", "DiskPressure": "False"}
    patch = {"status": {"conditions": [{"$patch": "delete", "type": "DiskPressure"}]}}
    assert [each["type"] for each in cluster.patch_path(path, patch, STRATEGIC)["status"]["conditions"]] == ["Ready"]
    assert cluster.http.delete(f"/api/v1/nodes/{name}").status_code == 200


def test_a_patch_of_what_is_absent_is_not_found(cluster: Cluster) -> None:
    cluster.patch("nope", {"spec": {}}, status=404)


def test_a_patch_cannot_rename(cluster: Cluster) -> None:
    cluster.create("one")
    answer = cluster.http.patch(
        f"{cluster.widgets}/one",
        json={"metadata": {"name": "two"}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.status_code in {400, 422}
