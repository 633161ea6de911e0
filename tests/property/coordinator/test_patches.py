"""A merge patch turns the old object into the new one, and says nothing when they are equal."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.patch import merge_patch
from tests.fakes.objects import merge

SCALARS = st.booleans() | st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@given(OBJECTS, OBJECTS)
def test_a_patch_brings_the_old_to_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge(old, merge_patch(old, new)) == new


@given(OBJECTS)
def test_equal_objects_need_no_patch(found: dict[str, Any]) -> None:
    assert merge_patch(found, found) == {}
