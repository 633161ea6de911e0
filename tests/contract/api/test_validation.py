"""Schemas: what is refused, and in which words; what is cut; what is filled in."""

from typing import Any

import pytest

from tests.contract.api.cluster import JSON_PATCH, Cluster, Obj, widget


def causes(refusal: Obj) -> dict[str, tuple[str, str]]:
    return {each["field"]: (each["reason"], each["message"]) for each in refusal["details"]["causes"]}


WRONG: list[tuple[Obj, str, str, str]] = [
    ({"color": "pink"}, "spec.color", "FieldValueNotSupported", 'Unsupported value: "pink": supported values: '),
    ({"replicas": "many"}, "spec.replicas", "FieldValueTypeInvalid", "must be of type integer"),
    ({"replicas": -1}, "spec.replicas", "FieldValueInvalid", "greater than or equal to 0"),
    ({"replicas": 10}, "spec.replicas", "FieldValueInvalid", "less than or equal to 9"),
    ({"maker": "x" * 21}, "spec.maker", "FieldValueTooLong", "Too long: may not be more than 20"),
    ({"parts": [{"weight": 1}]}, "spec.parts[0].name", "FieldValueRequired", "Required value"),
    ({"parts": [{"name": "x"}]}, "spec.parts[0].name", "FieldValueInvalid", "at least 2 chars long"),
    ({"parts": [{"name": "X1"}]}, "spec.parts[0].name", "FieldValueInvalid", "should match '^[a-z]+$'"),
    ({"parts": [{"name": "ab", "weight": 0}]}, "spec.parts[0].weight", "FieldValueInvalid", "greater than 0"),
    ({"parts": [{"name": "ab"}] * 2}, "spec.parts[1]", "FieldValueDuplicate", 'Duplicate value: {"name":"ab"}'),
    ({"tags": ["a", "b", "a"]}, "spec.tags[2]", "FieldValueDuplicate", 'Duplicate value: "a"'),
    ({"options": {"a": 1}}, "spec.options.a", "FieldValueTypeInvalid", "must be of type string"),
    ({"size": True}, "spec.size", "FieldValueTypeInvalid", "must be of type integer,string"),
    (
        {"parts": [{"name": name} for name in ("aa", "bb", "cc", "dd")]},
        "spec.parts",
        "FieldValueTooMany",
        "Too many: 4: must have at most 3 items",
    ),
]


@pytest.mark.parametrize(("spec", "field", "reason", "words"), WRONG)
def test_a_wrong_value_is_named_by_field(cluster: Cluster, spec: Obj, field: str, reason: str, words: str) -> None:
    refusal = cluster.create("one", status=422, **spec)
    assert refusal["reason"] == "Invalid"
    found = causes(refusal)
    assert found[field][0] == reason
    assert words in found[field][1]
    assert f'Widget.conformance.dpupool.io "one" is invalid: {field}: ' in refusal["message"]


def test_all_wrong_fields_are_named_at_once(cluster: Cluster) -> None:
    refusal = cluster.create("one", status=422, color="pink", replicas=99, parts=[{"name": "x"}])
    assert set(causes(refusal)) == {"spec.color", "spec.replicas", "spec.parts[0].name"}


def test_a_required_section_is_missed(cluster: Cluster) -> None:
    body = widget("one")
    del body["spec"]
    assert causes(cluster.create(body=body, status=422))["spec"] == ("FieldValueRequired", "Required value")


def test_a_patch_to_something_invalid_is_refused_and_changes_nothing(cluster: Cluster) -> None:
    cluster.create("one")
    assert "spec.replicas" in causes(cluster.patch("one", {"spec": {"replicas": 99}}, status=422))
    operations = [{"op": "remove", "path": "/spec/color"}]
    assert "spec.color" in causes(cluster.patch("one", operations, JSON_PATCH, status=422))
    assert cluster.get("one")["spec"] == {"color": "red", "replicas": 1}


def test_defaults_are_filled_in_deeply(cluster: Cluster) -> None:
    made = cluster.create("one", parts=[{"name": "wheel"}], replicas=None)
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["parts"] == [{"name": "wheel", "coated": False}]


def test_unknown_fields_are_cut_with_a_warning(cluster: Cluster) -> None:
    body = widget("one", onlin=True, parts=[{"name": "wheel", "speed": 3}])
    answer = cluster.http.post(cluster.widgets, json=body)
    assert answer.status_code == 201
    assert "onlin" not in answer.json()["spec"]
    warnings = answer.headers.get_list("Warning")
    assert any('unknown field \\"spec.onlin\\"' in each and each.startswith("299") for each in warnings)
    assert any('unknown field \\"spec.parts[0].speed\\"' in each for each in warnings)


def test_unknown_fields_are_refused_when_strict_and_passed_over_when_ignored(cluster: Cluster) -> None:
    refusal = cluster.create("one", status=400, query="?fieldValidation=Strict", onlin=True)
    assert refusal["reason"] == "BadRequest"
    assert refusal["message"] == (
        'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.onlin"'
    )
    cluster.get("one", status=404)
    answer = cluster.http.post(f"{cluster.widgets}?fieldValidation=Ignore", json=widget("one", onlin=True))
    assert answer.status_code == 201
    assert "Warning" not in answer.headers
    refusal = cluster.patch("one", {"spec": {"onlin": 1}}, status=400, query="?fieldValidation=Strict")
    assert 'strict decoding error: unknown field "spec.onlin"' in refusal["message"]


def test_a_misspelt_validation_mode_is_refused(cluster: Cluster) -> None:
    assert cluster.http.post(f"{cluster.widgets}?fieldValidation=Perhaps", json=widget("one")).status_code in {400, 422}


def test_a_free_section_keeps_everything(cluster: Cluster) -> None:
    free = {"any": [1, {"thing": None}], "deep": {"x": True}}
    assert cluster.create("one", free=free)["spec"]["free"] == free


@pytest.mark.parametrize("size", [5, "5Gi"])
def test_an_int_or_string_takes_both(cluster: Cluster, size: Any) -> None:
    assert cluster.create("one", size=size)["spec"]["size"] == size


def test_an_immutable_value_stays(cluster: Cluster) -> None:
    cluster.create("one", maker="acme")
    refusal = cluster.patch("one", {"spec": {"maker": "other"}}, status=422)
    assert "maker is immutable" in causes(refusal)["spec.maker"][1]
    assert cluster.patch("one", {"spec": {"replicas": 2}})["spec"]["maker"] == "acme"


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "dot.", "a" * 254, "sp ace"])
def test_a_name_that_is_no_dns_subdomain_is_refused(cluster: Cluster, name: str) -> None:
    refusal = cluster.create(body=widget(name), status=422)
    assert "metadata.name" in causes(refusal)


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"a b": "x"}},
        {"labels": {"a": "x y"}},
        {"labels": {"a": "x" * 64}},
        {"labels": {"Bad/Prefix/x": "x"}},
        {"finalizers": ["a b"]},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": ""}]},
    ],
)
def test_metadata_that_makes_no_sense_is_refused(cluster: Cluster, metadata: Obj) -> None:
    body = widget("one")
    body["metadata"] |= metadata
    refusal = cluster.create(body=body, status=422)
    assert next(iter(causes(refusal))).startswith("metadata.")


def test_status_is_validated_too(cluster: Cluster) -> None:
    cluster.create("one")
    wrong = {"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "yesterday"}]}}
    refusal = cluster.patch("one/status", wrong, status=422)
    assert "date-time" in causes(refusal)["status.conditions[0].lastTransitionTime"][1]
