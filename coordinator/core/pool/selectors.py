"""Label selectors and node selectors, parsed once and matched many times."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from coordinator.core.pool.fields import items, text, text_map, texts
from proto.errors import DpuError
from proto.reasons import Reason

_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


class Operator(Enum):
    """How a requirement compares a label with its values."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels satisfy the condition.

        Source: k8s.io/apimachinery labels.Requirement: an absent label satisfies NotIn and DoesNotExist.
        """
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
            case Operator.GREATER | Operator.LESS:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        if value is None or not _WHOLE.fullmatch(value):
            return False
        left, right = int(value), int(self.values[0])
        return left > right if self.operator is Operator.GREATER else left < right

    def __str__(self) -> str:
        return f"{self.key} {self.operator.value} {','.join(self.values)}".rstrip()


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector: every requirement must hold; the empty one matches everything, ``nothing`` none."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return not self.nothing and all(requirement.matches(labels) for requirement in self.requirements)


NOTHING = Selector(nothing=True)


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """One alternative of a node affinity: conditions on labels and on the node's name."""

    labels: tuple[Requirement, ...] = ()
    names: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str], name: str) -> bool:
        """Whether a node satisfies the term; an empty term matches no node, as in the scheduler."""
        if not self.labels and not self.names:
            return False
        held = {"metadata.name": name}
        return all(r.matches(labels) for r in self.labels) and all(r.matches(held) for r in self.names)


def parse_selector(value: Mapping[str, Any] | None, field: str) -> Selector:
    """A ``metav1.LabelSelector``; absent selects nothing, empty selects all.

    Raises:
        DpuError: INVALID when an operator is unknown or its values do not suit it.
    """
    if value is None:
        return NOTHING
    fixed = [Requirement(k, Operator.IN, (v,)) for k, v in sorted(text_map(value, "matchLabels", field).items())]
    listed = items(value, "matchExpressions", field)
    parsed = [parse_requirement(item, f"{field}.matchExpressions[{at}]") for at, item in enumerate(listed)]
    return Selector(tuple(fixed + sorted(parsed, key=str)))


def parse_requirement(item: Mapping[str, Any], field: str) -> Requirement:
    """One match expression of a label selector or of a node selector.

    Raises:
        DpuError: INVALID when the operator is unknown or its values do not suit it.
    """
    key, named = text(item, "key", field), text(item, "operator", field)
    if not key:
        raise DpuError(Reason.INVALID, "the key is missing", field=f"{field}.key", remedy="name a label")
    try:
        operator = Operator(named)
    except ValueError:
        allowed = ", ".join(known.value for known in Operator)
        message = f"operator {named!r} is unknown"
        raise DpuError(Reason.INVALID, message, field=f"{field}.operator", remedy=f"use one of {allowed}") from None
    values = tuple(sorted(texts(item, "values", field)))
    _check_values(operator, values, f"{field}.values")
    return Requirement(key, operator, values)


def _check_values(operator: Operator, values: tuple[str, ...], field: str) -> None:
    if operator in {Operator.IN, Operator.NOT_IN} and not values:
        raise DpuError(Reason.INVALID, f"{operator.value} needs values", field=field, remedy="list at least one value")
    if operator in {Operator.EXISTS, Operator.DOES_NOT_EXIST} and values:
        raise DpuError(Reason.INVALID, f"{operator.value} takes no values", field=field, remedy="remove the values")
    if operator in {Operator.GREATER, Operator.LESS} and (len(values) != 1 or not _WHOLE.fullmatch(values[0])):
        raise DpuError(
            Reason.INVALID, f"{operator.value} needs one whole number", field=field, remedy="give one number"
        )


def parse_node_terms(terms: Sequence[Mapping[str, Any]], field: str) -> tuple[NodeTerm, ...]:
    """The alternatives of a required node affinity (one of them must match)."""
    return tuple(
        NodeTerm(
            tuple(_expressions(term, "matchExpressions", f"{field}[{at}]")),
            tuple(_expressions(term, "matchFields", f"{field}[{at}]")),
        )
        for at, term in enumerate(terms)
    )


def _expressions(term: Mapping[str, Any], name: str, field: str) -> list[Requirement]:
    return [parse_requirement(item, f"{field}.{name}[{at}]") for at, item in enumerate(items(term, name, field))]
