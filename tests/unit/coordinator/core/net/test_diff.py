"""Differences of rows whose names or contents stand in the way."""

from typing import Any

from coordinator.core.net.rows import Row, Table
from coordinator.core.net.schema import EXTERNAL_IDS, KEY, SHAPES
from coordinator.core.net.seen import Seen
from coordinator.core.net.store import RowStore
from tests.fakes.northbound import ModelDatabase, changes, difference


class Database:
    """A model with what is seen of it and what is wanted."""

    def __init__(self, table: Table, *rows: dict[str, Any]) -> None:
        self.table, self.model, self.seen, self.store = table.value, ModelDatabase(), Seen(), RowStore()
        for row in rows:
            self.model.put(self.table, **{EXTERNAL_IDS: {}, **row})
        self.seen.take(changes({name: {} for name in SHAPES}, self.model.rows))

    def commit(self, *, keep_unwanted: bool = False) -> dict[Any, str]:
        """One transaction; what was refused."""
        rows = {*self.store, *self.seen.ours()}
        found = difference(rows, self.store, self.seen, keep_unwanted=keep_unwanted)
        self.seen.take(self.model.transact(found.operations))
        return {row.key: why for row, why in found.refused.items()}

    def column(self, name: str) -> list[Any]:
        return sorted((row[name] for row in self.model.rows[self.table].values()), key=str)


def _variables(chassis: str, *, ours: bool, **variables: str) -> dict[str, Any]:
    return {"chassis": chassis, "variables": variables, EXTERNAL_IDS: {KEY: chassis} if ours else {}}


def test_variables_of_a_chassis_are_taken_away_before_their_row_is() -> None:
    there = Database(Table.TEMPLATE_VARIABLES, _variables("c1", ours=True, a="b"))
    assert there.commit(keep_unwanted=True) == {}
    assert there.column("variables") == [{"a": "b"}]
    there.commit()
    assert there.column("variables") == [{}]
    there.commit()
    assert there.column("variables") == []


def test_a_row_that_was_emptied_is_filled_again() -> None:
    there = Database(Table.TEMPLATE_VARIABLES, _variables("c1", ours=True, a="b"))
    there.commit()
    there.store.replace(
        ("service", "s"), [Row(Table.TEMPLATE_VARIABLES, "c1", {"chassis": "c1", "variables": {"a": "c"}})]
    )
    there.commit()
    assert there.column("variables") == [{"a": "c"}]


def test_the_row_of_a_chassis_that_somebody_else_wrote_stays_as_it_is() -> None:
    there = Database(Table.TEMPLATE_VARIABLES, _variables("c1", ours=False, a="b"))
    there.store.replace(
        ("service", "s"), [Row(Table.TEMPLATE_VARIABLES, "c1", {"chassis": "c1", "variables": {"x": "y"}})]
    )
    refused = there.commit()
    assert "a row that is not ours has this name" in refused["c1"]
    assert there.column("variables") == [{"a": "b"}]


def test_a_row_that_does_not_get_its_name_does_not_give_up_the_one_that_it_has() -> None:
    there = Database(
        Table.ADDRESS_SET,
        {"name": "x", EXTERNAL_IDS: {KEY: "a"}},
        {"name": "A", EXTERNAL_IDS: {KEY: "b"}},
        {"name": "B"},
    )
    wanted = [Row(Table.ADDRESS_SET, key, {"name": key.upper(), "addresses": frozenset({"10.0.0.1"})}) for key in "ab"]
    there.store.replace(("group", "g"), wanted)
    refused = there.commit()
    assert set(refused) == {"a", "b"}
    assert "our row b has this name" in refused["a"]
    assert there.column("name") == ["A", "B", "x"]
    assert there.column("addresses").count(frozenset({"10.0.0.1"})) == 2
