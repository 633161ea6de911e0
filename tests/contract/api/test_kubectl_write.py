"""Stock kubectl changes objects."""

import json
from pathlib import Path

from tests.contract.api.cluster import Cluster, widget
from tests.contract.api.kubectl import Kubectl


def test_apply_creates_leaves_alone_and_configures(cluster: Cluster, kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", stdin=widget("one")).out == "widget.conformance.dpupool.io/one created\n"
    assert kubectl("apply", "-f", "-", stdin=widget("one")).out == "widget.conformance.dpupool.io/one unchanged\n"
    before = cluster.get("one")["metadata"]["resourceVersion"]
    changed = widget("one", color="blue", tags=["x"])
    assert kubectl("apply", "-f", "-", stdin=changed).out == "widget.conformance.dpupool.io/one configured\n"
    assert kubectl("apply", "-f", "-", stdin=widget("one", color="blue")).code == 0
    found = cluster.get("one")
    assert found["spec"] == {"color": "blue", "replicas": 1}
    assert found["metadata"]["resourceVersion"] != before


def test_apply_moves_from_client_side_to_server_side(cluster: Cluster, modern: Kubectl) -> None:
    modern("apply", "-f", "-", stdin=widget("one", tags=["x"]))
    done = modern("apply", "--server-side", "-f", "-", stdin=widget("one", tags=["x"]))
    assert done.out == "widget.conformance.dpupool.io/one serverside-applied\n"
    modern("apply", "--server-side", "-f", "-", stdin=widget("one", color="blue"))
    spec = cluster.get("one")["spec"]
    assert spec["color"] == "blue"
    assert not spec.get("tags")


def test_server_side_apply_tells_of_conflicts_and_can_be_forced(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--field-manager", "alice", "-f", "-", stdin=widget("one"))
    refused = kubectl.try_("apply", "--server-side", "-f", "-", stdin=widget("one", color="blue"))
    assert refused.code == 1
    assert 'Apply failed with 1 conflict: conflict with "alice"' in refused.err
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=widget("one", color="blue"))
    assert cluster.get("one")["spec"]["color"] == "blue"


def test_create_and_replace(cluster: Cluster, kubectl: Kubectl) -> None:
    assert kubectl("create", "-f", "-", stdin=widget("one")).out.endswith("one created\n")
    again = kubectl.try_("create", "-f", "-", stdin=widget("one"))
    assert "Error from server (AlreadyExists)" in again.err
    kubectl("replace", "-f", "-", stdin=widget("one", color="green"))
    assert cluster.get("one")["spec"]["color"] == "green"


def test_patch_in_both_languages_and_not_strategically(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.create("one")
    kubectl("patch", "wdg", "one", "--type=merge", "-p", '{"spec":{"replicas":2}}')
    kubectl("patch", "wdg", "one", "--type=json", "-p", '[{"op":"replace","path":"/spec/color","value":"blue"}]')
    assert cluster.get("one")["spec"] == {"color": "blue", "replicas": 2}
    refused = kubectl.try_("patch", "wdg", "one", "-p", '{"spec":{"replicas":3}}')
    assert refused.code == 1
    assert "strategic-merge-patch" in refused.err or "UnsupportedMediaType" in refused.err


def test_patch_of_status(cluster: Cluster, modern: Kubectl) -> None:
    cluster.create("one")
    modern("patch", "wdg", "one", "--subresource=status", "--type=merge", "-p", '{"status":{"message":"hi"}}')
    assert cluster.get("one")["status"] == {"message": "hi"}


def test_label_annotate_and_scale(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.create("one")
    kubectl("label", "wdg", "one", "a=b")
    kubectl("annotate", "wdg", "one", "note=two words")
    kubectl("scale", "wdg", "one", "--replicas=4")
    found = cluster.get("one")
    assert found["metadata"]["labels"] == {"a": "b"}
    assert found["metadata"]["annotations"]["note"] == "two words"
    assert found["spec"]["replicas"] == 4
    kubectl("label", "wdg", "one", "a-")
    assert not cluster.get("one")["metadata"].get("labels")


def editor(directory: Path, expression: str) -> str:
    script = directory / "editor"
    script.write_text(f'#!/bin/sh\nsed -i "{expression}" "$1"\n')
    script.chmod(0o755)
    return str(script)


def test_edit_stores_what_the_editor_wrote(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    cluster.create("one")
    done = kubectl("edit", "wdg", "one", EDITOR=editor(tmp_path, "s/color: red/color: green/"))
    assert done.out == "widget.conformance.dpupool.io/one edited\n"
    assert cluster.get("one")["spec"]["color"] == "green"


def test_edit_to_something_invalid_changes_nothing(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> None:
    cluster.create("one")
    done = kubectl.try_("edit", "wdg", "one", EDITOR=editor(tmp_path, "s/color: red/color: pink/"))
    assert done.code == 1
    assert '"one" is invalid' in done.out + done.err
    assert cluster.get("one")["spec"]["color"] == "red"


def test_diff_shows_what_apply_would_change(cluster: Cluster, modern: Kubectl) -> None:
    modern("apply", "-f", "-", stdin=widget("one"))
    assert modern("diff", "-f", "-", stdin=widget("one")).out == ""
    done = modern.try_("diff", "-f", "-", stdin=widget("one", color="blue"))
    assert done.code == 1
    assert "-  color: red" in done.out
    assert "+  color: blue" in done.out
    assert cluster.get("one")["spec"]["color"] == "red"


def test_a_dry_run_by_the_server_stores_nothing(cluster: Cluster, modern: Kubectl) -> None:
    done = modern("apply", "--dry-run=server", "-f", "-", stdin=widget("one"))
    assert done.out == "widget.conformance.dpupool.io/one created (server dry run)\n"
    cluster.get("one", status=404)


def test_a_misspelt_field_is_refused_by_name(modern: Kubectl) -> None:
    done = modern.try_("apply", "-f", "-", stdin=widget("one", onlin=True))
    assert done.code == 1
    assert 'strict decoding error: unknown field "spec.onlin"' in done.err
    warned = modern("apply", "--validate=warn", "-f", "-", stdin=widget("one", onlin=True))
    assert 'unknown field "spec.onlin"' in warned.err


def test_wrong_values_are_listed_by_field(kubectl: Kubectl) -> None:
    done = kubectl.try_("apply", "-f", "-", stdin=widget("one", color="pink"))
    assert done.err.startswith('The Widget "one" is invalid: spec.color: Unsupported value: "pink"')
    done = kubectl.try_("apply", "-f", "-", stdin=widget("one", color="pink", replicas="two"))
    assert '* spec.color: Unsupported value: "pink"' in done.err
    assert "* spec.replicas: Invalid value" in done.err


def test_typed_generators_speak_protobuf(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "cm", "--from-literal=a=ä")
    kubectl("create", "secret", "generic", "s", "--from-literal=password=hush")
    kubectl("create", "namespace", f"{cluster.namespace}-y")
    kubectl("delete", "namespace", f"{cluster.namespace}-y", "--wait=false")
    assert cluster.http.get(cluster.core("configmaps/cm")).json()["data"] == {"a": "ä"}
    secret = cluster.http.get(cluster.core("secrets/s")).json()
    assert (secret["data"], secret["type"]) == ({"password": "aHVzaA=="}, "Opaque")


def test_delete_waits_until_the_finalizer_is_gone(cluster: Cluster, kubectl: Kubectl) -> None:
    body = widget("one")
    body["metadata"]["finalizers"] = ["dpupool.io/hold"]
    cluster.create(body=body)
    waiting = kubectl.start("delete", "wdg", "one", "--timeout=30s")
    with cluster.watch("fieldSelector=metadata.name%3Done") as stream:
        while "deletionTimestamp" not in stream.next()["object"]["metadata"]:
            continue
    assert waiting.poll() is None
    cluster.patch("one", {"metadata": {"finalizers": None}})
    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, err
    assert '"one" deleted' in out


def test_delete_by_label_all_and_with_policies(cluster: Cluster, kubectl: Kubectl) -> None:
    for name in ("one", "two", "three"):
        body = widget(name)
        body["metadata"]["labels"] = {"n": name}
        cluster.create(body=body)
    kubectl("delete", "wdg", "-l", "n=one")
    kubectl("delete", "wdg", "two", "--cascade=foreground", "--grace-period=5")
    kubectl("delete", "wdg", "--all", "--wait=false")
    assert cluster.http.get(cluster.widgets).json()["items"] == []
    done = kubectl.try_("delete", "wdg", "one")
    assert done.err == 'Error from server (NotFound): widgets.conformance.dpupool.io "one" not found\n'


def test_a_node_is_cordoned(cluster: Cluster, kubectl: Kubectl) -> None:
    name = f"node-{cluster.namespace}"
    kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    kubectl("cordon", name)
    assert cluster.http.get(f"/api/v1/nodes/{name}").json()["spec"]["unschedulable"] is True
    kubectl("taint", "node", name, "a=b:NoSchedule")
    assert "SchedulingDisabled" in kubectl("get", "node", name).out
    kubectl("delete", "node", name)


def test_what_is_printed_can_be_applied_again(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=widget("one", parts=[{"name": "wheel"}]))
    text = kubectl("get", "wdg", "one", "-o", "json").out
    assert json.loads(text)["kind"] == "Widget"
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=text).out or cluster.get("one")["spec"]["parts"]
