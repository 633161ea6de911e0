"""What the server says that it serves."""

from typing import Any

import pytest

from tests.contract.api.cluster import Cluster, Obj

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def by_name(items: list[Obj], key: str) -> dict[str, Obj]:
    return {item[key]: item for item in items}


def test_the_classic_lists_lead_to_the_resources(cluster: Cluster) -> None:
    assert "v1" in cluster.http.get("/api").json()["versions"]
    groups = by_name(cluster.http.get("/apis", headers={"Accept": "*/*"}).json()["groups"], "name")
    assert groups["conformance.dpupool.io"]["preferredVersion"]["groupVersion"] == "conformance.dpupool.io/v1"
    found = cluster.http.get("/apis/conformance.dpupool.io/v1").json()
    assert (found["kind"], found["groupVersion"]) == ("APIResourceList", "conformance.dpupool.io/v1")
    resources = by_name(found["resources"], "name")
    assert resources["widgets"]["shortNames"] == ["wdg"]
    assert resources["widgets"]["namespaced"] is True
    assert {"get", "list", "watch", "create", "update", "patch", "delete"} <= set(resources["widgets"]["verbs"])
    assert set(resources["widgets/status"]["verbs"]) == {"get", "patch", "update"}
    assert (resources["widgets/scale"]["kind"], resources["widgets/scale"]["group"]) == ("Scale", "autoscaling")


def test_the_aggregated_form_has_its_own_content_type(cluster: Cluster) -> None:
    for path in ("/api", "/apis"):
        answer = cluster.http.get(path, headers={"Accept": f"{AGGREGATED},application/json"})
        assert answer.headers["Content-Type"].replace(" ", "") == AGGREGATED
        assert "Accept" in answer.headers["Vary"]
        assert answer.json()["kind"] == "APIGroupDiscoveryList"


def test_the_aggregated_form_tells_the_same(cluster: Cluster) -> None:
    found = cluster.http.get("/apis", headers={"Accept": AGGREGATED}).json()
    groups = {item["metadata"]["name"]: item for item in found["items"]}
    (version,) = groups["conformance.dpupool.io"]["versions"]
    widgets = by_name(version["resources"], "resource")["widgets"]
    assert widgets["scope"] == "Namespaced"
    assert widgets["responseKind"] == {"group": "conformance.dpupool.io", "version": "v1", "kind": "Widget"}
    assert set(by_name(widgets["subresources"], "subresource")) == {"status", "scale"}
    core = cluster.http.get("/api", headers={"Accept": AGGREGATED}).json()["items"][0]["versions"][0]["resources"]
    assert {"namespaces", "events", "secrets", "configmaps", "nodes", "pods"} <= set(by_name(core, "resource"))


def test_plain_json_comes_first_when_it_is_asked_for_first(cluster: Cluster) -> None:
    answer = cluster.http.get("/apis", headers={"Accept": f"application/json,{AGGREGATED}"})
    assert answer.json()["kind"] == "APIGroupList"


def test_a_group_and_the_plain_kinds_describe_themselves(cluster: Cluster) -> None:
    assert cluster.http.get("/apis/conformance.dpupool.io").json()["kind"] == "APIGroup"
    for path in ("/apis/coordination.k8s.io/v1", "/apis/events.k8s.io/v1", "/apis/apiextensions.k8s.io/v1"):
        assert cluster.http.get(path).json()["kind"] == "APIResourceList"


def test_short_names_are_unique(cluster: Cluster) -> None:
    found: list[str] = []
    for path in ("/api/v1", *(f"/apis/{name}" for name in ("conformance.dpupool.io/v1", "coordination.k8s.io/v1"))):
        for resource in cluster.http.get(path).json()["resources"]:
            found += resource.get("shortNames", ())
    assert len(found) == len(set(found))


@pytest.mark.parametrize("path", ["/version", "/version/", "/healthz", "/livez", "/readyz"])
def test_probes_and_version_answer(cluster: Cluster, path: str) -> None:
    answer = cluster.http.get(path)
    assert answer.status_code == 200
    assert answer.text == "ok" or int(answer.json()["minor"].rstrip("+")) > 20


def patch_parameters(document: Obj) -> list[set[str]]:
    return [
        {parameter["name"] for parameter in item[method].get("parameters", ())}
        for item in document["paths"].values()
        for method in ("patch", "post")
        if method in item
    ]


def test_openapi_v3_has_what_kubectl_looks_for(cluster: Cluster) -> None:
    index = cluster.http.get("/openapi/v3").json()["paths"]
    url = index["apis/conformance.dpupool.io/v1"]["serverRelativeURL"]
    assert "hash=" in url
    document = cluster.http.get(url).json()
    assert all({"dryRun", "fieldManager", "fieldValidation"} <= names for names in patch_parameters(document))
    kinds: dict[str, Any] = {
        identity["kind"]: schema
        for schema in document["components"]["schemas"].values()
        for identity in schema.get("x-kubernetes-group-version-kind", ())
    }
    assert kinds["Widget"]["properties"]["spec"]["properties"]["color"]["description"] == "What it looks like."
    assert "WidgetList" in kinds


def test_openapi_v2_is_protobuf_without_an_at_sign(cluster: Cluster) -> None:
    accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    answer = cluster.http.get("/openapi/v2", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def test_definitions_of_custom_kinds_can_be_read_and_watched(cluster: Cluster) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    found = cluster.http.get(f"{path}/widgets.conformance.dpupool.io").json()
    conditions = {each["type"]: each["status"] for each in found["status"]["conditions"]}
    assert conditions["Established"] == "True"
    with cluster.watch("", path=path) as stream:
        assert stream.next()["type"] == "ADDED"
