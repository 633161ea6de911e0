"""The part of Kubernetes' JSONPath that printed columns use.

Fields, ``['quoted fields']``, indexes (also negative), slices, ``[*]`` and filters such as
``[?(@.type=="Ready")]`` with ``== != < <= > >=`` or bare existence.
"""

import operator
import re
from collections.abc import Callable
from typing import Any

Step = Callable[[list[Any]], list[Any]]

_FIELD = re.compile(r"\.?(?P<name>[A-Za-z0-9_$](?:[-A-Za-z0-9_/$]|\\.)*|\*)")
_QUOTED = re.compile(r"\[\s*'(?P<name>(?:[^'\\]|\\.)*)'\s*\]|\[\s*\"(?P<other>(?:[^\"\\]|\\.)*)\"\s*\]")
_INDEX = re.compile(r"\[\s*(?P<index>-?\d+)\s*\]")
_SLICE = re.compile(r"\[\s*(?P<low>-?\d+)?\s*:\s*(?P<high>-?\d+)?\s*\]")
_ALL = re.compile(r"\[\s*\*\s*\]")
_FILTER = re.compile(
    r"\[\?\(\s*@(?P<path>[^=!<>)\s]*)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>\"[^\"]*\"|'[^']*'|[^)\s]+)\s*)?\)\]"
)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _field(name: str) -> Step:
    plain = re.sub(r"\\(.)", r"\1", name)

    def step(values: list[Any]) -> list[Any]:
        if name == "*":
            return _every(values)
        return [value[plain] for value in values if isinstance(value, dict) and plain in value]

    return step


def _every(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if isinstance(value, dict):
            found += value.values()
        elif isinstance(value, list):
            found += value
    return found


def _at(index: int) -> Step:
    def step(values: list[Any]) -> list[Any]:
        return [value[index] for value in values if isinstance(value, list) and -len(value) <= index < len(value)]

    return step


def _between(low: str | None, high: str | None) -> Step:
    part = slice(int(low) if low else None, int(high) if high else None)

    def step(values: list[Any]) -> list[Any]:
        return [item for value in values if isinstance(value, list) for item in value[part]]

    return step


def _literal(text: str) -> Any:
    if text[:1] in {'"', "'"}:
        return text[1:-1]
    if text in {"true", "false"}:
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _where(path: str, op: str | None, literal: str | None) -> Step:
    look = compile_path(path)
    compare = _OPERATORS[op] if op else None
    wanted = _literal(literal or "")

    def fits(item: Any) -> bool:
        found = look(item)
        if compare is None:
            return bool(found)
        try:
            return any(compare(value, wanted) for value in found)
        except TypeError:
            return False

    def step(values: list[Any]) -> list[Any]:
        return [item for value in values if isinstance(value, list) for item in value if fits(item)]

    return step


def _next_step(text: str) -> tuple[Step, int]:
    if match := _FILTER.match(text):
        return _where(match["path"], match["op"], match["value"]), match.end()
    if match := _QUOTED.match(text):
        return _field(match["name"] or match["other"] or ""), match.end()
    if match := _INDEX.match(text):
        return _at(int(match["index"])), match.end()
    if match := _SLICE.match(text):
        return _between(match["low"], match["high"]), match.end()
    if match := _ALL.match(text):
        return _every, match.end()
    if match := _FIELD.match(text):
        return _field(match["name"]), match.end()
    raise ValueError(f"not a JSONPath that printed columns may use: {text!r}")


def compile_path(text: str) -> Callable[[Any], list[Any]]:
    """A function from a value to all that the path finds in it.

    Raises:
        ValueError: the path uses more than is understood.
    """
    steps: list[Step] = []
    rest = text.strip().removeprefix("$")
    if rest.startswith("{") and rest.endswith("}"):
        rest = rest[1:-1]
    while rest and rest != ".":
        step, length = _next_step(rest)
        steps.append(step)
        rest = rest[length:]

    def find(value: Any) -> list[Any]:
        values = [value]
        for step in steps:
            values = step(values)
        return values

    return find
