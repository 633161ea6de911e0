"""Server-side apply: who owns which field, and what follows from it."""

from typing import Any

from tests.contract.api.cluster import Cluster, Obj, widget


def entries(obj: Obj) -> dict[tuple[str, str], Obj]:
    return {(each["manager"], each["operation"]): each for each in obj["metadata"]["managedFields"]}


def applied(name: str, **spec: Any) -> Obj:
    return widget(name) | {"spec": spec}


def test_applying_what_is_absent_creates_it(cluster: Cluster) -> None:
    made = cluster.apply(applied("one", color="red", options={"a": "1"}), "alice", status=201)
    owned = entries(made)["alice", "Apply"]
    assert owned["apiVersion"] == "conformance.dpupool.io/v1"
    assert owned["fieldsType"] == "FieldsV1"
    assert owned["fieldsV1"]["f:spec"]["f:color"] == {}
    assert owned["fieldsV1"]["f:spec"]["f:options"]["f:a"] == {}
    assert "f:replicas" not in owned["fieldsV1"]["f:spec"]


def test_applying_the_same_again_makes_no_new_version(cluster: Cluster) -> None:
    made = cluster.apply(applied("one", color="red"), "alice", status=201)
    again = cluster.apply(applied("one", color="red"), "alice")
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_what_an_applier_no_longer_says_is_removed(cluster: Cluster) -> None:
    cluster.apply(applied("one", color="red", options={"a": "1", "b": "2"}, tags=["x", "y"]), "alice", status=201)
    new = cluster.apply(applied("one", color="red", options={"a": "1"}, tags=["y"]), "alice")
    assert new["spec"]["options"] == {"a": "1"}
    assert new["spec"]["tags"] == ["y"]


def test_what_another_owns_too_stays(cluster: Cluster) -> None:
    cluster.apply(applied("one", color="red", options={"a": "1"}), "alice", status=201)
    cluster.apply(applied("one", color="red", options={"a": "1"}), "bob")
    new = cluster.apply(applied("one", color="red"), "alice")
    assert new["spec"]["options"] == {"a": "1"}
    new = cluster.apply(applied("one", color="red"), "bob")
    assert "a" not in new["spec"].get("options", {})


def test_another_value_for_an_owned_field_is_a_conflict(cluster: Cluster) -> None:
    cluster.apply(applied("one", color="red", replicas=2), "alice", status=201)
    refusal = cluster.apply(applied("one", color="blue", replicas=2), "bob", status=409)
    assert refusal["reason"] == "Conflict"
    assert refusal["message"].startswith('Apply failed with 1 conflict: conflict with "alice"')
    assert refusal["message"].endswith(": .spec.color")
    (cause,) = refusal["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.color")
    assert cluster.get("one")["spec"]["color"] == "red"


def test_each_conflict_is_a_cause(cluster: Cluster) -> None:
    cluster.apply(applied("one", color="red", replicas=2), "alice", status=201)
    refusal = cluster.apply(applied("one", color="blue", replicas=3), "bob", status=409)
    assert {cause["field"] for cause in refusal["details"]["causes"]} == {".spec.color", ".spec.replicas"}
    assert "Apply failed with 2 conflicts" in refusal["message"]


def test_force_takes_the_field_over(cluster: Cluster) -> None:
    cluster.apply(applied("one", color="red", replicas=2), "alice", status=201)
    new = cluster.apply(applied("one", color="blue"), "bob", force=True)
    assert new["spec"]["color"] == "blue"
    owners = entries(new)
    assert "f:color" not in owners["alice", "Apply"]["fieldsV1"]["f:spec"]
    assert "f:color" in owners["bob", "Apply"]["fieldsV1"]["f:spec"]


