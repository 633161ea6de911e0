"""The plain kinds: events with two faces, secrets, leases, and protobuf bodies."""

from tests.contract.api.cluster import MERGE, TABLE, Cluster, Obj


def event(cluster: Cluster, name: str, **more: str) -> Obj:
    involved = {
        "kind": "Widget",
        "name": "one",
        "namespace": cluster.namespace,
        "apiVersion": "conformance.dpupool.io/v1",
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": involved,
        "reason": "Tested",
        "message": "it was tested",
        "type": "Normal",
    } | more


def new_path(cluster: Cluster) -> str:
    return f"/apis/events.k8s.io/v1/namespaces/{cluster.namespace}/events"


def test_an_event_of_one_group_is_seen_in_the_other(cluster: Cluster) -> None:
    cluster.http.post(cluster.core("events"), json=event(cluster, "old"))
    found = cluster.http.get(f"{new_path(cluster)}/old").json()
    assert found["apiVersion"] == "events.k8s.io/v1"
    assert (found["note"], found["regarding"]["name"]) == ("it was tested", "one")
    assert "involvedObject" not in found
    body = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "new"},
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "regarding": {"kind": "Widget", "name": "one", "namespace": cluster.namespace},
        "reportingController": "dpupool.io/tester",
        "reportingInstance": "tester-0",
        "action": "Testing",
        "reason": "Tested",
        "note": "tested anew",
        "type": "Normal",
    }
    assert cluster.http.post(new_path(cluster), json=body).status_code == 201
    core = cluster.http.get(cluster.core("events/new")).json()
    assert (core["message"], core["involvedObject"]["name"]) == ("tested anew", "one")
    assert core["reportingComponent"] == "dpupool.io/tester"


def test_both_faces_can_be_watched_and_patched(cluster: Cluster) -> None:
    with cluster.watch("resourceVersion=0", path=new_path(cluster)) as stream:
        cluster.http.post(cluster.core("events"), json=event(cluster, "old"))
        assert stream.next()["object"]["note"] == "it was tested"
        changed = cluster.patch_path(f"{new_path(cluster)}/old", {"note": "again"}, MERGE)
        assert changed["note"] == "again"
        assert stream.next()["object"]["note"] == "again"
    assert cluster.http.get(cluster.core("events/old")).json()["message"] == "again"


def test_events_are_selected_by_what_they_are_about(cluster: Cluster) -> None:
    cluster.http.post(cluster.core("events"), json=event(cluster, "a"))
    cluster.http.post(cluster.core("events"), json=event(cluster, "b", reason="Other", type="Warning"))
    selector = f"involvedObject.kind=Widget,involvedObject.namespace={cluster.namespace},involvedObject.name=one"
    for more, expected in (("", ["a", "b"]), (",type=Warning", ["b"]), (",reason!=Other", ["a"])):
        answer = cluster.http.get(cluster.core("events"), params={"fieldSelector": selector + more})
        assert [item["metadata"]["name"] for item in answer.json()["items"]] == expected
    selector = "involvedObject.name=two"
    assert cluster.http.get(cluster.core("events"), params={"fieldSelector": selector}).json()["items"] == []


def test_texts_of_a_secret_become_data(cluster: Cluster) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    made = cluster.http.post(cluster.core("secrets"), json=body).json()
    assert made["data"] == {"a": "Yg=="}
    assert made["type"] == "Opaque"
    assert "stringData" not in made
    table = cluster.http.get(cluster.core("secrets/s"), headers={"Accept": TABLE}).json()
    assert table["rows"][0]["cells"][:3] == ["s", "Opaque", 1]
    assert "Yg==" not in str(table)


def test_a_lease_is_taken_once(cluster: Cluster) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{cluster.namespace}/leases"
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}}
    made = cluster.http.post(path, json=body | {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}).json()
    first = made | {"spec": made["spec"] | {"holderIdentity": "b"}}
    second = made | {"spec": made["spec"] | {"holderIdentity": "c"}}
    assert cluster.http.put(f"{path}/leader", json=first).status_code == 200
    assert cluster.http.put(f"{path}/leader", json=second).status_code == 409
    assert cluster.http.get(f"{path}/leader").json()["spec"]["holderIdentity"] == "b"


def test_a_pod_is_shown_with_its_state(cluster: Cluster) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"},
    }
    answer = cluster.http.post(cluster.core("pods"), json=body)
    assert answer.status_code == 201, answer.text
    status = {"status": {"phase": "Running", "containerStatuses": [{"name": "c", "ready": True, "restartCount": 2}]}}
    cluster.patch_path(cluster.core("pods/p/status"), status, "application/strategic-merge-patch+json")
    selector = {"fieldSelector": "spec.nodeName=n"}
    found = cluster.http.get(cluster.core("pods"), params=selector, headers={"Accept": TABLE}).json()
    assert found["rows"][0]["cells"][:4] == ["p", "1/1", "Running", "2"]


def review(cluster: Cluster, spec: Obj) -> Obj:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
    answer = cluster.http.post(path, json=body)
    assert answer.status_code == 201
    found: Obj = answer.json()["status"]
    return found


def test_a_review_tells_what_is_allowed(cluster: Cluster) -> None:
    attributes = {
        "namespace": cluster.namespace,
        "verb": "delete",
        "group": "conformance.dpupool.io",
        "resource": "widgets",
    }
    assert review(cluster, {"resourceAttributes": attributes})["allowed"] is True
    assert review(cluster, {"nonResourceAttributes": {"path": "/version", "verb": "get"}})["allowed"] is True


def test_protobuf_of_other_kinds_is_refused_finally(cluster: Cluster) -> None:
    if not cluster.embedded:
        return  # a real server understands every message
    body = b"k8s\0" + bytes([0x0A, 0x0B, 0x0A, 2]) + b"v1" + bytes([0x12, 5]) + b"Event" + bytes([0x12, 0])
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    answer = cluster.http.post(cluster.core("events"), content=body, headers=headers)
    assert answer.status_code == 415
    assert "Event" in answer.json()["message"]
