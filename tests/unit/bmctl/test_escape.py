import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmctl.serial.escape import EscapeReader

PLAIN = st.binary().filter(lambda data: b"~" not in data and b"\x1d" not in data)
NO_ESCAPE = PLAIN.filter(lambda data: b"\x1b" not in data)


def test_tilde_dot_at_the_start_of_a_line_leaves() -> None:
    reader = EscapeReader()
    assert reader.feed(b"ls\r").data == b"ls\r"
    typed = reader.feed(b"~.ignored")
    assert (typed.data, typed.leave) == (b"", True)


def test_the_first_key_stands_at_the_start_of_a_line() -> None:
    assert EscapeReader().feed(b"~.").leave


def test_keys_that_come_apart_mean_the_same() -> None:
    reader = EscapeReader()
    assert reader.feed(b"~") == EscapeReader().feed(b"")
    assert reader.feed(b".").leave


@pytest.mark.parametrize("keys", [b"a~.", b"cd ~\r", b"ls ~/.ssh\r"])
def test_a_tilde_inside_a_line_is_just_a_tilde(keys: bytes) -> None:
    typed = EscapeReader().feed(keys)
    assert (typed.data, typed.leave) == (keys, False)


def test_two_tildes_send_one() -> None:
    assert EscapeReader().feed(b"~~.").data == b"~."


def test_a_tilde_before_another_key_is_sent_with_it() -> None:
    assert EscapeReader().feed(b"~/bin\r").data == b"~/bin\r"


def test_tilde_question_asks_for_the_keys_and_stays_at_the_start_of_the_line() -> None:
    reader = EscapeReader()
    typed = reader.feed(b"~?")
    assert (typed.data, typed.asked) == (b"", True)
    assert reader.feed(b"~.").leave


def test_a_terminals_answer_about_its_cursor_does_not_end_the_start_of_a_line() -> None:
    reader = EscapeReader()
    assert reader.feed(b"ls\r\x1b[24;").data == b"ls\r\x1b[24;"
    assert reader.feed(b"1R").data == b"1R"
    assert reader.feed(b"~.").leave


@pytest.mark.parametrize("keys", [b"\x1b[A", b"\x1bOA", b"\x1bx"])
def test_an_arrow_key_does(keys: bytes) -> None:
    reader = EscapeReader()
    assert reader.feed(keys).data == keys
    assert not reader.feed(b"~.").leave


@given(NO_ESCAPE)
def test_control_bracket_leaves_from_anywhere(before: bytes) -> None:
    typed = EscapeReader().feed(before + b"\x1dafter")
    assert (typed.data, typed.leave) == (before, True)


@given(st.lists(PLAIN))
def test_other_keys_pass_untouched_however_they_are_cut(pieces: list[bytes]) -> None:
    reader = EscapeReader()
    assert b"".join(reader.feed(piece).data for piece in pieces) == b"".join(pieces)