def test_an_update_takes_fields_without_asking(cluster: Cluster) -> None:
    cluster.apply(applied("one", color="red", replicas=2), "alice", status=201)
    new = cluster.patch("one", {"spec": {"replicas": 5}}, query="?fieldManager=editor")
    owners = entries(new)
    assert owners["editor", "Update"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owners["alice", "Apply"]["fieldsV1"]["f:spec"]
    refusal = cluster.apply(applied("one", color="red", replicas=2), "alice", status=409)
    assert 'conflict with "editor" using conformance.dpupool.io/v1' in refusal["message"]


def test_items_of_a_list_map_are_owned_one_by_one(cluster: Cluster) -> None:
    cluster.apply(applied("one", color="red", parts=[{"name": "wheel", "weight": 2}]), "alice", status=201)
    new = cluster.apply(applied("one", parts=[{"name": "bell", "weight": 1}]), "bob")
    assert [part["name"] for part in new["spec"]["parts"]] == ["wheel", "bell"]
    refusal = cluster.apply(applied("one", parts=[{"name": "wheel", "weight": 9}]), "bob", status=409)
    assert refusal["details"]["causes"][0]["field"] == '.spec.parts[name="wheel"].weight'
    new = cluster.apply(applied("one", parts=[]), "bob")
    assert [part["name"] for part in new["spec"]["parts"]] == ["wheel"]


def test_status_is_applied_through_its_own_door(cluster: Cluster) -> None:
    cluster.create("one")
    body = widget("one") | {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    new = cluster.apply(body, "kubelet", sub="/status")
    assert new["status"]["conditions"][0]["type"] == "Ready"
    entry = entries(new)["kubelet", "Apply"]
    assert entry["subresource"] == "status"
    assert list(entry["fieldsV1"]) == ["f:status"]
    other = widget("one") | {"status": {"conditions": [{"type": "Healthy", "status": "True"}]}}
    new = cluster.apply(other, "doctor", sub="/status")
    assert {each["type"] for each in new["status"]["conditions"]} == {"Ready", "Healthy"}


def test_apply_needs_a_manager_and_no_managed_fields(cluster: Cluster) -> None:
    refusal = cluster.patch("one", applied("one", color="red"), "application/apply-patch+yaml", status=422)
    assert "fieldManager" in refusal["message"]
    body = applied("one", color="red")
    body["metadata"]["managedFields"] = [{"manager": "x", "operation": "Apply"}]
    assert "managedFields must be nil" in cluster.apply(body, "alice", status=400)["message"]


def test_an_invalid_configuration_is_refused_whole(cluster: Cluster) -> None:
    refusal = cluster.apply(applied("one", color="pink"), "alice", status=422)
    assert refusal["details"]["causes"][0]["field"] == "spec.color"
    cluster.get("one", status=404)


def test_labels_and_finalizers_are_shared_between_managers(cluster: Cluster) -> None:
    for manager, status in (("alice", 201), ("bob", 200)):
        body = applied("one", color="red")
        body["metadata"] |= {"labels": {manager: "yes"}, "finalizers": [f"conformance.dpupool.io/{manager}"]}
        new = cluster.apply(body, manager, status=status)
    assert new["metadata"]["labels"] == {"alice": "yes", "bob": "yes"}
    assert len(new["metadata"]["finalizers"]) == 2
    new = cluster.apply(applied("one", color="red"), "alice")
    assert new["metadata"]["labels"] == {"bob": "yes"}
    new = cluster.apply(applied("one", color="red"), "bob")
    assert not new["metadata"].get("finalizers")


def test_ownership_moves_when_managed_fields_are_edited(cluster: Cluster) -> None:
    cluster.patch(
        "one", applied("one", color="red"), "application/apply-patch+yaml", status=201, query="?fieldManager=old"
    )
    found = cluster.get("one")["metadata"]["managedFields"]
    found[0]["manager"] = "new"
    operations = [{"op": "replace", "path": "/metadata/managedFields", "value": found}]
    new = cluster.patch("one", operations, "application/json-patch+json")
    assert ("new", "Apply") in entries(new)
    assert ("old", "Apply") not in entries(new)
    cluster.apply(applied("one", color="blue"), "new")
