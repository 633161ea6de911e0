"""Names of an orchestrator as names of objects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.csi.names import attachment_name, check_text, is_object_name, member_name, object_name
from proto.errors import DpuError
from proto.reasons import Reason


def test_a_name_that_an_object_can_have_is_its_name() -> None:
    assert object_name("pvc-0b2a9f0e-1") == "pvc-0b2a9f0e-1"


@pytest.mark.parametrize("name", ["Foo", "a_b", "a.b", "-a", "a-", "x" * 64, "ü", "a/b", "../etc", "csi-1", "%s"])
def test_any_other_name_stands_for_an_object_of_its_own(name: str) -> None:
    assert object_name(name) != name
    assert is_object_name(object_name(name))
    assert object_name(name) == object_name(name)


def test_a_made_name_is_not_met_by_the_name_that_looks_like_it() -> None:
    made = object_name("Foo")
    assert object_name(made) != made


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_names_are_two_objects(one: str, other: str) -> None:
    assert (object_name(one) == object_name(other)) == (one == other)


@given(st.text(min_size=1, max_size=128))
def test_every_name_gives_names_that_the_schema_allows(name: str) -> None:
    made = object_name(name)
    assert len(made) <= 63
    for derived in (made, attachment_name(made, name), member_name(made, name)):
        assert is_object_name(derived)
        assert len(derived) <= 80


@pytest.mark.parametrize("text", ["", "x" * 129, "ü" * 65, "a\0b", "a\x7f", "\x9f"])
def test_what_can_be_no_name_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(DpuError) as refused:
        check_text(text, "volume_id")
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "volume_id")
    assert refused.value.remedy


@pytest.mark.parametrize("text", ["x" * 128, "a b", "tab\tand\nnewline", "日本語"])
def test_odd_names_are_names(text: str) -> None:
    check_text(text, "name")


@pytest.mark.parametrize("text", ["", "UPPER", "a/b", ".a", "a" * 254, "a b"])
def test_an_id_that_no_object_can_have_is_known_as_such(text: str) -> None:
    assert not is_object_name(text)
