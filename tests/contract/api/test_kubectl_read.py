"""Stock kubectl shows objects, waits for them and explains them."""

import json

import yaml

from tests.contract.api.cluster import Cluster, widget
from tests.contract.api.kubectl import Kubectl


def ready(cluster: Cluster, name: str) -> None:
    conditions = [{"type": "Ready", "status": "True"}]
    cluster.patch(f"{name}/status", {"status": {"message": "all well", "conditions": conditions}})


def test_get_prints_the_columns_of_the_definition(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.create("one", replicas=3)
    ready(cluster, "one")
    head, row = kubectl("get", "wdg").rows
    assert head == ["NAME", "COLOR", "REPLICAS", "READY", "AGE"]
    assert row[:4] == ["one", "red", "3", "True"]
    wide = kubectl("get", "widgets.conformance.dpupool.io", "-o", "wide")
    assert "MESSAGE" in wide.out
    assert "all well" in wide.out


def test_get_prints_documents(cluster: Cluster, kubectl: Kubectl) -> None:
    made = cluster.create("one")
    cluster.create("two")
    assert yaml.safe_load(kubectl("get", "wdg", "one", "-o", "yaml").out)["metadata"]["uid"] == made["metadata"]["uid"]
    listed = json.loads(kubectl("get", "wdg", "-o", "json").out)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["one", "two"]
    assert kubectl("get", "wdg", "-o", "jsonpath={.items[*].spec.color}").out == "red red"
    assert kubectl("get", "wdg", "-o", "name").out.splitlines()[0] == "widget.conformance.dpupool.io/one"
    custom = kubectl("get", "wdg", "-o", "custom-columns=N:.metadata.name,C:.spec.color").rows
    assert custom == [["N", "C"], ["one", "red"], ["two", "red"]]


def test_get_selects_and_sorts(cluster: Cluster, kubectl: Kubectl) -> None:
    for name, replicas in (("one", 3), ("two", 1), ("three", 2)):
        body = widget(name, replicas=replicas, color="blue" if name == "two" else "red")
        body["metadata"]["labels"] = {"name": name}
        cluster.create(body=body)
    by_replicas = kubectl("get", "wdg", "--sort-by=.spec.replicas", "--no-headers").rows
    assert [row[0] for row in by_replicas] == ["two", "three", "one"]
    assert [row[0] for row in kubectl("get", "wdg", "-l", "name in (one,two)", "--no-headers").rows] == ["one", "two"]
    found = kubectl("get", "wdg", "--field-selector", "spec.color=blue", "--no-headers").rows
    assert [row[0] for row in found] == ["two"]
    paged = kubectl("get", "wdg", "--chunk-size=1", "--no-headers").rows
    assert [row[0] for row in paged] == ["one", "three", "two"]


def test_get_in_all_namespaces_names_them(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.create("one")
    found = kubectl("get", "wdg", "-A")
    assert found.out.startswith("NAMESPACE")
    assert [cluster.namespace, "one"] in [row[:2] for row in found.rows]
    assert "one    red" in kubectl("get", "conformance").out


def test_get_of_nothing_and_of_the_unknown(kubectl: Kubectl) -> None:
    assert kubectl("get", "wdg").err == f"No resources found in {kubectl.namespace} namespace.\n"
    assert 'widgets.conformance.dpupool.io "nope" not found' in kubectl.try_("get", "wdg", "nope").err
    assert kubectl.try_("get", "foos").err == 'error: the server doesn\'t have a resource type "foos"\n'


def test_get_follows_changes(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.create("one")
    process = kubectl.start("get", "wdg", "-w", "--no-headers")
    assert process.stdout is not None
    assert process.stdout.readline().split()[:2] == ["one", "red"]
    cluster.patch("one", {"spec": {"color": "green"}})
    assert process.stdout.readline().split()[:2] == ["one", "green"]
    cluster.create("two")
    assert process.stdout.readline().split()[0] == "two"
    process.terminate()
    process.communicate(timeout=30)


def test_describe_shows_the_events(cluster: Cluster, kubectl: Kubectl) -> None:
    made = cluster.create("one")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "one."},
        "involvedObject": {
            "apiVersion": made["apiVersion"],
            "kind": "Widget",
            "name": "one",
            "namespace": cluster.namespace,
            "uid": made["metadata"]["uid"],
        },
        "reason": "Painted",
        "message": "painted red, twice",
        "type": "Normal",
        "count": 2,
        "firstTimestamp": made["metadata"]["creationTimestamp"],
        "lastTimestamp": made["metadata"]["creationTimestamp"],
        "source": {"component": "painter"},
    }
    assert cluster.http.post(cluster.core("events"), json=event).status_code == 201
    told = kubectl("describe", "wdg", "one").out
    assert "Color:" in told
    assert "Painted" in told
    assert "painted red, twice" in told
    listed = kubectl("get", "events", "--field-selector", "involvedObject.name=one").out
    assert "widget/one" in listed
    assert "painted red, twice" in listed


def test_wait_for_a_condition_that_comes(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.create("one")
    late = kubectl.try_("wait", "wdg/one", "--for=condition=Ready", "--timeout=1s")
    assert late.code == 1
    assert "timed out waiting for the condition" in late.err
    process = kubectl.start("wait", "wdg/one", "--for=condition=Ready", "--timeout=30s")
    ready(cluster, "one")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "widget.conformance.dpupool.io/one condition met\n"), err


def test_wait_for_a_value_and_for_the_end(cluster: Cluster, modern: Kubectl) -> None:
    cluster.create("one")
    process = modern.start("wait", "wdg/one", "--for=jsonpath={.spec.color}=blue", "--timeout=30s")
    cluster.patch("one", {"spec": {"color": "blue"}})
    assert process.communicate(timeout=30)[0] == "widget.conformance.dpupool.io/one condition met\n"
    process = modern.start("wait", "wdg/one", "--for=delete", "--timeout=30s")
    cluster.delete("one")
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_explain_tells_of_fields(modern: Kubectl) -> None:
    told = modern("explain", "wdg.spec.parts").out
    assert "KIND:       Widget" in told
    assert "What it is made of." in told
    assert "weight" in told
    assert "What it looks like." in modern("explain", "wdg.spec", "--recursive=false").out
    assert "<no description>" not in modern("explain", "wdg").out


def test_questions_about_oneself_are_answered(modern: Kubectl) -> None:
    assert modern("auth", "can-i", "delete", "wdg").out == "yes\n"
    assert "Username" in modern("auth", "whoami").out
    assert modern("auth", "can-i", "--list").code == 0


def test_what_is_served_is_listed(kubectl: Kubectl) -> None:
    told = kubectl("api-resources", "--api-group=conformance.dpupool.io").rows
    assert told[1][:2] == ["widgets", "wdg"]
    assert "conformance.dpupool.io/v1" in kubectl("api-versions").out
    assert "Server Version" in kubectl("version").out
    assert kubectl("cluster-info").code == 0
    assert "widgets.conformance.dpupool.io" in kubectl("get", "crd").out
