"""Label and field selectors: parsed once, matched often."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

from coordinator.api.errors import bad_request
from coordinator.api.history import Record
from coordinator.api.objects import Obj, dig


class Operator(Enum):
    """How a label is compared."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "!"
    GREATER = ">"
    LESS = "<"


@dataclass(frozen=True)
class Requirement:
    """One term of a label selector."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether the labels meet this term."""
        value = labels.get(self.key)
        if self.operator is Operator.NOT_IN:
            return value not in self.values
        if self.operator is Operator.ABSENT:
            return value is None
        if value is None:
            return False
        if self.operator is Operator.IN:
            return value in self.values
        return self.operator is Operator.EXISTS or self._compare(value)

    def _compare(self, value: str) -> bool:
        try:
            left, right = int(value), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator is Operator.GREATER else left < right


_KEY = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_VALUE = r"[-A-Za-z0-9_.]*"
_TERMS: tuple[tuple[re.Pattern[str], Operator], ...] = (
    (re.compile(rf"\s*(?P<key>{_KEY})\s+in\s*\((?P<set>[^()]*)\)\s*(?:,|$)"), Operator.IN),
    (re.compile(rf"\s*(?P<key>{_KEY})\s+notin\s*\((?P<set>[^()]*)\)\s*(?:,|$)"), Operator.NOT_IN),
    (re.compile(rf"\s*(?P<key>{_KEY})\s*!=\s*(?P<value>{_VALUE})\s*(?:,|$)"), Operator.NOT_IN),
    (re.compile(rf"\s*(?P<key>{_KEY})\s*==?\s*(?P<value>{_VALUE})\s*(?:,|$)"), Operator.IN),
    (re.compile(rf"\s*(?P<key>{_KEY})\s*>\s*(?P<value>\d+)\s*(?:,|$)"), Operator.GREATER),
    (re.compile(rf"\s*(?P<key>{_KEY})\s*<\s*(?P<value>\d+)\s*(?:,|$)"), Operator.LESS),
    (re.compile(rf"\s*!\s*(?P<key>{_KEY})\s*(?:,|$)"), Operator.ABSENT),
    (re.compile(rf"\s*(?P<key>{_KEY})\s*(?:,|$)"), Operator.EXISTS),
)


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Terms of a label selector, equality-based and set-based.

    Raises:
        ApiError: 400, the text is not a selector.
    """
    found, rest = [], text
    while rest.strip():
        requirement, length = _next_term(rest, text)
        found.append(requirement)
        rest = rest[length:]
    return tuple(found)


def _next_term(rest: str, text: str) -> tuple[Requirement, int]:
    for pattern, operator in _TERMS:
        if match := pattern.match(rest):
            parts = match.groupdict()
            values = [part.strip() for part in parts["set"].split(",")] if "set" in parts else [parts.get("value", "")]
            return Requirement(parts["key"], operator, frozenset(values)), match.end()
    raise bad_request(f"unable to parse requirement: found {rest.strip()!r} in label selector {text!r}")


@dataclass(frozen=True)
class FieldTerm:
    """One term of a field selector."""

    path: str
    value: str
    equal: bool


def _split(text: str) -> list[str]:
    """Terms between commas that no backslash protects."""
    return [part for part in re.split(r"(?<!\\),", text) if part]


def parse_fields(text: str, selectable: Collection[str], kind: str) -> tuple[FieldTerm, ...]:
    """Terms of a field selector.

    Args:
        text: such as ``metadata.name=bm-01,reason!=Started``.
        selectable: paths allowed beyond metadata.name and metadata.namespace.
        kind: for the message.

    Raises:
        ApiError: 400, not a selector or a path that cannot be selected by.
    """
    found = []
    for term in _split(text):
        match = re.match(r"^\s*(?P<path>[^=!]+?)\s*(?P<operator>!=|==|=)\s*(?P<value>.*)$", term)
        if not match:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        path = match["path"].lstrip(".")
        if path not in {"metadata.name", "metadata.namespace", *selectable}:
            raise bad_request(f'field label not supported for {kind}: "{path}"')
        value = re.sub(r"\\([\\,=])", r"\1", match["value"])
        found.append(FieldTerm(path, value, match["operator"] != "!="))
    return tuple(found)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@dataclass(frozen=True)
class Selection:
    """Which objects a list, watch or collection delete is about."""

    namespace: str = ""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldTerm, ...] = ()
    shown: Callable[[Obj], Obj] | None = None

    def matches(self, record: Record) -> bool:
        """Whether the object is selected."""
        if self.namespace and record.key.namespace != self.namespace:
            return False
        if not all(term.matches(record.labels) for term in self.labels):
            return False
        return not self.fields or self._fields_match(record)

    def _fields_match(self, record: Record) -> bool:
        obj: Obj | None = None
        for term in self.fields:
            if term.path == "metadata.name":
                value = record.key.name
            elif term.path == "metadata.namespace":
                value = record.key.namespace
            else:
                if obj is None:
                    obj = self.shown(record.obj()) if self.shown else record.obj()
                value = _text(dig(obj, *term.path.split(".")))
            if (value == term.value) != term.equal:
                return False
        return True
