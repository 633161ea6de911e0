"""Quantities are exact, and wrong ones are refused by field."""

import pytest

from coordinator.core.pool.quantity import amount_of, milli, parse, whole
from proto.errors import DpuError
from proto.reasons import Reason


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [("1", 1000), ("500m", 500), ("0.1", 100), (2, 2000), ("2e3", 2_000_000), ("1.5k", 1_500_000), ("+3", 3000)],
)
def test_cpu_is_counted_in_thousandths(text: str, thousandths: int) -> None:
    assert milli(text, "cpu") == thousandths


@pytest.mark.parametrize(
    ("text", "number"),
    [("128Mi", 2**27), ("1.5Gi", 3 * 2**29), ("1G", 10**9), ("1P", 10**15), ("1e-3", 1), ("100n", 1)],
)
def test_amounts_are_rounded_up_to_whole_units(text: str, number: int) -> None:
    assert whole(text, "memory") == number


def test_tiny_cpu_is_rounded_up_too() -> None:
    assert milli("1u", "cpu") == 1
    assert milli("0", "cpu") == 0
    assert amount_of("cpu", "1", "cpu") == 1000
    assert amount_of("nvidia.com/gpu", "1", "gpu") == 1


@pytest.mark.parametrize("text", ["1Q", "abc", "", "1 Gi", None, True, [], "--1", "1e9999", "."])
def test_what_is_no_quantity_is_refused_by_field(text: object) -> None:
    with pytest.raises(DpuError) as refused:
        parse(text, "spec.size")
    assert (refused.value.reason, refused.value.field) == (Reason.INVALID, "spec.size")
    assert "number" in refused.value.remedy


def test_negative_and_enormous_amounts_are_refused() -> None:
    with pytest.raises(DpuError, match="is negative"):
        parse("-1", "spec.size")
    for amount in ("99E", "9007199254740993"):
        with pytest.raises(DpuError, match="larger than"):
            parse(amount, "spec.size")
    with pytest.raises(DpuError, match="larger than"):
        milli("9007199254740992", "cpu")
    with pytest.raises(DpuError, match="an enormous number is not"):
        parse(10**5000, "spec.size")
