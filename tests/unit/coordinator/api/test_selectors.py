"""Selectors and JSONPath: small languages."""

from typing import Any

import pytest

from coordinator.api.errors import ApiError
from coordinator.api.history import Record
from coordinator.api.jsonpath import compile_path
from coordinator.api.objects import Key
from coordinator.api.selectors import Operator as By
from coordinator.api.selectors import Selection, parse_fields, parse_labels


def record(labels: dict[str, str], **spec: object) -> Record:
    obj = {"metadata": {"labels": labels}, "spec": spec}
    from coordinator.api.objects import encode

    return Record.of(Key("things", "ns", "a"), 1, encode(obj), obj)


def test_terms_are_told_apart() -> None:
    found = parse_labels("a=b, c==d,e!=f,g in (h, i),j notin (k),l,!m,n>1,o<2,dpupool.io/p=q")
    assert [(term.key, term.operator) for term in found] == [
        ("a", By.IN),
        ("c", By.IN),
        ("e", By.NOT_IN),
        ("g", By.IN),
        ("j", By.NOT_IN),
        ("l", By.EXISTS),
        ("m", By.ABSENT),
        ("n", By.GREATER),
        ("o", By.LESS),
        ("dpupool.io/p", By.IN),
    ]
    assert found[3].values == {"h", "i"}


@pytest.mark.parametrize("text", ["a b", "a in b", "a in (b", "=x", "a=b c", "a=b=c", "!", "a==,=", "-a=b"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_labels(text)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("selector", "matches"), [("n>4", True), ("n>5", False), ("n<6", True), ("x>1", False), ("w>1", False)]
)
def test_numbers_are_compared_as_numbers(selector: str, *, matches: bool) -> None:
    assert Selection(labels=parse_labels(selector)).matches(record({"n": "5", "w": "word"})) is matches


def test_fields_are_compared_as_text() -> None:
    allowed = ("spec.on", "spec.count", "spec.none")
    for text, matches in (
        ("spec.on=true", True),
        ("spec.count=3", True),
        ("spec.none=", True),
        ("spec.count!=3", False),
        ("metadata.namespace=ns,metadata.name=a", True),
    ):
        assert Selection(fields=parse_fields(text, allowed, "Thing")).matches(record({}, on=True, count=3)) is matches


def test_a_comma_in_a_value_can_be_escaped() -> None:
    (term,) = parse_fields(r"spec.x=a\,b\=c", ("spec.x",), "Thing")
    assert term.value == "a,b=c"


DOCUMENT: Any = {
    "a": {"b": [1, 2, 3], "c.d": "dotted", "e-f": True},
    "items": [{"type": "x", "n": 1, "v": "one"}, {"type": "Ready", "n": 2, "v": "two"}],
}
PATHS: list[tuple[str, list[Any]]] = [
    (".a.b[0]", [1]),
    (".a.b[-1]", [3]),
    (".a.b[7]", []),
    (".a.b[1:]", [2, 3]),
    (".a.b[*]", [1, 2, 3]),
    (".a.c\\.d", ["dotted"]),
    (".a['c.d']", ["dotted"]),
    ('.a["c.d"]', ["dotted"]),
    (".a.e-f", [True]),
    ("{.a.e-f}", [True]),
    ("$.a.e-f", [True]),
    ('.items[?(@.type=="Ready")].v', ["two"]),
    (".items[?(@.type=='x')].v", ["one"]),
    (".items[?(@.n>1)].v", ["two"]),
    (".items[?(@.n!=1)].v", ["two"]),
    (".items[?(@.n)].v", ["one", "two"]),
    (".items[?(@.type>5)].v", []),
    (".items[*].n", [1, 2]),
    (".nosuch.thing[0]", []),
]


@pytest.mark.parametrize(("path", "expected"), PATHS)
def test_a_path_finds_its_values(path: str, expected: list[Any]) -> None:
    assert compile_path(path)(DOCUMENT) == expected


@pytest.mark.parametrize("path", [".a[", "..a", ".a[?(b)]", ".a[x]", "a b"])
def test_a_path_that_is_not_understood_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a JSONPath"):
        compile_path(path)
