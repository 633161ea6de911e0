"""Sizes that an external autoscaler asks for: repeated at will, never past a limit, never more than was named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.objects.meta import Json
from coordinator.core.objects.pool import Pool
from coordinator.core.pool.instances import NodeRef
from coordinator.core.pool.nodegroups import NodeGroup
from coordinator.core.pool.resizing import (
    REQUEST_ANNOTATION,
    Request,
    Resize,
    decrease,
    increase,
    last_request,
    remove,
)
from proto.errors import DpuError
from proto.reasons import Reason
from tests.unit.coordinator.core.pool.test_nodegroups import NOW, machine, pool

MAXIMUM = 6


def merged(group: NodeGroup, resize: Resize | None) -> NodeGroup:
    """The group after the write, as the API keeps it."""
    if resize is None:
        return group
    raw: Json = group.pool.json()
    raw["spec"] |= resize.patch["spec"]
    metadata = raw["metadata"]
    metadata["annotations"] = metadata.get("annotations", {}) | resize.patch["metadata"].get("annotations", {})
    metadata["generation"] = group.pool.metadata.generation + 1
    return NodeGroup(Pool.parse(raw), group.machines)


def group(alive: int, **spec: Any) -> NodeGroup:
    names = [f"m{number}" for number in range(alive)]
    return NodeGroup(pool(**{"maximum": MAXIMUM, "replicas": alive} | spec), {name: machine(name) for name in names})


wishes = st.one_of(
    st.tuples(st.just("increase"), st.integers(1, 4)),
    st.tuples(st.just("decrease"), st.integers(-4, -1)),
    st.tuples(st.just("remove"), st.frozensets(st.integers(0, 8), min_size=1, max_size=3)),
)


@given(st.integers(0, 4), st.lists(st.tuples(wishes, st.integers(1, 3)), max_size=8))
def test_a_wish_that_comes_several_times_has_the_effect_of_one(alive: int, story: list[tuple[Any, int]]) -> None:
    there = group(alive)
    for (kind, what), times in story:
        answered, before = last_request(there), there
        outcomes: list[Reason | None] = []
        for _ in range(times):
            try:
                there = merged(there, _wish(there, kind, what, answered))
            except DpuError as error:
                outcomes.append(error.reason)
            else:
                outcomes.append(None)
            assert 0 <= there.target <= MAXIMUM
        assert len(set(outcomes)) == 1
        gone = there.pool.leaving - before.pool.leaving
        change = there.target - before.target
        if outcomes[0] is not None:
            assert (change, gone) == (0, set())
        elif kind == "remove":
            assert gone <= {f"m{number}" for number in what}
            assert -change == len(gone)
        else:
            assert (change, gone) == (what, set())


def _wish(there: NodeGroup, kind: str, what: Any, answered: Request | None) -> Resize | None:
    if kind == "increase":
        return increase(there, what, answered)
    if kind == "decrease":
        return decrease(there, what, answered)
    return remove(there, [NodeRef(f"dpupool://default/m{number}") for number in sorted(what)], NOW)


def test_a_write_is_exact_to_the_version_that_was_looked_at() -> None:
    resize = increase(group(1), 2, None)
    assert resize is not None
    assert resize.patch == {
        "metadata": {"resourceVersion": "7", "annotations": {REQUEST_ANNOTATION: '{"delta":2,"after":3}'}},
        "spec": {"replicas": 3},
    }
    assert resize.why == "a: from 1 to 3 machines, as the autoscaler asked"


def test_what_others_want_gone_stays_in_the_list() -> None:
    resize = remove(group(2, removals=[{"machine": "m9", "drain": True}]), [NodeRef("dpupool://default/m1")], NOW)
    assert resize is not None
    listed = resize.patch["spec"]["removals"]
    assert [(one["machine"], one["drain"]) for one in listed] == [("m9", True), ("m1", False)]


def test_a_note_that_somebody_wrote_by_hand_is_no_request() -> None:
    noted = group(1, metadata={"annotations": {REQUEST_ANNOTATION: "hello"}})
    assert last_request(noted) is None


@pytest.mark.parametrize("named", [{3}, {1, 4}, {2, 4}])
def test_instances_without_machines_go_from_the_end_or_not_at_all(named: set[int]) -> None:
    wanting = group(1, replicas=4)
    refs = [NodeRef(wanting.slot_id(number)) for number in sorted(named)]
    with pytest.raises(DpuError, match="has changed") as caught:
        remove(wanting, refs, NOW)
    assert caught.value.reason is Reason.WRONG_STATE
