"""Any wish and any database: the difference, committed, is the wish; the next one is empty; others' rows stay."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.net import edits
from coordinator.core.net.rows import Ref, Row, Table, ref
from coordinator.core.net.schema import EXTERNAL_IDS, KEY, SHAPES, STRONG, unwritten
from coordinator.core.net.seen import Seen
from coordinator.core.net.store import Owner, RowStore
from proto.ovsdb.values import Shape
from tests.fakes.northbound import ModelDatabase, changes, difference

KEYS = ("a", "b", "c")
TABLES = tuple(SHAPES)
TEXTS = st.sampled_from(["", "x", "y"])
OWNERS: list[Owner] = [("port", "one"), ("port", "two"), ("subnet", "net")]


def _refs(table: str) -> st.SearchStrategy[Any]:
    return st.frozensets(st.sampled_from([Ref(table, key) for key in KEYS]), max_size=3)


@st.composite
def _row(draw: st.DrawFn, table: str, key: str, *, plain: bool) -> Row:
    """A row that somebody wants; what holds one value depends on the key alone, so that owners agree."""
    values: dict[str, Any] = {}
    for name, column in SHAPES[table].columns.items():
        if name == SHAPES[table].label:
            values[name] = f"{table}.{draw(st.sampled_from([key, 'shared']))}" if plain else f"{table}.{key}"
        elif not draw(st.booleans()):
            continue
        elif column.shape is Shape.SET:
            values[name] = draw(_refs(column.target) if column.target else st.frozensets(TEXTS, max_size=3))
        elif column.shape is Shape.MAP:
            values[name] = draw(st.dictionaries(st.sampled_from(["p", "q"]), TEXTS.filter(bool), max_size=2))
        elif column.target and plain:
            values[name] = Ref(column.target, draw(st.sampled_from(KEYS)))
        elif plain and isinstance(column.default, str | None):
            values[name] = draw(TEXTS)
    return Row(Table(table), key, values)


@st.composite
def _wish(draw: st.DrawFn) -> dict[Owner, list[Row]]:
    given_rows: dict[Owner, list[Row]] = {}
    for owner in OWNERS:
        picked = draw(st.lists(st.tuples(st.sampled_from(TABLES), st.sampled_from(KEYS)), unique=True, max_size=8))
        plain = owner == OWNERS[0]
        given_rows[owner] = [draw(_row(table, key, plain=plain)) for table, key in picked]
    return given_rows


@st.composite
def _database(draw: st.DrawFn) -> ModelDatabase:
    """Rows of ours, several of one key, and others', that hold each other alive in any way."""
    model = ModelDatabase()
    made: dict[str, list[str]] = {table: [] for table in TABLES}
    for _ in range(draw(st.integers(0, 12))):
        table = draw(st.sampled_from(TABLES))
        marks: dict[str, str] = draw(st.sampled_from([{}, {"other": "1"}, *({KEY: key, "o": "1"} for key in KEYS)]))
        columns: dict[str, Any] = {EXTERNAL_IDS: marks}
        if SHAPES[table].named:
            number = draw(st.integers(0, 3))
            label = SHAPES[table].label
            columns[label] = f"{table}.{(*KEYS, 'shared')[number]}"
            if any(row[label] == columns[label] for row in model.rows[table].values()):
                columns[label] = f"{table}.{len(made[table])}"
        if SHAPES[table].emptied:
            columns[SHAPES[table].emptied] = draw(st.dictionaries(st.sampled_from(["p", "q"]), TEXTS, max_size=2))
        made[table].append(model.put(table, **columns))
    for table, identities in made.items():
        for name, column in SHAPES[table].columns.items():
            for identity in identities if column.target and column.shape is Shape.SET else ():
                members = made[column.target]
                chosen = draw(st.frozensets(st.sampled_from(members))) if members else frozenset()
                model.rows[table][identity][name] = chosen
    model.settle()
    return model


def _seen(model: ModelDatabase) -> Seen:
    seen = Seen()
    seen.take(changes({table: {} for table in TABLES}, model.rows))
    return seen


def _store(wish: dict[Owner, list[Row]]) -> RowStore:
    store = RowStore()
    for owner, rows in wish.items():
        try:
            store.replace(owner, rows)
        except ValueError:
            continue
    return store


def _all(store: RowStore, seen: Seen) -> set[Ref]:
    return {*store, *seen.ours()}


def _foreign(model: ModelDatabase) -> dict[str, Any]:
    return {
        one: {name: value for name, value in row.items() if not SHAPES[table].columns.get(name, _NONE).target}
        for table, rows in model.rows.items()
        for one, row in rows.items()
        if KEY not in row[EXTERNAL_IDS]
    }


class _NONE:
    target = ""


