"""Schema keywords that the conformance kind does not use, and formats."""

from typing import Any

import pytest

from coordinator.api.errors import CauseType
from coordinator.api.objects import Obj
from coordinator.api.validation import validate

LETTERS: Obj = {"type": "string", "pattern": "^[a-z]$"}
DIGITS: Obj = {"type": "string", "pattern": "^[0-9]$"}

WRONG: list[tuple[Obj, Any, CauseType, str]] = [
    ({"anyOf": [LETTERS, DIGITS]}, "!", CauseType.INVALID, '"x" must validate at least one schema (anyOf)'),
    ({"oneOf": [LETTERS, DIGITS]}, "!", CauseType.INVALID, "one and only one schema (oneOf). Found none valid"),
    ({"oneOf": [LETTERS, {"type": "string"}]}, "a", CauseType.INVALID, "Found 2 valid alternatives"),
    ({"allOf": [LETTERS, {"maxLength": 0}]}, "a", CauseType.TOO_LONG, "Too long"),
    ({"not": LETTERS}, "a", CauseType.INVALID, '"x" must not validate the schema (not)'),
    ({"type": "number", "multipleOf": 3}, 4, CauseType.INVALID, "should be a multiple of 3"),
    ({"type": "number", "maximum": 3, "exclusiveMaximum": True}, 3, CauseType.INVALID, "should be less than 3"),
    ({"type": "integer", "format": "int32"}, 1 << 31, CauseType.INVALID, "must be of type int32"),
    ({"type": "integer"}, 1.5, CauseType.TYPE, 'must be of type integer: "number"'),
    ({"type": "boolean"}, 1, CauseType.TYPE, 'must be of type boolean: "integer"'),
    ({"type": "string"}, None, CauseType.TYPE, 'must be of type string: "null"'),
    ({"type": "object", "maxProperties": 1}, {"a": 1, "b": 2}, CauseType.TOO_MANY, "must have at most 1 items"),
    ({"type": "object", "minProperties": 1}, {}, CauseType.INVALID, "at least 1 properties"),
    ({"type": "array", "minItems": 1}, [], CauseType.INVALID, "at least 1 items"),
    ({"type": "string", "pattern": "^a$"}, "a\n", CauseType.INVALID, "should match '^a$'"),
]


@pytest.mark.parametrize(("schema", "value", "kind", "words"), WRONG)
def test_a_wrong_value_is_told_in_kubernetes_words(schema: Obj, value: Any, kind: CauseType, words: str) -> None:
    (cause,) = validate(value, schema, "x")
    assert (cause.type, cause.field) == (kind, "x")
    assert words in cause.message


RIGHT: list[tuple[Obj, Any]] = [
    ({"anyOf": [LETTERS, DIGITS]}, "a"),
    ({"oneOf": [LETTERS, DIGITS]}, "1"),
    ({"type": "integer"}, 2.0),
    ({"type": "number"}, 2),
    ({"type": "string", "nullable": True}, None),
    ({"type": "string", "format": "of-our-own"}, "anything"),
    ({}, {"any": ["thing"]}),
]


@pytest.mark.parametrize(("schema", "value"), RIGHT)
def test_a_right_value_passes(schema: Obj, value: Any) -> None:
    assert list(validate(value, schema, "x")) == []


FORMATS = [
    ("date-time", "2026-01-02T03:04:05Z", "2026-01-02"),
    ("date-time", "2026-01-02T03:04:05.123+01:00", "2026-01-02T03:04:05"),
    ("date", "2026-01-02", "2026-13-02"),
    ("byte", "YQ==", "a!"),
    ("cidr", "10.0.0.0/8", "10.0.0.0"),
    ("cidr", "fd00::1/64", "10.0.0.0/99"),
    ("ipv4", "10.0.0.1", "fd00::1"),
    ("ipv6", "fd00::1", "10.0.0.1"),
    ("mac", "02:00:00:aa:BB:cc", "02:00:00:aa:bb"),
    ("uuid", "6b1f4f9c-0000-4000-8000-000000000000", "6b1f"),
    ("duration", "1h30m", "soon"),
    ("hostname", "a.example", "-a"),
    ("uri", "https://x/y", "no uri"),
]


@pytest.mark.parametrize(("name", "good", "bad"), FORMATS)
def test_a_format_tells_good_from_bad(name: str, good: str, bad: str) -> None:
    schema = {"type": "string", "format": name}
    assert list(validate(good, schema, "x")) == []
    assert f"must be of type {name}" in next(validate(bad, schema, "x")).message
