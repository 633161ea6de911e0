"""The copy of the database against a model that makes the diffs as ovsdb-server does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.ovsdb.replica import Replica, monitor_request
from proto.ovsdb.values import Columns, Shape, decode

COLUMNS: Columns = {
    "Port": {"name": Shape.ONE, "interfaces": Shape.SET, "tag": Shape.ONE, "external_ids": Shape.MAP},
    "Interface": {"name": Shape.ONE, "ofport": Shape.ONE, "error": Shape.ONE, "external_ids": Shape.MAP},
}

UUIDS = st.sampled_from(["u1", "u2", "u3"])
MAPS = st.dictionaries(st.sampled_from(["iface-id", "attached-mac", "x"]), st.sampled_from(["a", "b"]))
SETS = st.frozensets(st.sampled_from(["p1", "p2", "p3"]))
ONES = st.none() | st.integers(0, 5)
PORT_ROWS = st.fixed_dictionaries({"external_ids": MAPS, "interfaces": SETS, "tag": ONES})
HISTORIES = st.lists(st.dictionaries(UUIDS, PORT_ROWS, max_size=3), min_size=1, max_size=5)


def _wire(value: Any, shape: Shape) -> Any:
    """A value in RFC 7047's notation; one member stands alone or in a set, as servers do both."""
    if shape is Shape.MAP:
        return ["map", [[key, item] for key, item in value.items()]]
    if shape is Shape.SET:
        members = [["uuid", item] for item in sorted(value)]
        return members[0] if len(members) == 1 else ["set", members]
    return ["set", []] if value is None else value


def _diff(old: Any, new: Any, shape: Shape) -> Any:
    if shape is Shape.MAP:
        changed = {key: item for key, item in new.items() if old.get(key) != item}
        gone = {key: item for key, item in old.items() if key not in new}
        return _wire(changed | gone, shape)
    return _wire(old ^ new if shape is Shape.SET else new, shape)


def _updates(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> dict[str, Any]:
    shapes = COLUMNS["Port"]
    rows: dict[str, Any] = {row: {"delete": None} for row in old.keys() - new.keys()}
    for row in new.keys() - old.keys():
        defaults: tuple[Any, ...] = (None, frozenset(), {})
        told = {column: _wire(value, shapes[column]) for column, value in new[row].items() if value not in defaults}
        rows[row] = {"insert": told}
    for row in new.keys() & old.keys():
        changed = {column for column in new[row] if new[row][column] != old[row][column]}
        if changed:
            rows[row] = {"modify": {c: _diff(old[row][c], new[row][c], shapes[c]) for c in changed}}
    return {"Port": rows}


@given(HISTORIES)
def test_any_history_of_diffs_ends_in_the_database_itself(history: list[dict[str, dict[str, Any]]]) -> None:
    replica = Replica(COLUMNS)
    before: dict[str, dict[str, Any]] = {}
    for state in history:
        replica.apply(_updates(before, state))
        before = state
        seen = {
            row: {c: values[c] for c in ("external_ids", "interfaces", "tag")}
            for row, values in replica.rows("Port").items()
        }
        assert seen == state


def test_columns_left_out_of_an_insert_have_their_defaults() -> None:
    replica = Replica(COLUMNS)
    replica.apply({"Interface": {"u1": {"initial": {"name": "eth0"}}}})
    row = replica.rows("Interface")["u1"]
    assert (row["name"], row["ofport"], row["error"], row["external_ids"]) == ("eth0", None, None, {})


@pytest.mark.parametrize(
    ("value", "shape", "wanted"),
    [
        (["set", []], Shape.ONE, None),
        (["set", [5]], Shape.ONE, 5),
        (["uuid", "u1"], Shape.SET, {"u1"}),
        (["set", [["uuid", "u1"], ["uuid", "u2"]]], Shape.SET, {"u1", "u2"}),
        (["map", []], Shape.MAP, {}),
    ],
)
def test_values_are_read_as_rfc_7047_writes_them(value: Any, shape: Shape, wanted: Any) -> None:
    assert decode(value, shape) == wanted


@pytest.mark.parametrize(
    "updates",
    [
        {"Port": {"unknown": {"delete": None}}},
        {"Port": {"unknown": {"modify": {"tag": 5}}}},
        {"Nothing": {"u1": {"insert": {}}}},
    ],
)
def test_an_update_that_does_not_fit_is_refused(updates: Any) -> None:
    with pytest.raises(KeyError):
        Replica(COLUMNS).apply(updates)


def test_only_what_is_read_is_monitored() -> None:
    columns = ["name", "ofport", "error", "external_ids"]
    assert monitor_request(COLUMNS)["Interface"] == [{"columns": columns}]
