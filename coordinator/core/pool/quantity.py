"""Kubernetes resource quantities as exact integers."""

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from proto.errors import DpuError
from proto.reasons import Reason

_NUMBER = r"[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}"
_FORM = re.compile(rf"([+-]?)({_NUMBER})(?:(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?[0-9]{{1,3}}))?")
_SCALE: dict[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", start=1)},
    **{unit + "i": Fraction(1024**power) for power, unit in enumerate("KMGTPE", start=1)},
}
LARGEST = 2**53  # sums of a thousand stay inside the 64-bit integers of the packing arrays


def parse(value: Any, field: str) -> Fraction:
    """The exact value of a quantity such as ``100m``, ``1.5Gi`` or ``2e3``.

    Args:
        value: text or number as the Kubernetes API shows it.
        field: path of the field, for the error.

    Raises:
        DpuError: INVALID when the unit is unknown, the number is malformed or negative.

    Source: k8s.io/apimachinery resource.Quantity.
    """
    form = _FORM.fullmatch(_spelled(value))
    if form is None:
        raise DpuError(
            Reason.INVALID,
            f"{_shown(value)} is not a resource quantity",
            field=field,
            remedy="write a number with an optional unit such as 500m, 2, 4Gi",
        )
    sign, digits, unit, exponent = form.groups()
    amount = Fraction(Decimal(digits)) * (Fraction(10) ** int(exponent) if exponent else _SCALE[unit or ""])
    if sign == "-" and amount:
        raise DpuError(Reason.INVALID, f"{value!r} is negative", field=field, remedy="give zero or more")
    return _bounded(amount, value, field)


def _bounded(amount: Fraction, value: Any, field: str) -> Fraction:
    if amount > LARGEST:
        raise DpuError(Reason.INVALID, f"{value!r} is larger than 2^53", field=field, remedy="check the unit")
    return amount


def _spelled(value: Any) -> str:
    """A number as text, empty for what is none; integers beyond all use are none, since spelling them takes long."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return "" if isinstance(value, int) and abs(value) > LARGEST**2 else str(value)


def _shown(value: Any) -> str:
    return "an enormous number" if isinstance(value, int) and not _spelled(value) else repr(value)[:60]


def whole(value: Any, field: str) -> int:
    """The quantity in its own unit (bytes, pods, devices), rounded up as the scheduler does."""
    return _ceil(parse(value, field))


def milli(value: Any, field: str) -> int:
    """The quantity in thousandths, rounded up as the scheduler does."""
    return _ceil(_bounded(parse(value, field) * 1000, value, field))


def _ceil(amount: Fraction) -> int:
    return -(-amount.numerator // amount.denominator)


def amount_of(resource: str, value: Any, field: str) -> int:
    """A quantity in the unit the pool counts that resource in: CPU in thousandths, all others whole."""
    try:
        return _known(resource == "cpu", value) if type(value) is str else _counted(resource == "cpu", value, field)
    except DpuError:
        return _counted(resource == "cpu", value, field)  # once more, for the error to name the field


@lru_cache(maxsize=1 << 16)
def _known(thousandths: bool, value: str) -> int:  # noqa: FBT001 - the unit
    """Clusters repeat a few texts in hundreds of thousands of objects."""
    return _counted(thousandths, value, "")


def _counted(thousandths: bool, value: Any, field: str) -> int:  # noqa: FBT001 - the unit
    return milli(value, field) if thousandths else whole(value, field)


def written(resource: str, amount: int) -> str:
    """An amount in the pool's unit as a quantity: 60000 thousandths of CPU are ``60``, 2^34 bytes ``16Gi``."""
    if resource == "cpu":
        return f"{amount}m" if amount % 1000 else str(amount // 1000)
    for unit in ("Ti", "Gi", "Mi"):
        if amount and not amount % _SCALE[unit]:
            return f"{amount // _SCALE[unit]}{unit}"
    return f"{amount / 2**20:.1f}Mi" if amount >= 2**24 else str(amount)
