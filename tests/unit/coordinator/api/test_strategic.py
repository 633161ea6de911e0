"""Strategic merge patch: the directives that kubectl sends."""

from typing import Any

import pytest

from coordinator.api.errors import ApiError
from coordinator.api.objects import Obj
from coordinator.api.patch import json_patch, strategic_patch

SCHEMA: Obj = {
    "properties": {
        "items": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {}},
        "names": {"x-kubernetes-list-type": "set"},
    }
}
OLD: Obj = {"items": [{"name": "a", "v": 1}, {"name": "b", "v": 2}], "names": ["x", "y"], "rows": [1], "m": {"k": 1}}


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({"items": [{"name": "b", "v": 3}]}, {"items": [{"name": "a", "v": 1}, {"name": "b", "v": 3}]}),
        ({"items": [{"name": "c"}]}, {"items": [*OLD["items"], {"name": "c"}]}),
        ({"items": [{"name": "a", "$patch": "delete"}]}, {"items": [{"name": "b", "v": 2}]}),
        ({"items": [{"name": "c"}, {"$patch": "replace"}]}, {"items": [{"name": "c"}]}),
        (
            {"items": [{"name": "c"}], "$setElementOrder/items": [{"name": "c"}, {"name": "b"}]},
            {"items": [{"name": "c"}, {"name": "b", "v": 2}, {"name": "a", "v": 1}]},
        ),
        ({"names": ["z", "x"]}, {"names": ["x", "y", "z"]}),
        ({"$deleteFromPrimitiveList/names": ["x"]}, {"names": ["y"]}),
        ({"rows": [2, 3]}, {"rows": [2, 3]}),
        ({"m": {"l": 2}}, {"m": {"k": 1, "l": 2}}),
        ({"m": {"$patch": "replace", "l": 2}}, {"m": {"l": 2}}),
        ({"m": {"k": None}}, {"m": {}}),
        ({"m": 5}, {"m": 5}),
    ],
)
def test_a_directive_does_what_kubectl_means(patch: Obj, changed: Obj) -> None:
    assert strategic_patch(OLD, patch, SCHEMA) == OLD | changed


def test_only_the_keys_that_are_retained_stay() -> None:
    assert strategic_patch({"a": 1, "b": 2}, {"$retainKeys": ["b", "c"], "c": 3}, {}) == {"b": 2, "c": 3}


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ({"op": "add"}, 400),
        ([{"op": "add", "path": "/a"}], 400),
        ([{"op": "add", "path": "a", "value": 1}], 400),
        ([{"op": "add", "path": "/rows/7", "value": 1}], 422),
        ([{"op": "add", "path": "/rows/x", "value": 1}], 422),
        ([{"op": "add", "path": "/rows/0/deep", "value": 1}], 422),
        ([{"op": "remove", "path": "/rows/1"}], 422),
        ([{"op": "copy", "from": "/nope", "path": "/x"}], 422),
        ([{"op": "replace", "path": "", "value": 5}], 422),
        ([{"op": "remove", "path": ""}], 422),
    ],
)
def test_an_operation_that_cannot_be_is_refused(operations: Any, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        json_patch(OLD, operations)
    assert refused.value.code == code
