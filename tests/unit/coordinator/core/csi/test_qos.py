"""Limits by VolumeAttributesClass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.csi.qos import BYTES, KEYS, OPERATIONS, apply_limits, parse_limits, qos_patch
from coordinator.core.objects.storage import Qos
from proto.errors import DpuError
from proto.reasons import Reason


def test_numbers_and_quantities_are_limits() -> None:
    found = parse_limits({"iops": "1000", "bytes-per-second": "100Mi"})
    assert found == {"iops": 1000, "bytes_per_second": 100 << 20}


def test_unlimited_has_to_be_said() -> None:
    assert parse_limits({"iops": "unlimited"}) == {"iops": 0}
    assert apply_limits(Qos(iops=5), parse_limits({"iops": "unlimited"})) == Qos()
    assert apply_limits(Qos(iops=5), parse_limits({})) == Qos(iops=5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("iops", "0"),
        ("iops", "-1"),
        ("iops", "1.5"),
        ("iops", "many"),
        ("iops", ""),
        ("iops", "10k"),
        ("iops", "9" * 30),
        ("bytes-per-second", "0"),
        ("bytes-per-second", "fast"),
        ("bytes-per-second", "0.3"),
        ("bytes-per-second", "99999999Ti"),
        ("XXX_FakeKey", "XXX_FakeValue"),
        ("IOPS", "1"),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_key(key: str, value: str) -> None:
    with pytest.raises(DpuError) as refused:
        parse_limits({"read-bytes-per-second": "1Mi", key: value})
    assert refused.value.reason is Reason.INVALID
    assert refused.value.field == f"mutable_parameters[{key}]"
    assert refused.value.remedy


@pytest.mark.parametrize("split", ["read-iops", "write-iops"])
def test_a_total_beside_its_split_is_refused(split: str) -> None:
    with pytest.raises(DpuError, match=f"iops limits what {split} limits too"):
        parse_limits({"iops": "10", split: "5"})


def test_the_two_families_go_together() -> None:
    assert parse_limits({"iops": "10", "read-bytes-per-second": "1Mi"})


def test_a_split_ends_the_total_and_the_reverse() -> None:
    split = apply_limits(Qos(iops=10, bytes_per_second=7), {"read_iops": 5})
    assert split == Qos(read_iops=5, bytes_per_second=7)
    assert apply_limits(split, {"iops": 20}) == Qos(iops=20, bytes_per_second=7)


def test_a_patch_says_all_so_that_it_lifts_what_is_no_more() -> None:
    patch = qos_patch(Qos(read_iops=5))
    assert patch["readIops"] == 5
    assert len(patch) == 6
    assert patch["iops"] == 0


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), st.sampled_from(["1", "7", "unlimited"])))
def test_limits_applied_twice_are_limits_applied_once_and_never_clash(parameters: dict[str, str]) -> None:
    try:
        limits = parse_limits(parameters)
    except DpuError:
        return
    once = apply_limits(Qos(iops=3, write_bytes_per_second=4), limits)
    assert apply_limits(once, limits) == once
    for family in (OPERATIONS, BYTES):
        total, *split = (getattr(once, name) for name in family.values())
        assert not (total and any(split))
