"""The table of reasons is complete, and an error is told in one way."""

import ast
import sys
from pathlib import Path

import grpc
import pytest

import proto.reasons
from proto.errors import DpuError
from proto.reasons import WIRE, Reason

RETRIED_BY_CALLERS = {"UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED"}


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_code_on_every_wire(reason: Reason) -> None:
    wire = WIRE[reason]
    assert wire.grpc in grpc.StatusCode.__members__
    assert 400 <= wire.http < 600
    assert wire.cni < 100 or 100 < wire.cni < 200
    assert reason.value[0].isupper()


def test_no_reason_is_missing_and_none_too_many() -> None:
    assert set(WIRE) == set(Reason)
    assert len({reason.value for reason in Reason}) == len(Reason)


def test_codes_of_our_own_on_the_cni_wire_are_not_shared() -> None:
    own = [wire.cni for wire in WIRE.values() if wire.cni >= 100]
    assert len(own) == len(set(own))


@pytest.mark.parametrize("reason", list(Reason))
def test_what_grpc_callers_repeat_by_themselves_may_be_repeated(reason: Reason) -> None:
    if WIRE[reason].grpc in RETRIED_BY_CALLERS:
        assert WIRE[reason].retry


def test_an_error_says_field_message_and_remedy() -> None:
    error = DpuError(Reason.INVALID, "7 is odd", field="spec.size", remedy="use an even one")
    assert str(error) == "spec.size: 7 is odd (use an even one)"
    assert str(DpuError(Reason.INTERNAL, "broken")) == "broken"


def test_an_error_can_know_better_than_the_table_whether_to_repeat() -> None:
    assert not DpuError(Reason.WRONG_STATE, "x").retry
    assert DpuError(Reason.WRONG_STATE, "x", retry=True).retry


def test_the_table_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(str(proto.reasons.__file__)).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {str(name).split(".")[0] for name in imported} <= sys.stdlib_module_names
