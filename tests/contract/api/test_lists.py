"""Lists: selected, paged, as tables and as metadata."""

import pytest

from tests.contract.api.cluster import TABLE, Cluster, Obj, widget

PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


def names(listed: Obj) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


@pytest.fixture
def six(cluster: Cluster) -> Cluster:
    for number in range(6):
        body = widget(f"w{number}", color="red" if number < 3 else "blue")
        body["metadata"]["labels"] = {"number": str(number), "half": "low" if number < 3 else "high"}
        if number == 5:
            body["metadata"]["labels"]["last"] = ""
        cluster.create(body=body)
    return cluster


def fetch(cluster: Cluster, query: str = "", accept: str = "application/json", status: int = 200) -> Obj:
    answer = cluster.http.get(f"{cluster.widgets}?{query}", headers={"Accept": accept})
    assert answer.status_code == status, answer.text
    found: Obj = answer.json()
    return found


def test_a_list_is_ordered_and_names_its_kind(six: Cluster) -> None:
    found = fetch(six)
    assert (found["kind"], found["apiVersion"]) == ("WidgetList", "conformance.dpupool.io/v1")
    assert names(found) == [f"w{number}" for number in range(6)]
    newest = max(int(item["metadata"]["resourceVersion"]) for item in found["items"])
    assert int(found["metadata"]["resourceVersion"]) >= newest


def test_an_empty_list_has_items(cluster: Cluster) -> None:
    assert fetch(cluster)["items"] == []


SELECTORS = [
    ("half=low", "012"),
    ("half==low", "012"),
    ("half!=low", "345"),
    ("half in (low,other)", "012"),
    ("half notin (low)", "345"),
    ("last", "5"),
    ("!last", "01234"),
    ("half=high,!last", "34"),
    ("number in (1,4),half=high", "4"),
    ("last=", "5"),
    ("nosuch!=x", "012345"),
    ("nosuch=x", ""),
    ("number>3", "45"),
]


@pytest.mark.parametrize(("selector", "expected"), SELECTORS)
def test_a_label_selector_selects(six: Cluster, selector: str, expected: str) -> None:
    answer = six.http.get(six.widgets, params={"labelSelector": selector})
    assert names(answer.json()) == [f"w{number}" for number in expected]


def test_a_field_selector_selects(six: Cluster) -> None:
    assert names(fetch(six, "fieldSelector=metadata.name%3Dw2")) == ["w2"]
    assert names(fetch(six, "fieldSelector=metadata.name!%3Dw2,spec.color%3Dred")) == ["w0", "w1"]
    assert names(fetch(six, "fieldSelector=spec.color%3Dblue&labelSelector=last")) == ["w5"]


def test_a_selector_that_cannot_be_is_a_bad_request(six: Cluster) -> None:
    assert fetch(six, "labelSelector=a%20b", status=400)["reason"] == "BadRequest"
    refusal = fetch(six, "fieldSelector=spec.replicas%3D1", status=400)
    assert "spec.replicas" in refusal["message"]


def test_all_namespaces_can_be_listed_at_once(six: Cluster) -> None:
    path = "/apis/conformance.dpupool.io/v1/widgets"
    answer = six.http.get(path, params={"labelSelector": "last"})
    assert six.namespace in {item["metadata"]["namespace"] for item in answer.json()["items"]}


def test_pages_show_one_consistent_state(six: Cluster) -> None:
    first = fetch(six, "limit=2")
    assert names(first) == ["w0", "w1"]
    assert first["metadata"]["remainingItemCount"] == 4
    six.delete("w2")
    six.create("w25")
    six.patch("w3", {"spec": {"replicas": 9}})
    second = fetch(six, f"limit=3&continue={first['metadata']['continue']}")
    assert names(second) == ["w2", "w3", "w4"]
    assert second["items"][1]["spec"]["replicas"] == 1
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    third = fetch(six, f"limit=3&continue={second['metadata']['continue']}")
    assert names(third) == ["w5"]
    assert not third["metadata"].get("continue")


def test_a_made_up_continue_token_is_refused(six: Cluster) -> None:
    fetch(six, "limit=2&continue=abc", status=400)


def test_an_exact_version_shows_the_past(six: Cluster) -> None:
    before = fetch(six)["metadata"]["resourceVersion"]
    six.delete("w0")
    six.patch("w1", {"spec": {"replicas": 9}})
    past = fetch(six, f"resourceVersion={before}&resourceVersionMatch=Exact")
    assert names(past) == [f"w{number}" for number in range(6)]
    assert past["items"][1]["spec"]["replicas"] == 1
    assert "w0" not in names(fetch(six, f"resourceVersion={before}&resourceVersionMatch=NotOlderThan"))


def test_a_version_of_the_future_is_a_timeout(six: Cluster) -> None:
    refusal = fetch(six, "resourceVersion=999999999", status=504)
    assert refusal["reason"] == "Timeout"
    assert refusal["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_a_table_has_the_columns_of_the_definition(six: Cluster) -> None:
    six.patch("w0/status", {"status": {"message": "hm", "conditions": [{"type": "Ready", "status": "True"}]}})
    found = fetch(six, "limit=2", TABLE)
    assert found["kind"] == "Table"
    columns = [(column["name"], column["priority"]) for column in found["columnDefinitions"]]
    assert columns == [("Name", 0), ("Color", 0), ("Replicas", 0), ("Ready", 0), ("Message", 1), ("Age", 0)]
    row = found["rows"][0]
    assert row["cells"][:5] == ["w0", "red", 1, "True", "hm"]
    assert row["cells"][5].endswith("s")
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert found["rows"][1]["cells"][3] is None
    assert found["metadata"]["continue"]


def test_a_table_carries_what_is_asked_for(six: Cluster) -> None:
    rows = fetch(six, "includeObject=Object", TABLE)["rows"]
    assert rows[0]["object"]["spec"]["color"] == "red"
    assert not fetch(six, "includeObject=None", TABLE)["rows"][0].get("object")


def test_one_object_can_be_a_table_too(six: Cluster) -> None:
    answer = six.http.get(f"{six.widgets}/w1", headers={"Accept": TABLE})
    assert [row["cells"][0] for row in answer.json()["rows"]] == ["w1"]


def test_metadata_alone_can_be_listed(six: Cluster) -> None:
    found = fetch(six, accept=PARTIAL)
    assert found["kind"] == "PartialObjectMetadataList"
    assert all("spec" not in item for item in found["items"])


def test_a_language_that_is_not_spoken_is_not_acceptable(six: Cluster) -> None:
    assert fetch(six, accept="text/csv", status=406)["reason"] == "NotAcceptable"


def test_a_collection_is_deleted_as_selected(six: Cluster) -> None:
    answer = six.http.request("DELETE", six.widgets, params={"labelSelector": "half=low"})
    assert answer.status_code == 200
    assert names(fetch(six)) == ["w3", "w4", "w5"]
    assert six.http.request("DELETE", six.widgets).status_code == 200
    assert fetch(six)["items"] == []
