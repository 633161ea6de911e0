"""Watches: from where they begin, what they show, how they end."""

from typing import Any

import pytest

from tests.contract.api.cluster import TABLE, Cluster, Obj, widget


def version(obj: Obj) -> int:
    return int(obj["metadata"]["resourceVersion"])


def test_a_watch_from_a_version_shows_what_came_after(cluster: Cluster) -> None:
    first = cluster.create("one")
    cluster.create("two")
    cluster.patch("one", {"spec": {"replicas": 2}})
    cluster.delete("two")
    with cluster.watch(f"resourceVersion={version(first)}") as stream:
        assert stream.take(3) == [("ADDED", "two"), ("MODIFIED", "one"), ("DELETED", "two")]
        cluster.create("three")
        assert stream.take(1) == [("ADDED", "three")]


def test_a_watch_without_a_version_begins_with_the_state(cluster: Cluster) -> None:
    cluster.create("one")
    cluster.create("two")
    for query in ("", "resourceVersion=0", "resourceVersion="):
        with cluster.watch(query) as stream:
            assert sorted(stream.take(2)) == [("ADDED", "one"), ("ADDED", "two")]


def test_versions_only_grow(cluster: Cluster) -> None:
    with cluster.watch("resourceVersion=0") as stream:
        cluster.create("one")
        for replicas in range(2, 6):
            cluster.patch("one", {"spec": {"replicas": replicas}})
        cluster.delete("one")
        versions = [version(stream.next()["object"]) for _ in range(6)]
    assert versions == sorted(set(versions))


def test_a_deletion_shows_the_last_state_at_a_new_version(cluster: Cluster) -> None:
    made = cluster.create("one", replicas=4)
    with cluster.watch(f"resourceVersion={version(made)}") as stream:
        cluster.delete("one")
        event = stream.next()
    assert event["type"] == "DELETED"
    assert event["object"]["spec"]["replicas"] == 4
    assert version(event["object"]) > version(made)


def test_entering_and_leaving_a_selection_is_added_and_deleted(cluster: Cluster) -> None:
    made = cluster.create("one")
    with cluster.watch(f"resourceVersion={version(made)}&labelSelector=seen%3Dyes") as stream:
        cluster.patch("one", {"spec": {"replicas": 2}})
        cluster.patch("one", {"metadata": {"labels": {"seen": "yes"}}})
        cluster.patch("one", {"spec": {"replicas": 3}})
        cluster.patch("one", {"metadata": {"labels": {"seen": "no"}}, "spec": {"replicas": 4}})
        cluster.patch("one", {"spec": {"replicas": 5}})
        last = cluster.patch("one", {"metadata": {"labels": {"seen": "yes"}}})
        events = [stream.next() for _ in range(4)]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
    assert [event["object"]["spec"]["replicas"] for event in events] == [2, 3, 3, 5]
    assert version(events[3]["object"]) == version(last)
    assert version(events[2]["object"]) > version(events[1]["object"])


def test_a_field_selector_narrows_a_watch(cluster: Cluster) -> None:
    cluster.create("one")
    cluster.create("two", color="blue")
    with cluster.watch("fieldSelector=metadata.name%3Dtwo") as stream:
        assert stream.take(1) == [("ADDED", "two")]
        cluster.patch("one", {"spec": {"replicas": 2}})
        cluster.patch("two", {"spec": {"replicas": 2}})
        assert stream.take(1) == [("MODIFIED", "two")]
    with cluster.watch("fieldSelector=spec.color%3Dblue") as stream:
        assert stream.take(1) == [("ADDED", "two")]
        cluster.patch("two", {"spec": {"color": "green"}})
        assert stream.take(1) == [("DELETED", "two")]


def test_other_namespaces_are_not_shown(cluster: Cluster) -> None:
    with cluster.watch("resourceVersion=0") as stream:
        body = widget(f"other-{cluster.namespace}")
        path = "/apis/conformance.dpupool.io/v1/namespaces/default/widgets"
        assert cluster.http.post(path, json=body).status_code == 201
        assert cluster.http.delete(f"{path}/{body['metadata']['name']}").status_code == 200
        cluster.create("mine")
        assert stream.take(1) == [("ADDED", "mine")]


def test_all_namespaces_can_be_watched_at_once(cluster: Cluster) -> None:
    made = cluster.create("one")
    path = "/apis/conformance.dpupool.io/v1/widgets"
    with cluster.watch(f"resourceVersion={version(made)}", path=path) as stream:
        cluster.create(f"two-{cluster.namespace}")
        while True:
            event = stream.next()
            if event["object"]["metadata"]["namespace"] == cluster.namespace:
                break
    assert event["object"]["metadata"]["name"] == f"two-{cluster.namespace}"


def initial(cluster: Cluster, **more: str) -> str:
    found = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"} | more
    return "&".join(f"{name}={value}" for name, value in found.items())


def test_initial_events_end_with_a_bookmark(cluster: Cluster) -> None:
    cluster.create("one")
    last = cluster.create("two")
    with cluster.watch(initial(cluster)) as stream:
        assert sorted(stream.take(2)) == [("ADDED", "one"), ("ADDED", "two")]
        end = stream.next()
        assert end["type"] == "BOOKMARK"
        assert end["object"]["kind"] == "Widget"
        assert end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
        assert version(end["object"]) >= version(last)
        cluster.delete("one")
        assert stream.take(1) == [("DELETED", "one")]


def test_initial_events_of_nothing_end_at_once(cluster: Cluster) -> None:
    with cluster.watch(initial(cluster)) as stream:
        assert stream.next()["type"] == "BOOKMARK"


def test_initial_events_need_the_match_to_be_said(cluster: Cluster) -> None:
    answer = cluster.http.get(f"{cluster.widgets}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true")
    assert answer.status_code == 422
    assert "resourceVersionMatch" in answer.json()["message"]


def test_a_table_watch_heads_its_first_event(cluster: Cluster) -> None:
    cluster.create("one")
    with cluster.watch("", accept=TABLE) as stream:
        first = stream.next()["object"]
        cluster.patch("one", {"spec": {"color": "blue"}})
        second = stream.next()["object"]
    assert first["kind"] == second["kind"] == "Table"
    assert [column["name"] for column in first["columnDefinitions"]][:2] == ["Name", "Color"]
    assert not second["columnDefinitions"]
    assert second["rows"][0]["cells"][:2] == ["one", "blue"]
    assert second["rows"][0]["object"]["metadata"]["namespace"] == cluster.namespace


def test_a_watch_ends_when_its_time_is_over(cluster: Cluster) -> None:
    with cluster.watch("timeoutSeconds=1") as stream:
        assert stream.ended()


def test_one_object_can_be_watched_by_name(cluster: Cluster) -> None:
    cluster.create("one")
    cluster.create("two")
    with cluster.watch("", path=f"{cluster.widgets}/two") as stream:
        cluster.patch("one", {"spec": {"replicas": 2}})
        cluster.delete("two")
        assert stream.take(2) == [("ADDED", "two"), ("DELETED", "two")]


@pytest.mark.parametrize("query", ["resourceVersion=abc", "labelSelector=a%20b", "timeoutSeconds=x"])
def test_a_watch_that_makes_no_sense_is_refused_before_it_streams(cluster: Cluster, query: str) -> None:
    answer: Any = cluster.http.get(f"{cluster.widgets}?watch=true&{query}")
    assert answer.status_code == 400
