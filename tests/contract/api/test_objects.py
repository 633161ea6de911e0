"""Create, read, replace: what every object can rely on."""

import pytest

from tests.contract.api.cluster import API_VERSION, Cluster, widget


def test_a_created_object_has_an_identity_of_its_own(cluster: Cluster) -> None:
    made = cluster.create("one")
    assert made["metadata"]["name"] == "one"
    assert made["metadata"]["namespace"] == cluster.namespace
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["uid"]
    assert int(made["metadata"]["resourceVersion"]) > 0
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert cluster.get("one") == made


def test_identity_and_status_that_a_client_invents_are_ignored(cluster: Cluster) -> None:
    body = widget("one") | {"status": {"message": "invented"}}
    body["metadata"] |= {"uid": "x", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z"}
    made = cluster.create(body=body)
    assert "status" not in made
    assert made["metadata"]["uid"] != "x"
    assert made["metadata"]["generation"] == 1
    assert not made["metadata"]["creationTimestamp"].startswith("2001")


def test_a_second_object_of_the_same_name_is_refused(cluster: Cluster) -> None:
    cluster.create("one")
    refusal = cluster.create("one", status=409)
    assert refusal["reason"] == "AlreadyExists"
    assert refusal["message"] == 'widgets.conformance.dpupool.io "one" already exists'
    assert refusal["details"] == {"name": "one", "group": "conformance.dpupool.io", "kind": "widgets"}


def test_what_is_absent_is_not_found(cluster: Cluster) -> None:
    refusal = cluster.get("nope", status=404)
    assert refusal["reason"] == "NotFound"
    assert refusal["message"] == 'widgets.conformance.dpupool.io "nope" not found'
    assert refusal["code"] == 404
    assert refusal["kind"] == "Status"


def test_generate_name_gives_each_object_its_own_name(cluster: Cluster) -> None:
    body = widget()
    body["metadata"] = {"generateName": "gen-"}
    names = {cluster.create(body=body)["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("gen-") and len(name) == 9 for name in names)


def test_an_object_needs_a_name(cluster: Cluster) -> None:
    refusal = cluster.create(body=widget(), status=422)
    assert "name or generateName is required" in refusal["message"]


def test_the_namespace_must_exist(cluster: Cluster) -> None:
    path = cluster.widgets.replace(cluster.namespace, "nowhere")
    answer = cluster.http.post(path, json=widget("one"))
    assert answer.status_code == 404
    assert answer.json()["message"] == 'namespaces "nowhere" not found'


def test_a_body_for_another_namespace_is_refused(cluster: Cluster) -> None:
    body = widget("one")
    body["metadata"]["namespace"] = "default"
    assert "namespace" in cluster.create(body=body, status=400)["message"]


def test_a_body_of_another_kind_is_refused(cluster: Cluster) -> None:
    cluster.create(body=widget("one") | {"kind": "Gadget"}, status=400)
    cluster.create(body=widget("one") | {"apiVersion": "conformance.dpupool.io/v9"}, status=400)


@pytest.mark.parametrize("content", [b"{", b"[]", b'"text"', b"\xff\xfe", b""])
def test_a_body_that_is_no_object_is_a_bad_request(cluster: Cluster, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = cluster.http.post(cluster.widgets, content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["reason"] == "BadRequest"


def test_yaml_is_understood(cluster: Cluster) -> None:
    head = f"apiVersion: {API_VERSION}\nkind: Widget\nmetadata: {{name: one}}\n"
    text = head + "spec: {color: blue, free: {day: 2024-01-02}}"
    answer = cluster.http.post(cluster.widgets, content=text, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 201
    assert answer.json()["spec"] == {"color": "blue", "replicas": 1, "free": {"day": "2024-01-02"}}


def test_a_replaced_object_keeps_its_identity(cluster: Cluster) -> None:
    made = cluster.create("one", replicas=2)
    body = widget("one", color="green")
    body["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    answer = cluster.http.put(f"{cluster.widgets}/one", json=body)
    assert answer.status_code == 200, answer.text
    new = answer.json()
    assert new["spec"] == {"color": "green", "replicas": 1}
    assert new["metadata"]["uid"] == made["metadata"]["uid"]
    assert new["metadata"]["generation"] == 2
    assert int(new["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


def test_a_stale_replacement_is_a_conflict(cluster: Cluster) -> None:
    made = cluster.create("one")
    cluster.patch("one", {"spec": {"color": "green"}})
    answer = cluster.http.put(f"{cluster.widgets}/one", json=made)
    assert answer.status_code == 409
    assert answer.json()["reason"] == "Conflict"
    assert "the object has been modified" in answer.json()["message"]


def test_a_replacement_must_say_what_it_replaces(cluster: Cluster) -> None:
    cluster.create("one")
    answer = cluster.http.put(f"{cluster.widgets}/one", json=widget("one"))
    assert answer.status_code == 422
    assert "metadata.resourceVersion" in answer.json()["message"]


def test_a_replacement_of_another_incarnation_is_a_conflict(cluster: Cluster) -> None:
    made = cluster.create("one")
    made["metadata"]["uid"] = "6b1f4f9c-0000-4000-8000-000000000000"
    answer = cluster.http.put(f"{cluster.widgets}/one", json=made)
    assert answer.status_code == 409


def test_a_write_that_changes_nothing_makes_no_new_version(cluster: Cluster) -> None:
    made = cluster.create("one")
    answer = cluster.http.put(f"{cluster.widgets}/one", json=made)
    assert answer.json()["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    same = cluster.patch("one", {"spec": {"color": "red"}})
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_labels_do_not_count_as_a_new_generation(cluster: Cluster) -> None:
    cluster.create("one")
    assert cluster.patch("one", {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
    assert cluster.patch("one", {"spec": {"replicas": 5}})["metadata"]["generation"] == 2


def test_spec_and_status_have_separate_doors(cluster: Cluster) -> None:
    cluster.create("one")
    both = {"spec": {"replicas": 4}, "status": {"message": "seen"}}
    after_main = cluster.patch("one", both)
    assert "status" not in after_main
    assert after_main["spec"]["replicas"] == 4
    after_status = cluster.patch("one/status", {"spec": {"replicas": 7}, "status": {"message": "seen"}})
    assert after_status["spec"]["replicas"] == 4
    assert after_status["status"] == {"message": "seen"}
    assert after_status["metadata"]["generation"] == after_main["metadata"]["generation"]


def test_status_can_be_read_and_replaced(cluster: Cluster) -> None:
    made = cluster.create("one")
    made["status"] = {"message": "put"}
    assert cluster.http.put(f"{cluster.widgets}/one/status", json=made).status_code == 200
    assert cluster.http.get(f"{cluster.widgets}/one/status").json()["status"] == {"message": "put"}


def test_scale_shows_and_sets_replicas(cluster: Cluster) -> None:
    cluster.create("one", replicas=3)
    scale = cluster.http.get(f"{cluster.widgets}/one/scale").json()
    assert (scale["kind"], scale["apiVersion"], scale["spec"]["replicas"]) == ("Scale", "autoscaling/v1", 3)
    assert cluster.patch("one/scale", {"spec": {"replicas": 6}})["spec"]["replicas"] == 6
    scale = cluster.http.get(f"{cluster.widgets}/one/scale").json()
    scale["spec"]["replicas"] = 8
    assert cluster.http.put(f"{cluster.widgets}/one/scale", json=scale).status_code == 200
    assert cluster.get("one")["spec"]["replicas"] == 8
    assert cluster.patch("one/scale", {"spec": {"replicas": -1}}, status=422)["reason"] == "Invalid"


def test_a_dry_run_checks_everything_and_stores_nothing(cluster: Cluster) -> None:
    made = cluster.create("one", query="?dryRun=All")
    assert made["spec"]["replicas"] == 1
    cluster.get("one", status=404)
    cluster.create("one", query="?dryRun=All", status=422, color="pink")
    cluster.create("one")
    cluster.create("one", query="?dryRun=All", status=409)
    assert cluster.patch("one", {"spec": {"replicas": 2}}, query="?dryRun=All")["spec"]["replicas"] == 2
    assert cluster.get("one")["spec"]["replicas"] == 1
    cluster.delete("one", dryRun=["All"])
    cluster.get("one")


def test_an_unknown_path_or_resource_is_not_found(cluster: Cluster) -> None:
    for path in ("/apis/conformance.dpupool.io/v9/widgets", "/apis/no.such/v1", "/api/v1/foos", "/nowhere"):
        answer = cluster.http.get(path)
        assert answer.status_code == 404, path
    assert cluster.http.get(f"{cluster.widgets}/one/nosuch").status_code == 404


def test_a_method_that_makes_no_sense_is_refused(cluster: Cluster) -> None:
    assert cluster.http.post(f"{cluster.widgets}/one", json=widget("one")).status_code == 405
    assert cluster.http.put(cluster.widgets, json=widget("one")).status_code == 405