@settings(max_examples=150, deadline=None)
@given(_wish(), _database())
def test_the_difference_makes_any_database_as_it_is_wanted_and_the_next_one_is_empty(
    wish: dict[Owner, list[Row]], model: ModelDatabase
) -> None:
    store, seen = _store(wish), _seen(model)
    foreign = _foreign(model)
    found = difference(_all(store, seen), store, seen)
    seen.take(model.transact(copy.deepcopy(found.operations)))
    again = difference(_all(store, seen), store, seen)
    seen.take(model.transact(again.operations))
    _expect(store, model, seen)
    last = difference(_all(store, seen), store, seen)
    assert last.operations == ()
    for one, row in _foreign(model).items():
        assert foreign[one] == row
    roots = {one for table, rows in model.rows.items() for one in rows if SHAPES[table].root}
    assert {one for one in foreign if one in roots} == {one for one in _foreign(model) if one in roots}


@settings(max_examples=100, deadline=None)
@given(_wish(), _database())
def test_row_by_row_it_comes_to_the_same(wish: dict[Owner, list[Row]], model: ModelDatabase) -> None:
    store, seen = _store(wish), _seen(model)
    for _ in range(3):  # a name that another row of ours gives up is free in the next turn
        for row in sorted(_all(store, seen)):
            seen.take(model.transact(difference([row], store, seen, alone=True).operations))
    assert difference(_all(store, seen), store, seen).operations == ()


def _expect(store: RowStore, model: ModelDatabase, seen: Seen) -> None:
    refused = difference(_all(store, seen), store, seen).refused
    for table, rows in model.rows.items():
        ours = [row[EXTERNAL_IDS][KEY] for row in rows.values() if KEY in row[EXTERNAL_IDS]]
        assert len(ours) == len(set(ours))
        assert all(store.get(Ref(table, key)) is not None for key in ours)
    for wanted in store:
        row = store.get(wanted)
        assert row is not None
        there = seen.of(wanted)
        if not there:
            assert wanted in refused or not _would_live(store, wanted, refused)
            continue
        _expect_row(row, model.rows[wanted.table][there[0]], seen, refused=wanted in refused)


def _would_live(store: RowStore, wanted: Ref, refused: Any) -> bool:
    if wanted in refused or store.get(wanted) is None:
        return False
    if SHAPES[wanted.table].root:
        return True
    parents = (
        parent
        for parent in store.mentioned_by(wanted)
        if wanted in edits.targets(store.get(parent) or Row(Table(parent.table), ""), STRONG[parent.table])
    )
    return any(_would_live(store, parent, refused) for parent in parents)


def _expect_row(row: Row, have: dict[str, Any], seen: Seen, *, refused: bool) -> None:
    for name, column in SHAPES[row.table.value].columns.items():
        want = row.columns.get(name, column.default)
        if name == EXTERNAL_IDS or (refused and name == SHAPES[row.table.value].label):
            continue
        if isinstance(want, Ref):
            assert have[name] == next(iter(seen.of(want)), None)
        elif column.target and column.shape is Shape.SET:
            ours = {key for one in have[name] if (key := seen.key_of(column.target, one))}
            assert ours == {one for one in edits.targets(row, [name]) if seen.has(one)}
        else:
            assert have[name] == want or (unwritten(have[name], column) and unwritten(want, column))


@settings(max_examples=100, deadline=None)
@given(_wish(), _database())
def test_nothing_is_taken_away_while_somebody_has_not_spoken(
    wish: dict[Owner, list[Row]], model: ModelDatabase
) -> None:
    store, seen = _store(wish), _seen(model)
    keys = set(seen.ours())
    found = difference(_all(store, seen), store, seen, keep_unwanted=True)
    deleted = [one for one in found.operations if one["op"] == "delete"]
    keys_of_deleted = [seen.key_of(one["table"], one["where"][0][2][1]) for one in deleted]
    assert all(key is not None and key in store for key in keys_of_deleted)
    seen.take(model.transact(found.operations))
    assert {one for one in keys if SHAPES[one.table].root} <= set(seen.ours())


@settings(max_examples=150, deadline=None)
@given(_wish(), _wish(), st.randoms(use_true_random=False))
def test_small_steps_come_to_the_same_database_as_one_comparison(
    first: dict[Owner, list[Row]], second: dict[Owner, list[Row]], dice: Any
) -> None:
    store, model = RowStore(), ModelDatabase()
    seen = _seen(model)
    steps = [(owner, rows) for wish in (first, second) for owner, rows in wish.items()]
    dice.shuffle(steps)
    for owner, rows in steps:
        try:
            dirty = store.replace(owner, rows)
        except ValueError:
            continue
        touched = seen.take(model.transact(difference(dirty, store, seen).operations))
        seen.take(model.transact(difference(touched, store, seen).operations))
    rest = difference(_all(store, seen), store, seen)
    assert rest.operations == ()


def test_two_owners_share_a_set_and_one_leaves() -> None:
    store = RowStore()
    switch = ref(Table.SWITCH, "s")
    for owner, port in (("one", "p1"), ("two", "p2")):
        store.replace(("port", owner), [Row(Table.SWITCH, "s", {"ports": frozenset({ref(Table.SWITCH_PORT, port)})})])
    assert store.replace(("port", "one"), []) == {switch}
    row = store.get(switch)
    assert row is not None
    assert row.columns == {"ports": frozenset({ref(Table.SWITCH_PORT, "p2")})}
