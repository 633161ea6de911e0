"""Merging and owning: laws that hold for any object and any configuration."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coordinator.api import managed
from coordinator.api.apply import apply
from coordinator.api.managed import Manager, Operation, Owners
from coordinator.api.objects import Obj, copy
from coordinator.api.patch import json_patch, merge_patch
from coordinator.api.structure import flatten, lookup, merge, remove

SCHEMA: Obj = {
    "properties": {
        "spec": {
            "properties": {
                "parts": {
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"properties": {"name": {"type": "string"}}},
                },
                "tags": {"x-kubernetes-list-type": "set"},
                "whole": {"x-kubernetes-map-type": "atomic"},
            }
        }
    }
}
TIME = "2026-01-01T00:00:00Z"
names = st.sampled_from(["a", "b", "c", "d"])
scalars = st.one_of(st.integers(0, 9), st.sampled_from(["x", "y"]), st.booleans())
parts = st.lists(
    st.fixed_dictionaries({"name": names}, optional={"weight": scalars, "inner": st.dictionaries(names, scalars)}),
    max_size=3,
    unique_by=lambda part: str(part["name"]),
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "color": scalars,
        "options": st.dictionaries(names, scalars),
        "parts": parts,
        "tags": st.lists(st.sampled_from(["p", "q", "r"]), unique=True, max_size=3),
        "whole": st.dictionaries(names, scalars),
        "rows": st.lists(scalars, max_size=2),
    },
)
objects = st.builds(lambda spec: {"metadata": {"name": "one"}, "spec": spec}, specs)
values = st.recursive(
    st.one_of(scalars, st.none()),
    lambda below: st.one_of(st.dictionaries(names, below, max_size=3), st.lists(below, max_size=3)),
    max_leaves=12,
)
documents = st.dictionaries(names, values, max_size=4)


def manager(name: str) -> Manager:
    return Manager(name, Operation.APPLY, "v1")


def run(live: Obj, config: Obj, owners: Owners, name: str, *, force: bool = True) -> tuple[Obj, Owners]:
    done = apply(live, config, SCHEMA, owners, manager(name), force=force, time=TIME)
    return done.obj, done.owners


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def normal(obj: Obj) -> dict[Any, Any]:
    return managed.ownable(obj, SCHEMA)


@given(objects)
def test_fields_survive_being_written_down(obj: Obj) -> None:
    fields = frozenset(flatten(obj, SCHEMA))
    assert managed.from_tree(managed.to_tree(fields)) == fields


@given(objects, objects)
def test_after_an_apply_the_object_says_what_was_applied(live: Obj, config: Obj) -> None:
    obj, owners = run(live, config, {}, "alice")
    flat, wanted = normal(obj), normal(config)
    assert {path: flat[path] for path in wanted if path in flat and wanted[path] not in ({}, [])} == {
        path: value for path, value in wanted.items() if value not in ({}, [])
    }
    assert owners[manager("alice")].fields == frozenset(wanted)


@given(objects, objects)
def test_applying_twice_is_applying_once(live: Obj, config: Obj) -> None:
    once, owners = run(live, config, {}, "alice")
    twice, again = run(once, config, owners, "alice", force=False)
    assert twice == once
    assert managed.same(owners, again)


@given(objects, objects)
def test_the_inputs_of_an_apply_are_left_alone(live: Obj, config: Obj) -> None:
    before = copy(live), copy(config)
    run(live, config, {}, "alice")
    assert (live, config) == before


@given(objects, objects)
def test_a_sole_owner_that_changes_its_mind_leaves_nothing_behind(first: Obj, second: Obj) -> None:
    obj, owners = run({}, first, {}, "alice")
    obj, owners = run(obj, second, owners, "alice", force=False)
    left = {path for path, value in normal(obj).items() if value not in ({}, [])}
    assert left <= set(normal(second))


@given(objects, objects)
def test_what_the_other_manager_says_survives(mine: Obj, theirs: Obj) -> None:
    obj, owners = run({}, theirs, {}, "bob")
    obj, owners = run(obj, mine, owners, "alice")
    obj, owners = run(obj, {"metadata": {"name": "one"}}, owners, "alice", force=False)
    kept = owners[manager("bob")].fields
    flat = normal(obj)
    assert all(path in flat or normal(theirs)[path] in ({}, []) for path in kept)


@given(objects, objects)
def test_forced_or_not_two_who_agree_never_conflict(live: Obj, config: Obj) -> None:
    obj, owners = run(live, config, {}, "alice")
    again, _ = run(obj, config, owners, "bob", force=False)
    assert again == obj


@given(objects)
def test_a_removed_path_is_gone_and_nothing_else(obj: Obj) -> None:
    paths = [path for path in flatten(obj, SCHEMA) if path[0] == "f:spec" and len(path) > 1]
    for path in paths:
        if len(path) > 1 and path[-2].startswith("k:") and path[-1] == "f:name":
            continue
        changed = copy(obj)
        remove(changed, path, SCHEMA)
        assert lookup(changed, path, SCHEMA)[0] is False
        before, after = flatten(obj, SCHEMA), flatten(changed, SCHEMA)
        assert {kept for kept in before if kept[: len(path)] != path} <= set(after) | {path[:-1]}


@given(objects, objects)
def test_merging_keeps_what_is_not_spoken_of(live: Obj, config: Obj) -> None:
    merged = merge(copy(live), copy(config), SCHEMA)
    flat, old, new = flatten(merged, SCHEMA), flatten(live, SCHEMA), flatten(config, SCHEMA)
    for path, value in old.items():
        spoken = any(
            path[:length] in new or path == other[: len(path)] for other in new for length in range(1, len(path) + 1)
        )
        assert spoken or flat[path] == value


def difference(old: Any, new: Any) -> Any:
    """A merge patch from one document to another."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    found: Obj = {name: None for name in old if name not in new}
    return found | {name: difference(old.get(name), item) for name, item in new.items() if old.get(name) != item}


@given(documents, documents)
def test_a_merge_patch_leads_where_it_should(old: Obj, new: Obj) -> None:
    target = without_nulls(new)
    assert merge_patch(without_nulls(old), difference(without_nulls(old), target)) == target


@given(documents, documents)
def test_a_merge_patch_applied_twice_is_applied_once(old: Obj, patch: Obj) -> None:
    once = merge_patch(old, patch)
    assert merge_patch(once, patch) == once


@given(documents, names, values)
def test_what_a_json_patch_adds_it_can_test_and_remove(old: Obj, name: str, value: Any) -> None:
    added = json_patch(old, [{"op": "add", "path": f"/{name}", "value": value}])
    assert added == old | {name: value}
    back = json_patch(added, [{"op": "test", "path": f"/{name}", "value": value}, {"op": "remove", "path": f"/{name}"}])
    assert back == {key: item for key, item in old.items() if key != name}
