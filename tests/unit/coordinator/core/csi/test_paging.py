"""Pages and their tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.csi.codes import csi_code
from coordinator.core.csi.paging import page
from proto.errors import DpuError

NAMES = st.sets(st.text(st.characters(min_codepoint=97, max_codepoint=102), min_size=1, max_size=4), max_size=20)


def entries(names: set[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


@given(NAMES, st.integers(1, 5))
def test_pages_together_are_the_list(names: set[str], size: int) -> None:
    seen: list[str] = []
    token = ""
    while True:
        shown, token = page(entries(names), size, token)
        assert len(shown) <= size
        seen += shown
        if not token:
            break
    assert seen == sorted(names)


@given(NAMES, NAMES, st.integers(1, 5))
def test_what_stays_is_shown_once_whatever_comes_and_goes_between_pages(
    staying: set[str], passing: set[str], size: int
) -> None:
    seen: list[str] = []
    token, there = "", False
    while True:
        there = not there
        shown, token = page(entries(staying | (passing if there else set())), size, token)
        seen += [name for name in shown if name in staying]
        if not token:
            break
    assert seen == sorted(set(seen))
    assert set(seen) == staying


def test_without_a_bound_everything_is_on_the_first_page() -> None:
    assert page(entries({"b", "a"}), 0, "") == (["a", "b"], "")


@pytest.mark.parametrize("token", ["invalid-token", "5", "====", "YmVmb3JlOmE=", "ü"])
def test_a_token_of_somebody_else_is_aborted(token: str) -> None:
    with pytest.raises(DpuError) as refused:
        page(entries({"a"}), 1, token)
    assert csi_code(refused.value.reason) == "ABORTED"
    assert refused.value.field == "starting_token"


def test_a_negative_number_of_entries_is_refused() -> None:
    with pytest.raises(DpuError, match="-1 entries"):
        page(entries(set()), -1, "")
