"""Whatever a client sends, it gets an answer that blames the right side, and the store stays sound."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.api.crds import load
from coordinator.api.decoding import fill_defaults, prune
from coordinator.api.objects import Obj, copy
from coordinator.api.validation import validate
from tests.contract.api.cluster import WIDGETS
from tests.fakes.api import running_api

SCHEMA = load([WIDGETS])[0].kinds[0].schema
PATH = "/apis/conformance.dpupool.io/v1/namespaces/default/widgets"
keys = st.sampled_from(
    ["spec", "metadata", "status", "color", "parts", "name", "labels", "replicas", "tags", "options", "free", "x", ""]
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(keys, below, max_size=4)),
    max_leaves=15,
)
objects = st.dictionaries(keys, values, max_size=4)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running_api(tmp_path_factory.mktemp("bodies"), manifests=[WIDGETS]) as api, api.client() as client:
        made = {"metadata": {"name": "one"}, "spec": {"color": "red"}}
        assert client.post(PATH, json=made).status_code == 201
        yield client


quiet = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@quiet
@given(objects)
def test_any_object_is_created_or_refused_as_the_clients_fault(http: httpx.Client, body: Obj) -> None:
    answer = http.post(PATH, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code in {201, 400, 409, 422}, answer.text
    if answer.status_code == 201:
        assert list(validate(answer.json() | {"metadata": {}}, SCHEMA)) == []
        http.delete(f"{PATH}/{answer.json()['metadata']['name']}")


LANGUAGES = ["application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml"]
pointers = st.lists(keys, max_size=4).map(lambda steps: "".join(f"/{step}" for step in steps))
operations = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "odd"]), "path": pointers},
        optional={"value": values, "from": pointers},
    ),
    max_size=3,
)


@quiet
@given(st.sampled_from(LANGUAGES), st.one_of(values, operations), st.sampled_from(["", "/status", "/scale"]))
def test_any_patch_is_taken_or_refused_as_the_clients_fault(
    http: httpx.Client, language: str, patch: Any, door: str
) -> None:
    url = f"{PATH}/one{door}?fieldManager=fuzz"
    answer = http.patch(url, content=json.dumps(patch), headers={"Content-Type": language})
    assert answer.status_code in {200, 400, 409, 415, 422}, answer.text
    found = http.get(f"{PATH}/one").json()
    if "deletionTimestamp" not in found["metadata"]:
        assert list(validate(found | {"metadata": {}}, SCHEMA)) == []


@quiet
@given(
    st.binary(max_size=60),
    st.sampled_from(["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]),
)
def test_any_bytes_are_refused_politely(http: httpx.Client, content: bytes, language: str) -> None:
    answer = http.post(PATH, content=content, headers={"Content-Type": language})
    assert answer.status_code in {400, 415, 422}, answer.text


@given(objects)
def test_pruning_and_defaulting_settle_at_once(body: Obj) -> None:
    prune(body, SCHEMA)
    fill_defaults(body, SCHEMA)
    again = copy(body)
    assert prune(again, SCHEMA) == []
    fill_defaults(again, SCHEMA)
    assert again == body
