"""Requests are laid out as documented; answers that are none are refused with the reason."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_plugin.frame import HEAD_BYTES, MAGIC, OUTPUT_MAX_BYTES, answer_head, check_output, request

NAMES = st.sampled_from([b"CNI_ARGS", b"CNI_PATH", b"CNI_", b"BAGGAGE", b"HOME", b"PATH", b"XCNI_A"])
VALUES = st.binary(max_size=40).filter(lambda value: b"\0" not in value)


@given(left_ms=st.integers(0, 2**32 - 1), environment=st.dictionaries(NAMES, VALUES), config=st.binary(max_size=100))
def test_a_request_can_be_taken_apart_by_its_lengths(
    left_ms: int, environment: dict[bytes, bytes], config: bytes
) -> None:
    frame = request(left_ms, environment, config)
    magic, left, names, length = struct.unpack_from(">8sIII", frame)
    assert (magic, left, length, len(frame)) == (MAGIC, left_ms, len(config), 20 + names + length)
    pairs = dict(pair.split(b"=", 1) for pair in frame[20 : 20 + names].split(b"\0")[:-1])
    assert pairs == {k: v for k, v in environment.items() if k.startswith(b"CNI_") or k == b"BAGGAGE"}
    assert frame[20 + names :] == config


@given(status=st.integers(0, 255), length=st.integers(0, OUTPUT_MAX_BYTES))
def test_a_head_says_status_and_length(status: int, length: int) -> None:
    assert answer_head(struct.pack(">8sII", MAGIC, status, length)) == (status, length)


@given(head=st.binary(max_size=HEAD_BYTES))
def test_other_bytes_are_no_head(head: bytes) -> None:
    with pytest.raises(ValueError, match="it begins with"):
        answer_head(head.replace(MAGIC, b""))


@pytest.mark.parametrize(
    ("status", "output", "must_have_result"),
    [(0, b"", False), (0, b' {"a": 1}\n', True), (1, b'{"code": 7}', False), (0, b"{}", False)],
)
def test_what_a_runtime_can_read_passes(status: int, output: bytes, must_have_result: bool) -> None:
    check_output(status, output, must_have_result=must_have_result)


@pytest.mark.parametrize(
    ("status", "output", "must_have_result"),
    [(0, b"", True), (0, b"ok", False), (1, b"", False), (1, b"{", False), (255, b"[]", True)],
)
def test_what_a_runtime_cannot_read_is_refused(status: int, output: bytes, must_have_result: bool) -> None:
    with pytest.raises(ValueError, match=f"status {status} comes with"):
        check_output(status, output, must_have_result=must_have_result)
