"""Sizes: exact bytes, rounded up to a MiB."""

import pytest

from coordinator.core.storage.size import parse_size, root_size, spell_size
from proto.errors import DpuError

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("10Gi", 10 << 30),
        ("1Ti", 1 << 40),
        ("512Mi", 512 << 20),
        ("1.5Gi", 3 << 29),
        (2 * MIB, 2 * MIB),
        ("2097152", 2 * MIB),
        ("1", MIB),
        ("1Ki", MIB),
        ("1M", MIB),
        ("10G", -(-(10**10) // MIB) * MIB),
        ("0.1Gi", 103 * MIB),
    ],
)
def test_a_quantity_is_exact_and_rounded_up_to_a_mib(text: str | int, size_bytes: int) -> None:
    assert parse_size(text, "spec.size") == size_bytes


@pytest.mark.parametrize("text", ["", "x", "-1Gi", "0", "1Pi", "1/2Gi", "Gi", "1e9", "1_0Gi", "1 Gi"])
def test_what_is_no_size_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(DpuError) as caught:
        parse_size(text, "spec.rootDisk.size")
    assert caught.value.field == "spec.rootDisk.size"
    assert "10Gi" in caught.value.remedy


def test_sizes_are_spelt_in_the_largest_unit_that_is_exact() -> None:
    assert spell_size(10 << 30) == "10Gi"
    assert spell_size(1536 << 20) == "1536Mi"
    assert spell_size(1023) == "1023 bytes"


def test_a_system_disk_has_the_images_size_unless_it_asks_for_more() -> None:
    assert root_size("", 60 * MIB + 1, "tiny") == 61 * MIB
    assert root_size("1Gi", 60 * MIB, "tiny") == 1 << 30


def test_a_system_disk_smaller_than_its_image_names_both_sizes() -> None:
    with pytest.raises(DpuError, match="8Mi is smaller than image tiny, which has 64Mi") as caught:
        root_size("8Mi", 64 * MIB, "tiny")
    assert caught.value.field == "spec.rootDisk.size"
