"""Sizes within capacity ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.csi.sizes import DEFAULT_BYTES, LARGEST_BYTES, SizeRange, choose_size, fit
from proto.errors import DpuError
from proto.reasons import Reason

MIB = 1 << 20
GIB = 1 << 30


@pytest.mark.parametrize(
    ("required", "limit", "source", "size"),
    [
        (0, 0, 0, DEFAULT_BYTES),
        (1, 0, 0, MIB),
        (MIB, MIB, 0, MIB),
        (MIB + 1, 0, 0, 2 * MIB),
        (0, 10 * MIB, 0, 10 * MIB),
        (0, 2 * GIB, 0, DEFAULT_BYTES),
        (0, 0, 3 * GIB, 3 * GIB),
        (4 * GIB, 0, 3 * GIB, 4 * GIB),
        (0, 3 * GIB, 3 * GIB, 3 * GIB),
        (0, 0, 5, MIB),
        (0, MIB + 1, 0, MIB),
    ],
)
def test_the_least_size_within_the_range_that_holds_the_source(
    required: int, limit: int, source: int, size: int
) -> None:
    assert choose_size(SizeRange(required, limit), source) == size


@pytest.mark.parametrize(
    ("required", "limit", "source", "reason"),
    [
        (-1, 0, 0, Reason.INVALID),
        (0, -1, 0, Reason.INVALID),
        (2, 1, 0, Reason.OUT_OF_RANGE),
        (MIB + 1, MIB + 2, 0, Reason.OUT_OF_RANGE),
        (GIB, 0, 2 * GIB, Reason.OUT_OF_RANGE),
        (0, GIB, 2 * GIB, Reason.OUT_OF_RANGE),
        (1 << 63, 0, 0, Reason.OUT_OF_RANGE),
        (0, 1, 0, Reason.OUT_OF_RANGE),
    ],
)
def test_a_range_without_a_size_is_refused(required: int, limit: int, source: int, reason: Reason) -> None:
    with pytest.raises(DpuError) as refused:
        choose_size(SizeRange(required, limit), source)
    assert refused.value.reason is reason
    assert refused.value.field == "capacity_range"
    assert refused.value.remedy


@given(st.integers(0, LARGEST_BYTES - MIB), st.integers(0, LARGEST_BYTES), st.integers(0, 1 << 50))
def test_what_is_chosen_is_within_the_range_and_whole(required: int, limit: int, source: int) -> None:
    wanted = SizeRange(required, limit)
    try:
        size = choose_size(wanted, source)
    except DpuError:
        least = -(-max(required, source, 1) // MIB) * MIB
        assert 0 < limit < least or 0 < required < source
        return
    assert wanted.holds(size)
    assert size >= source
    assert size % MIB == 0


def test_a_range_holds_its_ends() -> None:
    assert SizeRange(2, 4).holds(2)
    assert SizeRange(2, 4).holds(4)
    assert not SizeRange(2, 4).holds(1)
    assert not SizeRange(2, 4).holds(5)
    assert SizeRange().holds(1)


def test_a_range_is_told_in_units() -> None:
    assert str(SizeRange(GIB, 2 * GIB)) == "1Gi to 2Gi"
    assert str(SizeRange()) == "any size"


def test_more_than_a_volume_can_have_is_refused() -> None:
    with pytest.raises(DpuError, match="more than a volume can have"):
        fit(SizeRange(), LARGEST_BYTES + 1)
