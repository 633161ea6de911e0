from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bmctl import kinds
from bmctl.columns import Columns
from bmctl.exits import EXIT_OF, Exit
from bmctl.goals import ready
from bmctl.objects import dig, instant
from bmctl.phases import BAR_CELLS, bar
from bmctl.status_reply import refusal
from bmctl.units import age, duration, size
from coordinator.endpoints.replies import status_of
from proto.errors import DpuError
from proto.reasons import Reason

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1 << 20, "1 MiB"), (1536 << 20, "1.5 GiB"), (2 << 40, "2 TiB")]
)
def test_bytes_are_shown_in_the_largest_unit_that_fits(value: int, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (90, "90s"), (600, "10m"), (7200, "2h"), (11400, "3h10m"), (187200, "2d4h"), (1728000, "20d")],
)
def test_ages_read_as_with_kubectl(seconds: int, text: str) -> None:
    assert age(NOON - timedelta(seconds=seconds), NOON) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.041, "0.04 s"), (32.46, "32.5 s"), (125, "2 min 5 s")])
def test_durations_have_the_precision_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0.001, 1e6), st.floats(0.001, 1e6))
def test_a_bar_is_never_empty_and_never_longer_than_its_place(one: float, other: float) -> None:
    largest = max(one, other)
    assert 1 <= cell_len(bar(one, largest)) <= BAR_CELLS


@given(st.lists(st.tuples(st.text("abcö漢", max_size=9), st.text("xyz ", max_size=9)), min_size=1))
def test_every_column_starts_at_one_place(rows: list[tuple[str, str]]) -> None:
    lines = Columns(["One", "Two"]).lines(rows)
    starts = {cell_len(line.plain) - cell_len(cell) for line, (_, cell) in zip(lines[1:], rows, strict=True)}
    assert len(starts) == 1


def test_every_reason_has_an_exit_status_that_is_a_failure() -> None:
    assert set(EXIT_OF) == set(Reason)
    assert Exit.OK not in EXIT_OF.values()
    assert Exit.USAGE not in EXIT_OF.values()


@pytest.mark.parametrize("reason", list(Reason))
def test_an_error_of_bm_api_keeps_its_exit_status_field_and_remedy_on_the_way(reason: Reason) -> None:
    sent = DpuError(reason, "it is so", field="spec.x", remedy="do y")
    status = status_of(sent)
    found = refusal(status, status["code"])
    assert EXIT_OF[found.reason] is EXIT_OF[reason]
    assert (found.field, found.remedy) == ("spec.x", "do y")


@pytest.mark.parametrize(
    ("reason", "code", "status"),
    [
        ("NotFound", 404, Exit.NOT_FOUND),
        ("AlreadyExists", 409, Exit.CONFLICT),
        ("Conflict", 409, Exit.CONFLICT),
        ("Forbidden", 403, Exit.DENIED),
        ("Unauthorized", 401, Exit.DENIED),
        ("Invalid", 422, Exit.INVALID),
        ("BadRequest", 400, Exit.INVALID),
        ("ServiceUnavailable", 503, Exit.UNREACHABLE),
        ("Timeout", 504, Exit.TIMEOUT),
        ("SomethingNew", 418, Exit.FAILED),
    ],
)
def test_reasons_of_a_real_api_server_have_exit_statuses(reason: str, code: int, status: Exit) -> None:
    found = refusal({"kind": "Status", "reason": reason, "message": "no", "code": code}, code)
    assert EXIT_OF[found.reason] is status


def test_an_answer_that_is_no_status_is_judged_by_its_code() -> None:
    found = refusal("<html>bad gateway</html>", 502)
    assert EXIT_OF[found.reason] is Exit.UNREACHABLE
    assert "502" in found.message


def test_several_wrong_fields_are_listed_one_a_line() -> None:
    causes = [{"field": "spec.a", "message": "too small"}, {"field": "spec.b", "message": "too big"}]
    found = refusal({"kind": "Status", "reason": "Invalid", "details": {"name": "bm-01", "causes": causes}}, 422)
    assert found.message.splitlines()[1:] == ["  spec.a: too small", "  spec.b: too big"]


def test_names_of_kinds_are_unique() -> None:
    names = [name for kind in kinds.KNOWN for name in kind.names]
    assert len(names) == len(set(names))


def test_paths_follow_the_scope_of_the_kind() -> None:
    assert kinds.MACHINE.path("team", "a") == "/apis/dpupool.io/v1alpha1/namespaces/team/baremetalmachines/a"
    assert kinds.MACHINE.path() == "/apis/dpupool.io/v1alpha1/baremetalmachines"
    assert kinds.HOST.path("team", "a") == "/apis/dpupool.io/v1alpha1/baremetalhosts/a"
    assert kinds.EVENT.path("team") == "/api/v1/namespaces/team/events"


def test_kinds_without_a_state_are_not_waited_for() -> None:
    obj = {"metadata": {"name": "x"}}
    assert ready(kinds.SUBNET, obj) is None
    image = ready(kinds.IMAGE, obj)
    assert image is not None
    assert image.reached({"status": {"phase": "Ready"}})
    assert not image.reached({"status": {"phase": "Pending"}})


def test_values_are_found_by_path_or_not_at_all() -> None:
    assert dig({"a": {"b": 1}}, "a.b") == 1
    assert dig({"a": [1]}, "a.b", "none") == "none"
    assert dig(None, "a") is None


def test_times_are_read_with_their_zone() -> None:
    assert instant("2026-01-01T12:00:00Z") == NOON
    assert instant("2026-01-01T12:00:00") == NOON
    assert instant("yesterday at Ten") is None
    assert instant(None) is None
