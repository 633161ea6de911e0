"""Structural schema validation, with the sentences of a Kubernetes API server.

Source of the texts: kube-openapi's validate package and apimachinery's field errors.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from coordinator.api.errors import Cause, CauseType
from coordinator.api.formats import FORMATS
from coordinator.api.objects import Obj, encode
from coordinator.api.structure import item_key, property_schema


def show(value: Any) -> str:
    """A value as it stands in messages."""
    return encode(value).decode()


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    names = {dict: "object", list: "array", str: "string", float: "number", type(None): "null"}
    return names[type(value)]


@lru_cache(maxsize=1024)
def pattern(text: str) -> re.Pattern[str]:
    """A schema's pattern; ``$`` means the very end, as in Go."""
    return re.compile(text[:-1] + r"\Z" if text.endswith("$") and not text.endswith(r"\$") else text)


def _invalid(path: str, value: Any, why: str) -> Cause:
    return Cause(CauseType.INVALID, path, f"Invalid value: {show(value)}: {why}")


def validate(value: Any, schema: Obj, path: str = "") -> Iterator[Cause]:
    """What is wrong with a value, field by field; nothing when it is right.

    Args:
        value: JSON value.
        schema: structural schema; an empty one accepts everything.
        path: where the value stands, such as ``spec.nics[0]``.
    """
    if value is None and schema.get("nullable"):
        return
    wrong = _wrong_type(value, schema, path)
    if wrong:
        yield wrong
        return
    yield from _enum(value, schema, path)
    if isinstance(value, str):
        yield from _string(value, schema, path)
    elif isinstance(value, dict):
        yield from _object(value, schema, path)
    elif isinstance(value, list):
        yield from _array(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, schema, path)
    yield from _junctors(value, schema, path)


def _wrong_type(value: Any, schema: Obj, path: str) -> Cause | None:
    found = _type(value)
    if schema.get("x-kubernetes-int-or-string"):
        fits, wanted = found in {"integer", "string"}, "integer,string"
    else:
        wanted = schema.get("type", "")
        fits = not wanted or found == wanted or (found == "integer" and wanted == "number")
    if fits:
        return None
    return Cause(CauseType.TYPE, path, f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"')


def _enum(value: Any, schema: Obj, path: str) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if allowed is not None and value not in allowed:
        listed = ", ".join(show(each) for each in allowed)
        yield Cause(CauseType.NOT_SUPPORTED, path, f"Unsupported value: {show(value)}: supported values: {listed}")


def _string(value: str, schema: Obj, path: str) -> Iterator[Cause]:
    longest, shortest = schema.get("maxLength"), schema.get("minLength")
    if longest is not None and len(value) > longest:
        yield Cause(CauseType.TOO_LONG, path, f"Too long: may not be more than {longest} bytes")
    if shortest is not None and len(value) < shortest:
        yield _invalid(path, value, f"{path} in body should be at least {shortest} chars long")
    wanted = schema.get("pattern")
    if wanted and not pattern(wanted).search(value):
        yield _invalid(path, value, f"{path} in body should match '{wanted}'")
    check = FORMATS.get(schema.get("format", ""))
    if check and not check(value):
        yield _invalid(path, value, f"{path} in body must be of type {schema['format']}: {show(value)}")


_WIDTHS = {"int32": 31, "int64": 63}


def _number(value: float, schema: Obj, path: str) -> Iterator[Cause]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        bound = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield _invalid(path, value, f"{path} in body should be {bound} {low}")
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        bound = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield _invalid(path, value, f"{path} in body should be {bound} {high}")
    step = schema.get("multipleOf")
    if step and value % step:
        yield _invalid(path, value, f"{path} in body should be a multiple of {step}")
    width = _WIDTHS.get(schema.get("format", ""))
    if width and not -(1 << width) <= value < 1 << width:
        yield _invalid(path, value, f"{path} in body must be of type {schema['format']}: {show(value)}")


def _object(value: Obj, schema: Obj, path: str) -> Iterator[Cause]:
    for name in schema.get("required", ()):
        if name not in value:
            yield Cause(CauseType.REQUIRED, f"{path}.{name}" if path else name, "Required value")
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if most is not None and len(value) > most:
        yield Cause(CauseType.TOO_MANY, path, f"Too many: {len(value)}: must have at most {most} items")
    if least is not None and len(value) < least:
        yield _invalid(path, len(value), f"{path} in body should have at least {least} properties")
    for name, item in value.items():
        below = property_schema(schema, name)
        if below:
            yield from validate(item, below, f"{path}.{name}" if path else name)


def _array(value: list[Any], schema: Obj, path: str) -> Iterator[Cause]:
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        yield Cause(CauseType.TOO_MANY, path, f"Too many: {len(value)}: must have at most {most} items")
    if least is not None and len(value) < least:
        yield _invalid(path, len(value), f"{path} in body should have at least {least} items")
    if isinstance(below := schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from validate(item, below, f"{path}[{index}]")
    yield from _duplicates(value, schema, path)


def _duplicates(value: list[Any], schema: Obj, path: str) -> Iterator[Cause]:
    kind, seen = schema.get("x-kubernetes-list-type"), set()
    if kind not in {"map", "set"}:
        return
    for index, item in enumerate(value):
        if kind == "map" and not isinstance(item, dict):
            continue
        key = show(item_key(item, schema) if kind == "map" else item)
        if key in seen:
            yield Cause(CauseType.DUPLICATE, f"{path}[{index}]", f"Duplicate value: {key}")
        seen.add(key)


def _junctors(value: Any, schema: Obj, path: str) -> Iterator[Cause]:
    for each in schema.get("allOf", ()):
        if causes := list(validate(value, each, path)):
            yield from causes
    if (any_of := schema.get("anyOf")) and not any(_fits(value, each, path) for each in any_of):
        yield _invalid(path, value, f'"{path}" must validate at least one schema (anyOf)')
    if one_of := schema.get("oneOf"):
        fitting = sum(_fits(value, each, path) for each in one_of)
        found = "Found none valid" if not fitting else f"Found {fitting} valid alternatives"
        if fitting != 1:
            yield _invalid(path, value, f'"{path}" must validate one and only one schema (oneOf). {found}')
    if (refused := schema.get("not")) is not None and _fits(value, refused, path):
        yield _invalid(path, value, f'"{path}" must not validate the schema (not)')


def _fits(value: Any, schema: Obj, path: str) -> bool:
    return next(validate(value, schema, path), None) is None
