"""Printed cells: ages, types, the plain kinds' own columns."""

import datetime as dt

import pytest

from coordinator.api.columns import age, duration, path_cell
from coordinator.api.objects import parse_time, timestamp

SPANS = [
    (-5, "<invalid>"),
    (-1, "0s"),
    (0, "0s"),
    (119, "119s"),
    (120, "2m"),
    (121, "2m1s"),
    (599, "9m59s"),
    (600, "10m"),
    (10_799, "179m"),
    (10_800, "3h"),
    (25_260, "7h1m"),
    (169_200, "47h"),
    (176_400, "2d1h"),
    (777_600, "9d"),
    (365 * 86_400, "365d"),
    (800 * 86_400, "2y70d"),
    (3_000 * 86_400, "8y"),
]


@pytest.mark.parametrize(("seconds", "text"), SPANS)
def test_a_span_is_printed_as_kubectl_prints_it(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_an_age_is_counted_from_a_timestamp() -> None:
    at = dt.datetime(2026, 1, 1, 0, 10, tzinfo=dt.UTC)
    assert age("2026-01-01T00:00:00Z", at) == "10m"
    assert age(None, at) == "<unknown>"
    assert age("soon", at) == "<unknown>"


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        ("string", "x", "x"),
        ("string", 5, "5"),
        ("string", True, "true"),
        ("integer", 5, 5),
        ("integer", "5", None),
        ("integer", True, None),
        ("number", 2, 2.0),
        ("boolean", False, False),
        ("boolean", "no", None),
        ("date", None, None),
    ],
)
def test_a_cell_fits_its_column(kind: str, value: object, cell: object) -> None:
    assert path_cell(".v", kind)({"v": value}) == cell
    assert path_cell(".v", kind)({}) is None


def test_timestamps_survive_the_round() -> None:
    moment = dt.datetime(2026, 3, 4, 5, 6, 7, 999, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert timestamp(moment) == "2026-03-04T03:06:07Z"
    assert parse_time(timestamp(moment)) == moment.replace(microsecond=0)
    assert parse_time("2026-03-04T05:06:07") == dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
