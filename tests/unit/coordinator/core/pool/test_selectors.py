"""Selectors match as Kubernetes' do."""

from typing import Any

import pytest

from coordinator.core.pool.selectors import NodeTerm, parse_node_terms, parse_selector
from proto.errors import DpuError

LABELS = {"app": "web", "tier": "2"}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({}, True),
        (None, False),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        (expression("app", "In", "db", "web"), True),
        (expression("app", "NotIn", "web"), False),
        (expression("gone", "NotIn", "web"), True),
        (expression("app", "Exists"), True),
        (expression("gone", "Exists"), False),
        (expression("gone", "DoesNotExist"), True),
        (expression("app", "DoesNotExist"), False),
    ],
)
def test_label_selectors(selector: dict[str, Any] | None, matches: bool) -> None:
    assert parse_selector(selector, "selector").matches(LABELS) is matches


@pytest.mark.parametrize(
    ("operator", "value", "matches"), [("Gt", "1", True), ("Gt", "2", False), ("Lt", "3", True), ("Lt", "2", False)]
)
def test_node_terms_compare_numbers(operator: str, value: str, matches: bool) -> None:
    (term,) = parse_node_terms([expression("tier", operator, value)], "terms")
    assert term.matches(LABELS, "n1") is matches
    assert not term.matches({"tier": "many"}, "n1")


def test_node_terms_may_name_the_node() -> None:
    fields = [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]
    (term,) = parse_node_terms([{"matchFields": fields}], "terms")
    assert term.matches({}, "n1")
    assert not term.matches({}, "n2")
    assert not NodeTerm().matches(LABELS, "n1")


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"operator": "In", "values": ["a"]}, "s.matchExpressions[0].key"),
        ({"key": "a", "operator": "Like", "values": ["a"]}, "s.matchExpressions[0].operator"),
        ({"key": "a", "operator": "In"}, "s.matchExpressions[0].values"),
        ({"key": "a", "operator": "Exists", "values": ["x"]}, "s.matchExpressions[0].values"),
        ({"key": "a", "operator": "Gt", "values": ["x"]}, "s.matchExpressions[0].values"),
    ],
)
def test_malformed_expressions_are_refused_by_field(item: dict[str, Any], field: str) -> None:
    with pytest.raises(DpuError) as refused:
        parse_selector({"matchExpressions": [item]}, "s")
    assert refused.value.field == field
    assert refused.value.remedy
