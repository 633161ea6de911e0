"""Limits of a volume from the parameters of a VolumeAttributesClass."""

import re
from collections.abc import Mapping
from fractions import Fraction

import msgspec

from coordinator.core.objects.meta import Json
from coordinator.core.objects.storage import Qos
from coordinator.core.storage.size import QUANTITY, SUFFIXES
from proto.errors import DpuError
from proto.reasons import Reason

UNLIMITED = "unlimited"
FIELD = "mutable_parameters"
LARGEST = (1 << 63) - 1

OPERATIONS = {"iops": "iops", "read-iops": "read_iops", "write-iops": "write_iops"}
BYTES = {
    "bytes-per-second": "bytes_per_second",
    "read-bytes-per-second": "read_bytes_per_second",
    "write-bytes-per-second": "write_bytes_per_second",
}
KEYS = OPERATIONS | BYTES
"""Parameter to the limit that it sets."""

Limits = dict[str, int]
"""Limits that are spoken of, by their names in Qos; 0 is unlimited."""


def parse_limits(parameters: Mapping[str, str]) -> Limits:
    """The limits that parameters speak of. "Unlimited" has to be said: an absent key leaves its limit as it is.

    Raises:
        DpuError: INVALID; an unknown key or a value that is none, or a total beside its split.
    """
    unknown = sorted(set(parameters) - set(KEYS))
    if unknown:
        raise _wrong(
            unknown[0], f"{unknown[0]!r} is no parameter that can be changed", f"use {', '.join(sorted(KEYS))}"
        )
    limits = {KEYS[key]: _number(key, value) for key, value in parameters.items()}
    for family in (OPERATIONS, BYTES):
        total, *split = family
        beside = [key for key in split if limits.get(KEYS[key])]
        if limits.get(KEYS[total]) and beside:
            raise _wrong(beside[0], f"{total} limits what {beside[0]} limits too", f"give {total} or the split limits")
    return limits


def apply_limits(now: Qos, limits: Limits) -> Qos:
    """`now` with what was spoken of changed. A total ends the split limits that it replaces, and the reverse."""
    found = dict(msgspec.structs.asdict(now))
    for family in (OPERATIONS, BYTES):
        total, *split = (KEYS[key] for key in family)
        if limits.get(total):
            found |= dict.fromkeys(split, 0)
        if any(limits.get(name) for name in split):
            found[total] = 0
    return Qos(**(found | limits))


def qos_patch(qos: Qos) -> Json:
    """All six limits as JSON, so that a merge patch lifts those that are 0."""
    names = zip(qos.__struct_fields__, qos.__struct_encode_fields__, strict=True)
    return {encoded: getattr(qos, name) for name, encoded in names}


def _number(key: str, text: str) -> int:
    if text == UNLIMITED:
        return 0
    if key in OPERATIONS:
        number = int(text) if re.fullmatch(r"[0-9]{1,19}", text) else 0
    else:
        found = QUANTITY.fullmatch(text)
        exact = Fraction(found["number"]) * SUFFIXES[found["suffix"]] if found else Fraction(0)
        number = int(exact) if exact.denominator == 1 else 0
    if not 0 < number <= LARGEST:
        example = "1000" if key in OPERATIONS else "100Mi"
        raise _wrong(key, f"{text!r} is not a limit", f"write a number above 0 such as {example}, or {UNLIMITED}")
    return number


def _wrong(key: str, message: str, remedy: str) -> DpuError:
    return DpuError(Reason.INVALID, message, field=f"{FIELD}[{key}]", remedy=remedy)
