"""Deletion: finalizers, preconditions, owners, namespaces."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.api.cluster import API_VERSION, Cluster, Obj, widget


def until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for the garbage collector."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def gone(cluster: Cluster, name: str) -> bool:
    return cluster.http.get(f"{cluster.widgets}/{name}").status_code == 404


def owned(name: str, *owners: Obj, block: bool = False) -> Obj:
    body = widget(name)
    body["metadata"]["ownerReferences"] = [
        {
            "apiVersion": API_VERSION,
            "kind": "Widget",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    return body


def test_a_deletion_answers_with_what_is_gone(cluster: Cluster) -> None:
    made = cluster.create("one")
    answer = cluster.delete("one")
    assert answer["status"] == "Success"
    assert answer["details"]["uid"] == made["metadata"]["uid"]
    assert gone(cluster, "one")
    cluster.delete("one", status=404)


def test_finalizers_hold_an_object_until_the_last_is_removed(cluster: Cluster) -> None:
    body = widget("one")
    body["metadata"]["finalizers"] = ["dpupool.io/a", "dpupool.io/b"]
    made = cluster.create(body=body)
    marked = cluster.delete("one")
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    again = cluster.delete("one")
    assert again["metadata"]["deletionTimestamp"] == marked["metadata"]["deletionTimestamp"]
    left = cluster.patch("one", {"metadata": {"finalizers": ["dpupool.io/b"]}})
    assert left["metadata"]["uid"] == made["metadata"]["uid"]
    cluster.patch("one", {"metadata": {"finalizers": None}})
    assert gone(cluster, "one")


def test_an_object_that_goes_takes_no_new_finalizer(cluster: Cluster) -> None:
    body = widget("one")
    body["metadata"]["finalizers"] = ["dpupool.io/a"]
    cluster.create(body=body)
    cluster.delete("one")
    more = {"metadata": {"finalizers": ["dpupool.io/a", "dpupool.io/late"]}}
    assert "no new finalizers can be added" in cluster.patch("one", more, status=422)["message"]
    cluster.patch("one", {"metadata": {"finalizers": []}})


def test_an_object_that_goes_can_still_report(cluster: Cluster) -> None:
    body = widget("one")
    body["metadata"]["finalizers"] = ["dpupool.io/a"]
    cluster.create(body=body)
    cluster.delete("one")
    assert cluster.patch("one/status", {"status": {"message": "going"}})["status"] == {"message": "going"}
    cluster.patch("one", {"metadata": {"finalizers": []}})


def test_preconditions_protect_another_incarnation(cluster: Cluster) -> None:
    made = cluster.create("one")
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    cluster.delete("one", status=409, preconditions={"uid": "6b1f4f9c-0000-4000-8000-000000000000"})
    cluster.patch("one", {"spec": {"replicas": 2}})
    cluster.delete("one", status=409, preconditions={"resourceVersion": version})
    cluster.delete("one", preconditions={"uid": uid})
    assert gone(cluster, "one")


def test_what_an_object_owns_goes_after_it(cluster: Cluster) -> None:
    owner = cluster.create("owner")
    child = cluster.create(body=owned("child", owner))
    cluster.create(body=owned("grandchild", child))
    cluster.delete("owner", propagationPolicy="Background")
    until(lambda: gone(cluster, "child") and gone(cluster, "grandchild"))


def test_an_object_with_two_owners_stays_until_both_are_gone(cluster: Cluster) -> None:
    owners = [cluster.create(name) for name in ("first", "second")]
    cluster.create(body=owned("child", *owners))
    cluster.create(body=owned("marker", owners[0]))
    cluster.delete("first")
    until(lambda: gone(cluster, "marker"))
    cluster.get("child")
    cluster.delete("second")
    until(lambda: gone(cluster, "child"))


def test_an_orphan_keeps_living(cluster: Cluster) -> None:
    owner = cluster.create("owner")
    cluster.create(body=owned("child", owner))
    cluster.delete("owner", propagationPolicy="Orphan")
    until(lambda: gone(cluster, "owner"))
    assert not cluster.get("child")["metadata"].get("ownerReferences")


def test_foreground_deletion_lets_the_owner_go_last(cluster: Cluster) -> None:
    owner = cluster.create("owner")
    body = owned("child", owner, block=True)
    body["metadata"]["finalizers"] = ["dpupool.io/hold"]
    cluster.create(body=body)
    marked = cluster.delete("owner", propagationPolicy="Foreground")
    assert "foregroundDeletion" in marked["metadata"]["finalizers"]
    until(lambda: "deletionTimestamp" in cluster.get("child")["metadata"])
    cluster.get("owner")
    cluster.patch("child", {"metadata": {"finalizers": None}})
    until(lambda: gone(cluster, "owner") and gone(cluster, "child"))


def test_a_reference_to_nobody_is_collected(cluster: Cluster) -> None:
    ghost = {"metadata": {"name": "ghost", "uid": "6b1f4f9c-0000-4000-8000-000000000000"}}
    cluster.create(body=owned("child", ghost))
    until(lambda: gone(cluster, "child"))


def test_an_unknown_policy_is_refused(cluster: Cluster) -> None:
    cluster.create("one")
    answer = cluster.http.request("DELETE", f"{cluster.widgets}/one", json={"propagationPolicy": "Sideways"})
    assert answer.status_code in {400, 422}
    cluster.get("one")


def test_a_namespace_takes_its_objects_with_it(cluster: Cluster) -> None:
    name = f"{cluster.namespace}-x"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert cluster.http.post("/api/v1/namespaces", json=body).status_code == 201
    inner = Cluster(cluster.http, cluster.kubeconfig, name, cluster.embedded)
    held = widget("held")
    held["metadata"]["finalizers"] = ["dpupool.io/hold"]
    inner.create("free")
    inner.create(body=held)
    inner.http.post(inner.core("configmaps"), json={"metadata": {"name": "cm"}, "data": {"a": "b"}})
    ending = cluster.http.delete(f"/api/v1/namespaces/{name}").json()
    assert ending["status"]["phase"] == "Terminating"
    until(lambda: gone(inner, "free"))
    refusal = inner.create("late", status=403)
    assert "because it is being terminated" in refusal["message"]
    inner.patch("held", {"metadata": {"finalizers": None}})
    until(lambda: cluster.http.get(f"/api/v1/namespaces/{name}").status_code == 404)


@pytest.mark.parametrize("name", ["default", "kube-system"])
def test_some_namespaces_are_eternal(cluster: Cluster, name: str) -> None:
    assert cluster.http.delete(f"/api/v1/namespaces/{name}").status_code == 403
