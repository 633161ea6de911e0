"""Paths, Accept headers and protobuf: what requests say."""

import pytest

from coordinator.api import protobuf
from coordinator.api.discovery import wants_aggregated
from coordinator.api.errors import ApiError
from coordinator.api.negotiation import Form, choose_form
from coordinator.api.request import Verb, parse, truth


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", (Verb.LIST, "", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces", (Verb.LIST, "", "", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/x", (Verb.GET, "", "x", "namespaces", "x", "")),
        ("PUT", "/api/v1/namespaces/x/status", (Verb.UPDATE, "", "x", "namespaces", "x", "status")),
        ("GET", "/api/v1/namespaces/x/pods/", (Verb.LIST, "", "x", "pods", "", "")),
        ("DELETE", "/api/v1/namespaces/x/pods", (Verb.DELETE_COLLECTION, "", "x", "pods", "", "")),
        ("POST", "/apis/g/v1/namespaces/x/foos", (Verb.CREATE, "g", "x", "foos", "", "")),
        ("PATCH", "/apis/g/v1/foos/a/scale", (Verb.PATCH, "g", "", "foos", "a", "scale")),
    ],
)
def test_a_path_names_verb_and_object(method: str, path: str, expected: tuple[object, ...]) -> None:
    info = parse(method, path)
    assert (info.verb, info.group, info.namespace, info.resource, info.name, info.subresource) == expected


@pytest.mark.parametrize("path", ["/", "/api", "/apis", "/apis/g", "/apis/g/v1", "/api/v1", "/metrics", "/version/"])
def test_other_paths_name_no_resource(path: str) -> None:
    info = parse("GET", path)
    assert info.resource == ""
    assert info.path == (path.rstrip("/") or "/")


def test_watching_is_a_verb_of_its_own() -> None:
    assert parse("GET", "/api/v1/pods", "true").verb is Verb.WATCH
    assert parse("GET", "/api/v1/pods", "1").verb is Verb.WATCH
    assert parse("GET", "/api/v1/pods", "false").verb is Verb.LIST
    assert truth("") is True
    assert truth(None) is False


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.OBJECT),
        ("*/*", Form.OBJECT),
        ("application/json", Form.OBJECT),
        (f"{TABLE},application/json", Form.TABLE),
        (f"application/json,{TABLE}", Form.OBJECT),
        (f"application/json;q=0.5,{TABLE};q=0.9", Form.TABLE),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Form.OBJECT),
        ("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", Form.PARTIAL),
        ("application/vnd.kubernetes.protobuf,application/json", Form.OBJECT),
        ("application/vnd.kubernetes.protobuf", Form.OBJECT),
    ],
)
def test_the_form_is_chosen_by_accept(accept: str, form: Form) -> None:
    assert choose_form(accept) is form


def test_discovery_is_aggregated_only_for_those_who_prefer_it() -> None:
    v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    assert wants_aggregated(f"{v2},application/json")
    assert wants_aggregated(f"{v2.replace('v2', 'v2beta1')},{v2}")
    assert not wants_aggregated("application/json")
    assert not wants_aggregated("*/*")
    assert not wants_aggregated(v2.replace("v=v2", "v=v2beta1"))


def field(number: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2, len(data)]) + data


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


def test_a_review_is_read_from_protobuf() -> None:
    attributes = field(1, "ns") + field(2, "get") + field(3, "dpupool.io") + field(5, "volumes") + field(7, "v1")
    body = envelope("authorization.k8s.io/v1", "SelfSubjectAccessReview", field(2, field(1, attributes)))
    assert protobuf.read(body) == {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {
            "resourceAttributes": {
                "namespace": "ns",
                "verb": "get",
                "group": "dpupool.io",
                "resource": "volumes",
                "name": "v1",
            }
        },
    }


def test_a_secret_is_read_with_its_bytes() -> None:
    entry = field(1, "key") + field(2, b"\x00\xff")
    metadata = field(1, "s") + field(11, field(1, "a") + field(2, "b"))
    raw = field(1, metadata) + field(2, entry) + field(3, "Opaque") + bytes([5 << 3, 1])
    found = protobuf.read(envelope("v1", "Secret", raw))
    assert found["metadata"] == {"name": "s", "labels": {"a": "b"}}
    assert found["data"] == {"key": "AP8="}
    assert found["immutable"] is True


def test_options_of_a_deletion_are_read() -> None:
    raw = bytes([1 << 3, 5]) + field(2, field(1, "uid-1")) + field(4, "Foreground") + field(5, "All")
    found = protobuf.read(envelope("v1", "DeleteOptions", raw))
    assert found["preconditions"] == {"uid": "uid-1"}
    assert found["propagationPolicy"] == "Foreground"
    assert found["dryRun"] == ["All"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"json", 400),
        (b"k8s\0\xff", 400),
        (b"k8s\0" + b"\x0a\x7f", 400),
        (b"k8s\0" + b"\x80" * 20, 400),
        (envelope("v1", "Pod", b""), 415),
        (envelope("v1", "Secret", b"\x0b"), 400),
        (envelope("v1", "ConfigMap", field(1, field(1, b"\xff"))), 400),
    ],
)
def test_what_is_no_such_message_is_refused(body: bytes, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        protobuf.read(body)
    assert refused.value.code == code
